// Package program holds the helper program, ready built for the kinds of
// machines that pods run on. The files lie in a git-ignored folder that
// `make generate` fills.
package program

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
)

// Dir is the folder, beside this file, that the built programs lie in.
const Dir = "built"

// Path is where the helper lies in its own image.
const Path = "/kfdev-sync-helper"

//go:embed built
var built embed.FS

// Program is the helper for one architecture.
type Program struct {
	Arch   string // as GOARCH: amd64, arm64
	SHA256 string // of the program, in hexadecimal
	// Gzip is the program, compressed, as pods that have gzip take it.
	Gzip []byte
}

// Archs are the architectures that the helper is built for.
func Archs() []string { return []string{"amd64", "arm64"} }

// Load returns the helper for an architecture. Where this kfdev was built
// without it, that is a fault of kind Preflight.
func Load(arch string) (Program, error) { return load(built, arch) }

func load(files fs.FS, arch string) (Program, error) {
	if !slices.Contains(Archs(), arch) {
		return Program{}, &fault.Error{
			Op: "preparing the helper", Kind: fault.Preflight,
			Err: fmt.Errorf("there is none for %q; there are %s", arch, strings.Join(Archs(), ", ")),
		}
	}
	fail := func(err error) (Program, error) {
		return Program{}, &fault.Error{Op: "preparing the helper", Kind: fault.Preflight, Hint: "build kfdev with: make build", Err: err}
	}
	compressed, err := fs.ReadFile(files, GzipFile(arch))
	if errors.Is(err, fs.ErrNotExist) {
		return fail(fmt.Errorf("this kfdev was built without the helper for %s", arch))
	}
	if err != nil {
		return fail(err)
	}
	sum, err := fs.ReadFile(files, SumFile(arch))
	if err != nil {
		return fail(err)
	}
	digest := strings.TrimSpace(string(sum))
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != sha256.Size {
		return fail(fmt.Errorf("%s holds no SHA-256", SumFile(arch)))
	}
	return Program{Arch: arch, SHA256: digest, Gzip: compressed}, nil
}

// GzipFile names the file that holds the program of an architecture, below this
// package's folder.
func GzipFile(arch string) string { return Dir + "/linux-" + arch + ".gz" }

// SumFile names the file that holds that program's SHA-256 in hexadecimal.
func SumFile(arch string) string { return Dir + "/linux-" + arch + ".sha256" }

// maxSize bounds a program, bytes.
const maxSize = 64 << 20

// Plain returns the program as it runs. It is checked against its SHA-256.
func (p Program) Plain() ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, &fault.Error{Op: "unpacking the helper", Subject: p.Arch, Err: err}
	}
	packed, err := gzip.NewReader(bytes.NewReader(p.Gzip))
	if err != nil {
		return fail(err)
	}
	plain, err := io.ReadAll(io.LimitReader(packed, maxSize))
	if err != nil {
		return fail(err)
	}
	if sum := sha256.Sum256(plain); hex.EncodeToString(sum[:]) != p.SHA256 {
		return fail(errors.New("it is not what its SHA-256 says"))
	}
	return plain, nil
}

// FileName is the name that the helper has in a pod: another one for every
// program, so that it is plain which one is there.
func (p Program) FileName() string { return ".kfdev-sync-helper-" + p.SHA256[:16] }
