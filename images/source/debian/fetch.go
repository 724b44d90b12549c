package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/debian/apt"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Fetch has every package in the store, checked against its hash: the layer's,
// and those of the layers below where this one describes them too. What is
// there already is not asked for. A version that the archive no longer has is
// a fault of kind NotFound that names it and the ways out.
func (m *Maker) Fetch(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (err error) {
	inputs = append(slices.Clone(inputs), described(spec)...)
	absent, err := source.Missing(ctx, m.store, Kind, inputs)
	if len(absent) == 0 || err != nil {
		return err
	}
	var total int64
	for _, in := range absent {
		total += in.Size
	}
	archive := m.archive(spec.Layer.Debian.Suite)
	packages, err := m.locate(ctx, archive, spec, absent)
	if err != nil {
		return err
	}
	task := progress.Start(m.sink, "images/fetch/"+spec.Recipe+"/debian",
		fmt.Sprintf("%d Debian packages for %s", len(absent), spec.Recipe), total, progress.Bytes)
	defer func() { task.End(err) }()
	err = m.download(ctx, archive, absent, packages, task)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// The index may have been older than the archive behind it.
	if _, refreshErr := archive.Refresh(ctx, 0); refreshErr != nil {
		return errors.Join(err, refreshErr)
	}
	if packages, locateErr := m.locate(ctx, archive, spec, absent); locateErr != nil {
		return locateErr
	} else if err = m.download(ctx, archive, absent, packages, task); err != nil {
		return err
	}
	return nil
}

// described are the packages of the layers below that a layer reads again: for
// the status file, and for the accounts that they ask for.
func described(spec source.LayerSpec) []recipe.Input {
	var packages []recipe.Input
	if !spec.Layer.Debian.Status && !spec.Layer.Debian.Accounts {
		return nil
	}
	for _, below := range spec.Below {
		for _, in := range below {
			if in.Kind == Kind {
				packages = append(packages, in)
			}
		}
	}
	return packages
}

func (m *Maker) download(ctx context.Context, archive *apt.Archive, inputs []recipe.Input, packages []apt.Package, task *progress.Task) (err error) {
	parent, err := m.scratch()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "debs-")
	if err != nil {
		return &fault.Error{Op: "downloading Debian packages", Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
		return &fault.Error{Op: "downloading Debian packages", Err: err}
	}
	if err := archive.Download(ctx, packages, dir, task); err != nil {
		return err
	}
	for i, in := range inputs {
		if err := source.Keep(ctx, m.store, in.Hash, filepath.Join(dir, packages[i].File)); err != nil {
			return &fault.Error{Op: "checking Debian package", Subject: in.File, Err: err}
		}
	}
	return nil
}

// locate finds each input in the archive's index by version and hash, in the
// order given, with a new index where one is missing from that at hand.
func (m *Maker) locate(ctx context.Context, archive *apt.Archive, spec source.LayerSpec, inputs []recipe.Input) ([]apt.Package, error) {
	names := make([]string, 0, len(inputs))
	for _, in := range inputs {
		names = append(names, in.Name)
	}
	fresh, err := archive.Refresh(ctx, m.fresh)
	if err != nil {
		return nil, err
	}
	for {
		versions, err := archive.Versions(ctx, names)
		if err != nil {
			return nil, err
		}
		var packages []apt.Package
		var gone []string
		for _, in := range inputs {
			p, ok := find(versions[in.Name], in)
			if !ok {
				gone = append(gone, vanished(in, versions[in.Name]))
				continue
			}
			packages = append(packages, p)
		}
		if len(gone) == 0 {
			return packages, nil
		}
		if fresh {
			return nil, vanishedFault(spec, gone)
		}
		if fresh, err = archive.Refresh(ctx, 0); err != nil {
			return nil, err
		}
	}
}

func vanished(in recipe.Input, now []apt.Package) string {
	var have []string
	for _, p := range now {
		text := p.Version
		if p.Version == in.Version {
			text += " with other content (sha256:" + p.SHA256 + ")"
		}
		have = append(have, text)
	}
	if len(have) == 0 {
		have = []string{"no " + in.Name}
	}
	return fmt.Sprintf("%s %s (the archive has %s now), %s", in.Name, in.Version, strings.Join(have, ", "), in.Hash)
}

func vanishedFault(spec source.LayerSpec, gone []string) error {
	return &fault.Error{
		Op: "finding the pinned Debian packages of", Subject: spec.Recipe, Kind: fault.NotFound,
		Err: fmt.Errorf("no longer in Debian %s, and not in this machine's store: %s", spec.Layer.Debian.Suite, strings.Join(gone, "; ")),
		Hint: "Debian drops superseded versions. Copy the files blobs/sha256/HASH from the store of a machine that has them " +
			"(the folder kfdev/store in the user's cache) to the same place here, or move on to what the archive has now: kfdev lock --update " + spec.Recipe,
	}
}
