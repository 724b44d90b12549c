package gomod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/client"
)

// workspace is a private folder with a recipe's module in it.
type workspace struct {
	dir  string
	spec source.LayerSpec
	tool toolchain
	sums map[string]string // module@version → h1, from go.sum
}

// open writes the module of spec into a new private folder.
func (m *Maker) open(ctx context.Context, spec source.LayerSpec, offline bool) (_ *workspace, err error) {
	tool, err := m.toolchain(ctx, spec)
	if err != nil {
		return nil, err
	}
	if offline {
		tool.env = append(slices.Clone(tool.env), "GOPROXY=off")
	}
	if err := os.MkdirAll(m.options.Scratch, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(m.options.Scratch, "go-")
	if err != nil {
		return nil, err
	}
	w := &workspace{dir: dir, spec: spec, tool: tool, sums: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err := w.sources(); err != nil {
		return nil, err
	}
	return w, w.overlay(ctx)
}

func (w *workspace) close() error { return os.RemoveAll(w.dir) }

// module is where the recipe's module lies.
func (w *workspace) module() string { return filepath.Join(w.dir, "module") }

func (w *workspace) sources() error {
	layer := w.spec.Layer.Go
	names, err := layer.Sources(w.spec.Folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		raw, err := fs.ReadFile(w.spec.Folder, path.Join(layer.Module, name))
		if err != nil {
			return err
		}
		to := filepath.Join(w.module(), filepath.FromSlash(strings.TrimSuffix(name, ".txt")))
		if err := write(to, bytes.NewReader(raw)); err != nil {
			return err
		}
		if name == "go.sum.txt" {
			inputs, err := parseSum(raw)
			if err != nil {
				return fmt.Errorf("go.sum.txt: %w", err)
			}
			for _, in := range inputs {
				w.sums[in.Name+"@"+in.Version] = in.Hash
			}
		}
	}
	return nil
}

func write(name string, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// run runs the go command in the module and returns what it wrote.
func (w *workspace) run(ctx context.Context, line func(string), args ...string) ([]byte, error) {
	hear := func(text string) bool {
		if line != nil {
			line(text)
		}
		return request(text)
	}
	out, err := client.Command{Dir: w.module(), Program: w.tool.program, Env: w.tool.env, Args: args, Line: hear}.Run(ctx)
	return out.Stdout, err
}

// required is one requirement of the module, as go mod edit -json tells it.
type required struct{ Path, Version string }

// overlay gives the modules that lack files a copy with the files in it, and
// has the module use the copies. (The go command's own -overlay refuses files
// of the module cache.)
func (w *workspace) overlay(ctx context.Context) error {
	entries := w.spec.Layer.Go.Overlay
	if len(entries) == 0 {
		return nil
	}
	out, err := w.run(ctx, nil, "mod", "edit", "-json")
	if err != nil {
		return err
	}
	var mod struct{ Require []required }
	if err := json.Unmarshal(out, &mod); err != nil {
		return fmt.Errorf("reading go.mod: %w", err)
	}
	copies := map[required]string{}
	for _, to := range slices.Sorted(keys(entries)) {
		owner, err := ownerOf(to, mod.Require)
		if err != nil {
			return err
		}
		dir, ok := copies[owner]
		if !ok {
			dir = filepath.Join(w.dir, fmt.Sprintf("overlay-%d", len(copies)))
			if err := w.copyModule(ctx, owner, dir); err != nil {
				return err
			}
			copies[owner] = dir
			replace := fmt.Sprintf("-replace=%s@%s=../%s", owner.Path, owner.Version, filepath.Base(dir))
			if _, err := w.run(ctx, nil, "mod", "edit", replace); err != nil {
				return err
			}
		}
		if err := w.add(dir, strings.TrimPrefix(to, owner.Path+"/"), entries[to]); err != nil {
			return fmt.Errorf("overlay %s: %w", to, err)
		}
	}
	return nil
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// ownerOf returns the required module that file, a module's path and a file's
// name in it, belongs to: the one with the longest path.
func ownerOf(file string, all []required) (required, error) {
	var owner required
	for _, r := range all {
		if strings.HasPrefix(file, r.Path+"/") && len(r.Path) > len(owner.Path) {
			owner = r
		}
	}
	if owner.Path == "" {
		return owner, fmt.Errorf("overlay %s: no module that go.mod requires holds it", file)
	}
	return owner, nil
}

// copyModule copies a module's files from the module cache, checked against
// go.sum.
func (w *workspace) copyModule(ctx context.Context, m required, to string) error {
	out, err := w.run(ctx, nil, "mod", "download", "-json", m.Path+"@"+m.Version)
	if err != nil {
		return err
	}
	var got struct{ Dir string }
	if err := json.Unmarshal(out, &got); err != nil {
		return fmt.Errorf("reading what go mod download says: %w", err)
	}
	if err := os.CopyFS(to, os.DirFS(got.Dir)); err != nil {
		return err
	}
	// Folders of the module cache are read-only, and so are their copies.
	err = filepath.WalkDir(to, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return os.Chmod(name, 0o755) //nolint:gosec // a private folder's
	})
	if err != nil {
		return err
	}
	return w.checkDir(to, m.Path, m.Version)
}

// checkDir holds a module's files against its hash in go.sum.
func (w *workspace) checkDir(dir, module, version string) error {
	want, ok := w.sums[module+"@"+version]
	if !ok {
		return fmt.Errorf("go.sum has no hash of %s %s", module, version)
	}
	got, err := hashDir(dir, module, version)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the files of %s %s are not what go.sum says: wanted %s, got %s", module, version, want, got)
	}
	return nil
}

func (w *workspace) add(dir, name, from string) error {
	to := filepath.Join(dir, filepath.FromSlash(name))
	if other, ok := strings.CutPrefix(from, "module:"); ok {
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(other)))
		if err != nil {
			return err
		}
		return errors.Join(write(to, f), f.Close())
	}
	raw, err := fs.ReadFile(w.spec.Folder, from)
	if err != nil {
		return err
	}
	return write(to, bytes.NewReader(raw))
}
