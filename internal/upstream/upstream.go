// Package upstream takes files that ship inside Go modules (manifests, the
// files of a node image) into a git-ignored folder, from where they are
// embedded into kfdev. What is taken is named in upstream.yaml; what it must
// be, byte for byte, in upstream.sum. Both lie, committed, beside the folder.
package upstream

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// The names in a folder that takes files.
const (
	ListFile = "upstream.yaml"
	SumFile  = "upstream.sum"
	Dir      = "upstream"
)

// List is what is taken, as upstream.yaml says.
type List struct {
	Modules []Module `yaml:"modules"`
}

// Module is a Go module of which something is taken.
type Module struct {
	Module  string `yaml:"module"`
	Version string `yaml:"version"`
	Take    []Take `yaml:"take"`
}

// Take is a file or folder that is taken.
type Take struct {
	From   string   `yaml:"from"`             // in the module
	To     string   `yaml:"to"`               // below the upstream folder
	Except []string `yaml:"except,omitempty"` // path.Match patterns of names, or of paths below From, left out
	// Objects are the only objects that are taken of a file of many, as
	// KIND/NAME, in the file's order; all of them have to be there.
	Objects []string `yaml:"objects,omitempty"`
}

// ReadList reads the upstream.yaml in files.
func ReadList(files fs.FS) (List, error) {
	data, err := fs.ReadFile(files, ListFile)
	if err != nil {
		return List{}, err
	}
	var list List
	doc, problems := strictyaml.Decode(ListFile, data, &list)
	if len(problems) > 0 {
		return List{}, problems.Err()
	}
	for i, m := range list.Modules {
		if m.Module == "" || m.Version == "" {
			problems = append(problems, doc.At("module and version are wanted", "modules", i))
		}
		for j, t := range m.Take {
			if !fs.ValidPath(t.From) || !fs.ValidPath(t.To) {
				problems = append(problems, doc.At("from and to are clean paths", "modules", i, "take", j))
			}
		}
	}
	return list, problems.Err()
}

// Sums are the sha256 sums of the files of an upstream folder, in hexadecimal,
// by path below it.
type Sums map[string]string

// ParseSums reads the form that String writes, which sha256sum reads too.
func ParseSums(data []byte) (Sums, error) {
	sums := Sums{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" {
			continue
		}
		sum, name, ok := strings.Cut(line, "  ")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size || !fs.ValidPath(name) || name == "." {
			return nil, fmt.Errorf("line %d is not a sha256, two spaces and a path", n)
		}
		if _, twice := sums[name]; twice {
			return nil, fmt.Errorf("line %d: %s comes twice", n, name)
		}
		sums[name] = strings.ToLower(sum)
	}
	return sums, lines.Err()
}

// String returns one line per file, in path order.
func (s Sums) String() string {
	var b strings.Builder
	for _, name := range s.Names() {
		fmt.Fprintf(&b, "%s  %s\n", s[name], name)
	}
	return b.String()
}

// Names returns the paths in order.
func (s Sums) Names() []string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Sum returns the sum of content.
func Sum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Check reports, as a fault of kind Preflight, that files, an embedded folder
// with an upstream.sum and an upstream folder, was built without its upstream
// files or with others.
func Check(files fs.FS) error {
	data, err := fs.ReadFile(files, SumFile)
	if err != nil {
		return incomplete(err)
	}
	sums, err := ParseSums(data)
	if err != nil {
		return incomplete(fmt.Errorf("%s: %w", SumFile, err))
	}
	for _, name := range sums.Names() {
		content, err := fs.ReadFile(files, path.Join(Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return incomplete(fmt.Errorf("this kfdev was built without the upstream file %s", name))
		}
		if err != nil {
			return incomplete(err)
		}
		if Sum(content) != sums[name] {
			return incomplete(fmt.Errorf("the upstream file %s is not the one that was recorded", name))
		}
	}
	return nil
}

func incomplete(err error) error {
	return &fault.Error{Op: "reading the catalog", Kind: fault.Preflight, Err: err,
		Hint: "build kfdev with: make build"}
}
