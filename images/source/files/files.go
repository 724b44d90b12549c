// Package files makes layers of plain files: what a recipe writes out itself,
// what lies in its folder, links, folders, and the kfdev program.
package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
)

// Kind is the kind of this package's inputs in a lock.
const Kind = "file"

// Maker makes layers of kind files. It implements source.Maker.
type Maker struct {
	self string
}

var _ source.Maker = (*Maker)(nil)

// New returns a maker that takes the kfdev program, where a recipe asks for it,
// from the file self. It must be a static one for linux/amd64.
func New(self string) *Maker { return &Maker{self: self} }

// Pin returns the kfdev program with its hash where the layer holds it, and
// nothing else: all other files are part of the recipe.
func (m *Maker) Pin(ctx context.Context, spec source.LayerSpec, _ []recipe.Input) ([]recipe.Input, error) {
	if !wantsSelf(spec) {
		return nil, nil
	}
	hash, size, err := m.hash(ctx)
	if err != nil {
		return nil, err
	}
	return []recipe.Input{{Kind: Kind, Name: "kfdev", Size: size, Hash: hash}}, nil
}

func wantsSelf(spec source.LayerSpec) bool {
	for _, f := range spec.Layer.Files {
		if f.From == recipe.Self {
			return true
		}
	}
	return false
}

func (m *Maker) hash(ctx context.Context) (string, int64, error) {
	fail := func(err error) (string, int64, error) {
		return "", 0, &fault.Error{Op: "reading the kfdev program", Subject: m.self, Err: err}
	}
	f, err := os.Open(m.self)
	if err != nil {
		return fail(err)
	}
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err := errors.Join(err, f.Close(), ctx.Err()); err != nil {
		return fail(err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), size, nil
}

// Fetch checks that the kfdev program is the one that was pinned; there is
// nothing to fetch.
func (m *Maker) Fetch(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) error {
	for _, in := range inputs {
		hash, _, err := m.hash(ctx)
		if err != nil {
			return err
		}
		if hash != in.Hash {
			return &fault.Error{
				Op: "building the image", Subject: spec.Recipe, Kind: fault.NotFound,
				Hint: "run kfdev lock --update " + spec.Recipe,
				Err:  fmt.Errorf("it is locked with another kfdev (%s) than this one (%s)", in.Hash, hash),
			}
		}
	}
	return nil
}

// Tree assembles the layer.
func (m *Maker) Tree(ctx context.Context, spec source.LayerSpec, _ []recipe.Input) (*layer.Tree, error) {
	tree := &layer.Tree{}
	for _, f := range spec.Layer.Files {
		err := ctx.Err()
		if err == nil {
			err = m.add(tree, f, spec.Folder)
		}
		if err != nil {
			return nil, &fault.Error{Op: "assembling files of the recipe", Subject: spec.Recipe + ": " + f.Path, Err: err}
		}
	}
	return tree, nil
}

func (m *Maker) add(tree *layer.Tree, f recipe.File, folder fs.FS) error {
	mode, err := f.FileMode()
	if err != nil {
		return err
	}
	e := layer.Entry{Path: strings.TrimPrefix(f.Path, "/"), Mode: mode, UID: f.UID, GID: f.GID}
	content := []byte(f.Content)
	switch {
	case f.Remove:
		tree.Remove(e.Path)
		return nil
	case f.Dir:
		e.Type = layer.Dir
		return tree.Add(e)
	case f.Link != "":
		e.Type, e.Mode, e.Link = layer.Symlink, 0o777, f.Link
		return tree.Add(e)
	case f.From == recipe.Self:
		info, err := os.Stat(m.self)
		if err != nil {
			return err
		}
		e.Size = info.Size()
		e.Open = func() (io.ReadCloser, error) { return os.Open(m.self) }
		return tree.Add(e)
	case f.From != "":
		if content, err = fs.ReadFile(folder, f.From); err != nil {
			return err
		}
	}
	e.Size = int64(len(content))
	e.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	return tree.Add(e)
}
