package lock

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// file is the lock as it stands on disk. Lists of inputs are kept once, under
// the name of the first recipe's layer that has them.
type file struct {
	APIVersion  string                    `yaml:"apiVersion"`
	Kind        string                    `yaml:"kind"`
	Digest      string                    `yaml:"digest"` // sha256 of the file without this line
	Catalog     string                    `yaml:"catalog"`
	Origin      images.OriginKind         `yaml:"origin"`
	Platforms   []string                  `yaml:"platforms,flow"`
	Kubernetes  string                    `yaml:"kubernetes"`
	GoToolchain string                    `yaml:"goToolchain,omitempty"`
	Node        fileNode                  `yaml:"node"`
	Components  []Component               `yaml:"components"`
	Images      []Image                   `yaml:"images"`
	Recipes     []fileRecipe              `yaml:"recipes,omitempty"`
	Inputs      map[string][]recipe.Input `yaml:"inputs,omitempty"`
}

type fileNode struct {
	Image   Image     `yaml:"image"`
	Config  v1.Hash   `yaml:"config"`
	DiffIDs []v1.Hash `yaml:"diffIDs"`
	Holds   []Held    `yaml:"holds,omitempty"`
}

type fileRecipe struct {
	Name   string   `yaml:"name"`
	Digest v1.Hash  `yaml:"digest"`
	Layers []string `yaml:"layers"` // keys of inputs
}

// header is the first line of every lock.
const header = "# Written by kfdev lock; do not edit. kfdev.yaml says what is wanted, this file what exactly that is.\n"

// Encode writes the lock in its one form and returns it with its digest. A
// lock that is not a closure is refused; see Validate.
func Encode(l Lock) ([]byte, v1.Hash, error) {
	wrong := func(err error) ([]byte, v1.Hash, error) {
		return nil, v1.Hash{}, &fault.Error{Op: "writing the lock", Err: err}
	}
	if err := l.Validate(); err != nil {
		return wrong(err)
	}
	bare, err := encode(toFile(l.sorted())) // with an empty digest
	if err != nil {
		return wrong(err)
	}
	before, after, ok := bytes.Cut(bare, []byte(digestLine+"\"\"\n"))
	if !ok {
		return wrong(errors.New("there is no line for the digest"))
	}
	digest := sum(before, after)
	return slices.Concat(before, []byte(digestLine+digest.String()+"\n"), after), digest, nil
}

// digestLine begins the line with the file's own digest.
const digestLine = "digest: "

// sum is the lock's own digest: of every line but the one that holds it.
func sum(before, after []byte) v1.Hash {
	h := sha256.New()
	h.Write(before)
	h.Write(after)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// sumOf is sum of a whole file, which may have been given other line ends.
func sumOf(data []byte) v1.Hash {
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	start := bytes.Index(data, []byte("\n"+digestLine)) + 1
	end := start
	if start > 0 {
		end += bytes.IndexByte(data[start:], '\n') + 1
	}
	return sum(data[:start], data[end:])
}

// Digest returns the digest that names the stack.
func Digest(l Lock) (v1.Hash, error) {
	_, digest, err := Encode(l)
	return digest, err
}

func toFile(l Lock) file {
	f := file{
		APIVersion: APIVersion, Kind: Kind, Catalog: l.Catalog, Origin: l.Origin, Platforms: l.Platforms,
		Kubernetes: l.Kubernetes, GoToolchain: l.GoToolchain,
		Node:       fileNode(l.Node),
		Components: l.Components, Images: l.Images, Inputs: map[string][]recipe.Input{},
	}
	for _, r := range l.Recipes {
		out := fileRecipe{Name: r.Name, Digest: r.Digest, Layers: []string{}}
		for i, inputs := range r.Layers {
			out.Layers = append(out.Layers, f.keep(fmt.Sprintf("%s/%d", r.Name, i), inputs))
		}
		f.Recipes = append(f.Recipes, out)
	}
	return f
}

// keep puts a list of inputs in, unless the same list is there, and returns
// its key.
func (f *file) keep(key string, inputs []recipe.Input) string {
	for _, r := range f.Recipes { // in their order, so that the first key is found
		for _, known := range r.Layers {
			if slices.Equal(f.Inputs[known], inputs) {
				return known
			}
		}
	}
	f.Inputs[key] = slices.Concat([]recipe.Input{}, inputs)
	return key
}

func encode(f file) ([]byte, error) {
	var root yaml.Node
	if err := root.Encode(f); err != nil {
		return nil, err
	}
	for _, path := range [][]string{
		{"images", "*", "platforms", "*"}, {"images", "*", "references", "*"}, {"node", "image", "platforms", "*"},
		{"node", "holds", "*"}, {"recipes", "*", "layers"}, {"inputs", "*", "*"},
	} {
		onOneLine(&root, path)
	}
	var out bytes.Buffer
	out.WriteString(header)
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&root), enc.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// onOneLine has the nodes at path written on one line each, so that a change
// of one is a change of one line.
func onOneLine(n *yaml.Node, path []string) {
	if len(path) == 0 {
		n.Style = yaml.FlowStyle
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if path[0] == "*" || n.Content[i].Value == path[0] {
				onOneLine(n.Content[i+1], path[1:])
			}
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			onOneLine(item, path[1:])
		}
	default:
	}
}

// Decode reads a lock and returns it with its digest; path is what errors call
// the file. A lock whose digest is not that of its text was edited by hand or
// merged badly, and is refused with a fault of kind Drift; one that cannot be
// read at all, with one of kind Usage.
func Decode(path string, data []byte) (Lock, v1.Hash, error) {
	wrong := func(kind fault.Kind, err error) (Lock, v1.Hash, error) {
		return Lock{}, v1.Hash{}, &fault.Error{
			Op: "reading the lock", Subject: path, Kind: kind, Err: err,
			Hint: "take the file from version control again, or remove it and run kfdev lock",
		}
	}
	if line := conflict(data); line > 0 {
		return wrong(fault.Usage, fmt.Errorf("line %d: a merge left its conflict markers", line))
	}
	var f file
	if _, problems := strictyaml.Decode(filepath.Base(path), data, &f); len(problems) > 0 {
		return wrong(fault.Usage, problems.Err())
	}
	if f.APIVersion != APIVersion || f.Kind != Kind {
		return wrong(fault.Usage, fmt.Errorf("it is a %s of %s; this kfdev reads a %s of %s", f.Kind, f.APIVersion, Kind, APIVersion))
	}
	digest := sumOf(data)
	if f.Digest != digest.String() {
		return wrong(fault.Drift, errors.New("its digest is not that of its content: it was edited by hand, or merged badly"))
	}
	l, err := f.lock()
	if err == nil {
		err = l.Validate()
	}
	if err != nil {
		return wrong(fault.Usage, err)
	}
	return l, digest, nil
}

func conflict(data []byte) int {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if bytes.HasPrefix(text, []byte("<<<<<<< ")) || bytes.HasPrefix(text, []byte(">>>>>>> ")) {
			return line
		}
	}
	return 0
}

func (f file) lock() (Lock, error) {
	l := Lock{
		Catalog: f.Catalog, Origin: f.Origin, Platforms: f.Platforms, Kubernetes: f.Kubernetes, GoToolchain: f.GoToolchain,
		Node: Node(f.Node), Components: f.Components, Images: f.Images,
	}
	for _, r := range f.Recipes {
		out := Recipe{Name: r.Name, Digest: r.Digest}
		for _, key := range r.Layers {
			inputs, ok := f.Inputs[key]
			if !ok {
				return Lock{}, fmt.Errorf("recipe %s has the inputs %s, which are not there", r.Name, key)
			}
			out.Layers = append(out.Layers, inputs)
		}
		l.Recipes = append(l.Recipes, out)
	}
	return l, nil
}

// Load reads the lock in the project's folder dir, and returns it with its
// digest. Where there is none, the error is a fault of kind NotFound.
func Load(dir string) (Lock, v1.Hash, error) {
	path := filepath.Join(dir, FileName)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Lock{}, v1.Hash{}, &fault.Error{
			Op: "reading the lock", Subject: path, Kind: fault.NotFound, Err: errors.New("the project has no lock yet"),
			Hint: "kfdev lock writes it",
		}
	case err != nil:
		return Lock{}, v1.Hash{}, &fault.Error{Op: "reading the lock", Subject: path, Err: err}
	}
	return Decode(path, data)
}

// Save writes the lock into the project's folder dir, and reports whether the
// file changed. A file that says the same already is left alone.
func Save(dir string, l Lock) (changed bool, digest v1.Hash, err error) {
	data, digest, err := Encode(l)
	if err != nil {
		return false, v1.Hash{}, err
	}
	path := filepath.Join(dir, FileName)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return false, digest, nil
	}
	if err := atomicfile.Write(path, data, 0o644); err != nil {
		return false, v1.Hash{}, &fault.Error{Op: "writing the lock", Subject: path, Err: err}
	}
	return true, digest, nil
}
