package npm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Bounds on what packages may unpack to. Their files are held in memory until
// the layer is written: a gzipped tarball cannot be entered in the middle.
const (
	maxUnpacked = 512 << 20 // all packages of a layer
	maxFiles    = 100_000   // in one package
)

// Tree unpacks the packages from the store at their places below the recipe's
// prefix and links their programs as npm does. It runs nothing and uses no network.
func (m *Maker) Tree(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (_ *layer.Tree, err error) {
	task := progress.Start(m.sink, "images/layer/"+spec.Recipe+"/npm", "unpacking the npm packages of "+spec.Recipe, int64(len(inputs)), progress.Items)
	defer func() { task.End(err) }()
	lock, err := readLock(spec)
	if err != nil {
		return nil, err
	}
	prefix := spec.Layer.NPM.Prefix
	if !path.IsAbs(prefix) || path.Clean(prefix) != prefix || prefix == "/" {
		return nil, &fault.Error{Op: "reading the recipe", Subject: spec.Recipe, Kind: fault.Usage,
			Err: fmt.Errorf("prefix %q is not a clean absolute path", prefix)}
	}
	pinned := map[string]bool{}
	for _, input := range inputs {
		pinned[input.Hash] = input.Kind == Kind
	}
	l := layout{prefix: strings.TrimPrefix(prefix, "/"), left: maxUnpacked}
	for _, p := range lock.Packages {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !pinned[p.Integrity] {
			return nil, &fault.Error{Op: "unpacking an npm package", Subject: p.Name + "@" + p.Version, Kind: fault.Drift,
				Err: errors.New("the recipe's lock has it and the pinned inputs do not"), Hint: "kfdev lock --update " + spec.Recipe}
		}
		if err := l.add(ctx, m.store, p); err != nil {
			return nil, &fault.Error{Op: "unpacking an npm package", Subject: p.Name + "@" + p.Version, Err: err}
		}
		task.Add(1)
	}
	return &l.tree, nil
}

// layout is a node_modules being laid out.
type layout struct {
	prefix string // without the leading slash
	left   int64  // bytes that may still be unpacked
	tree   layer.Tree
}

func (l *layout) add(ctx context.Context, store source.Inputs, p Package) (err error) {
	content, err := store.Open(ctx, p.Integrity)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	files, err := readTarball(content, l.left)
	if err != nil {
		return err
	}
	programs := map[string]bool{}
	for _, file := range p.Bin {
		programs[file] = true
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		l.left -= int64(len(f.content))
		mode := fs.FileMode(0o644)
		if f.exec || programs[name] {
			mode = 0o755
		}
		if err := l.tree.AddBytes(path.Join(l.prefix, p.Path, name), mode, f.content); err != nil {
			return err
		}
	}
	return l.link(p, files)
}

// link puts the package's programs into .bin of the node_modules it lies in.
// Where two packages bring one name, the first by path has it.
func (l *layout) link(p Package, files map[string]packed) error {
	below := strings.TrimSuffix(p.Path, path.Base(p.Path))
	below = strings.TrimSuffix(below, "/")
	if scope := path.Base(below); strings.HasPrefix(scope, "@") {
		below = path.Dir(below)
	}
	for _, program := range slices.Sorted(maps.Keys(p.Bin)) {
		file := p.Bin[program]
		if _, ok := files[file]; !ok {
			return fmt.Errorf("the program %s is to be %s, which the package lacks", program, file)
		}
		name := path.Join(l.prefix, below, ".bin", program)
		if _, taken := l.tree.Get(name); taken {
			continue
		}
		target := "../" + strings.TrimPrefix(p.Path, below+"/") + "/" + file
		if err := l.tree.AddLink(name, target); err != nil {
			return err
		}
	}
	return nil
}

// packed is one file of a package.
type packed struct {
	exec    bool
	content []byte
}

// readTarball reads a package's files, by their paths below its one top folder,
// whatever that is called. Links, devices and names that leave the package are
// refused; limit bounds the bytes.
func readTarball(r io.Reader, limit int64) (map[string]packed, error) {
	plain, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	files := map[string]packed{}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, drain(plain, limit)
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeDir || header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := checkHeader(header)
		if err != nil {
			return nil, err
		}
		if limit -= header.Size; limit < 0 || len(files) >= maxFiles {
			return nil, errors.New("unpacks to more than is taken")
		}
		var content bytes.Buffer
		if _, err := io.Copy(&content, archive); err != nil {
			return nil, fmt.Errorf("%q: %w", header.Name, err)
		}
		if _, twice := files[name]; twice {
			return nil, fmt.Errorf("%q comes twice", header.Name)
		}
		files[name] = packed{exec: header.Mode&0o111 != 0, content: content.Bytes()}
	}
}

// drain reads what lies behind the archive's end, so that the gzip checksum is
// looked at.
func drain(r io.Reader, limit int64) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = errors.New("more behind the archive's end than is taken")
	}
	return err
}

func checkHeader(header *tar.Header) (string, error) {
	if header.Typeflag != tar.TypeReg {
		return "", fmt.Errorf("%q is not a plain file (type %q)", header.Name, header.Typeflag)
	}
	top, name, ok := strings.Cut(strings.TrimPrefix(header.Name, "./"), "/")
	if !ok || top == "" || top == ".." || !safeName(name) {
		return "", fmt.Errorf("%q is not a clean path below one folder", header.Name)
	}
	return name, nil
}
