package debian

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/debian/deb"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

const (
	caCertificates = "usr/share/ca-certificates"
	caBundle       = "etc/ssl/certs/ca-certificates.crt"
	opensslBundle  = "usr/lib/ssl/cert.pem" // where OpenSSL as Debian builds it looks first
	dpkgStatus     = "var/lib/dpkg/status"
)

// Tree unpacks the layer's packages, in name order, and does what their
// maintainer scripts would have done as far as the recipe asks for it. The
// tree's files lie in a file without a name that goes when the tree is closed.
func (m *Maker) Tree(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (_ *layer.Tree, err error) {
	fail := func(err error) error {
		return &fault.Error{Op: "unpacking the Debian packages of", Subject: spec.Recipe, Err: err}
	}
	exclude, err := newFilter(spec.Layer.Debian.Exclude)
	if err != nil {
		return nil, fail(err)
	}
	dir, err := m.scratch()
	if err != nil {
		return nil, err
	}
	content, err := newSpool(dir)
	if err != nil {
		return nil, fail(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, content.file.Close())
		}
	}()
	u := newUnpacker(content)
	if err := m.unpack(ctx, spec, inputs, u); err != nil {
		return nil, fail(err)
	}
	made, err := m.scripts(ctx, spec, u)
	if err != nil {
		return nil, fail(err)
	}
	if err := u.finish(exclude); err != nil {
		return nil, fail(err)
	}
	var tree layer.Tree
	tree.OnClose(content.file.Close)
	for _, e := range u.entries {
		if err := tree.Add(e); err != nil {
			return nil, fail(err)
		}
	}
	for _, e := range made {
		if err := tree.Add(e); err != nil {
			return nil, fail(err)
		}
	}
	if err := errors.Join(steps(&tree, spec), mergeLinks(&tree), parents(&tree)); err != nil {
		return nil, fail(err)
	}
	return &tree, nil
}

func (m *Maker) unpack(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input, u *unpacker) (err error) {
	inputs = slices.Clone(inputs)
	sortInputs(inputs)
	task := progress.Start(m.sink, "images/unpack/"+spec.Recipe+"/debian",
		fmt.Sprintf("unpacking %d Debian packages for %s", len(inputs), spec.Recipe), int64(len(inputs)), progress.Items)
	defer func() { task.End(err) }()
	for _, in := range inputs {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := m.store.Open(ctx, in.Hash)
		if err != nil {
			return err
		}
		if err := errors.Join(u.add(r), r.Close()); err != nil {
			return fmt.Errorf("%s: %w", in.File, err)
		}
		if u.at != in.Name {
			return fmt.Errorf("%s holds the package %s", in.File, u.at)
		}
		task.Add(1)
	}
	return nil
}

// scripts returns the entries that come from what was unpacked: accounts, the
// CA bundle, dpkg's status.
func (m *Maker) scripts(ctx context.Context, spec source.LayerSpec, u *unpacker) ([]layer.Entry, error) {
	var made []layer.Entry
	d := spec.Layer.Debian
	if d.Accounts {
		entries, err := m.accounts(ctx, spec, u)
		if err != nil {
			return nil, err
		}
		made = append(made, entries...)
	}
	if d.CABundle {
		bundle, err := certificates(u)
		if err != nil {
			return nil, err
		}
		made = append(made, fileEntry(caBundle, bundle),
			layer.Entry{Path: opensslBundle, Type: layer.Symlink, Mode: 0o777, Link: "/" + caBundle})
	}
	if d.Status {
		status, err := m.status(ctx, spec, u)
		if err != nil {
			return nil, err
		}
		made = append(made, fileEntry(dpkgStatus, status))
	}
	return made, nil
}

func fileEntry(name string, content []byte) layer.Entry {
	return layer.Entry{Path: name, Type: layer.File, Mode: 0o644, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

// certificates joins every certificate that ca-certificates ships, in path
// order, as update-ca-certificates does.
func certificates(u *unpacker) ([]byte, error) {
	var bundle bytes.Buffer
	for _, name := range u.under(caCertificates, ".crt") {
		text, err := u.text(name)
		if err != nil {
			return nil, err
		}
		if block, _ := pem.Decode(text); block == nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("/%s holds no certificate in PEM", name)
		}
		bundle.Write(bytes.TrimRight(text, "\n"))
		bundle.WriteByte('\n')
	}
	if bundle.Len() == 0 {
		return nil, fmt.Errorf("caBundle is set, but no package of the layer has certificates in /%s", caCertificates)
	}
	return bundle.Bytes(), nil
}

// status is dpkg's list of what is installed: this layer's packages and those
// of the Debian layers below. There are no lists of files beside it, which
// dpkg warns of where it is used.
func (m *Maker) status(ctx context.Context, spec source.LayerSpec, u *unpacker) ([]byte, error) {
	all := map[string]deb.Stanza{}
	for _, in := range described(spec) {
		stanza, err := m.control(ctx, in)
		if err != nil {
			return nil, err
		}
		all[in.Name] = stanza
	}
	for name, stanza := range u.control {
		all[name] = stanza
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		stanza := all[name]
		i := slices.IndexFunc(stanza, func(f deb.Field) bool { return strings.EqualFold(f.Name, "Package") })
		b.WriteString(slices.Insert(slices.Clone(stanza), i+1, deb.Field{Name: "Status", Value: "install ok installed"}).String())
		b.WriteByte('\n')
	}
	return []byte(b.String()), nil
}

// mergeLinks puts the links of the merged /usr in, with what they point to.
func mergeLinks(tree *layer.Tree) error {
	for _, name := range mergedFolders() {
		if err := tree.AddLink(name, "usr/"+name); err != nil {
			return err
		}
		if _, ok := tree.Get("usr/" + name); !ok {
			if err := tree.Add(layer.Entry{Path: "usr/" + name, Type: layer.Dir, Mode: 0o755}); err != nil {
				return err
			}
		}
	}
	return nil
}

// parents refuses a path that leads through something that is not a folder:
// unpacked, it would land somewhere else.
func parents(tree *layer.Tree) error {
	for _, e := range tree.Entries() {
		for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
			if parent, ok := tree.Get(dir); ok && parent.Type != layer.Dir {
				return fmt.Errorf("/%s leads through /%s, which is not a folder", e.Path, dir)
			}
		}
	}
	return nil
}
