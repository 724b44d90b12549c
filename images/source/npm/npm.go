// Package npm makes image layers of npm packages: exact tarballs by the
// integrity in a package-lock.json, fetched by npm as the machine has it
// configured, and unpacked by kfdev as node_modules. No package's script runs.
package npm

import (
	"context"
	"errors"
	"io/fs"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Kind is the kind of this package's inputs in a lock.
const Kind = "npm"

// Maker makes layers of kind npm. It implements source.Maker.
type Maker struct {
	store   source.Inputs
	sink    progress.Sink
	client  Client
	scratch string
}

var (
	_ source.Maker     = (*Maker)(nil)
	_ source.Checker   = (*Maker)(nil)
	_ source.Versioned = (*Maker)(nil)
)

// New returns a maker that keeps packages in store, downloads into folders of
// its own below scratch, and reports to sink.
func New(store source.Inputs, client Client, scratch string, sink progress.Sink) *Maker {
	return &Maker{store: store, client: client, scratch: scratch, sink: sink}
}

// Version changes with what Tree makes of the same packages.
func (m *Maker) Version() string { return "npm 1" }

// Check fails where packages have to be downloaded and this machine has no npm.
func (m *Maker) Check(ctx context.Context, spec source.LayerSpec) error {
	inputs, err := m.Pin(ctx, spec, nil)
	if err != nil {
		return err
	}
	missing, err := source.Missing(ctx, m.store, Kind, inputs)
	if len(missing) == 0 || err != nil {
		return err
	}
	return m.client.check()
}

// Pin returns the packages of the layer's lock that an installation on
// linux/amd64 takes. It uses no network.
func (m *Maker) Pin(_ context.Context, spec source.LayerSpec, _ []recipe.Input) ([]recipe.Input, error) {
	lock, err := readLock(spec)
	if err != nil {
		return nil, err
	}
	var inputs []recipe.Input
	seen := map[string]bool{}
	for _, p := range lock.Packages {
		if seen[p.Integrity] {
			continue
		}
		seen[p.Integrity] = true
		inputs = append(inputs, recipe.Input{Kind: Kind, Name: p.Name, Version: p.Version, Hash: p.Integrity})
	}
	return inputs, nil
}

func readLock(spec source.LayerSpec) (Lock, error) {
	want := spec.Layer.NPM
	if want == nil {
		return Lock{}, errors.New("the layer is not one of npm packages")
	}
	subject := spec.Recipe + "/" + want.Lock
	data, err := fs.ReadFile(spec.Folder, want.Lock)
	if err != nil {
		return Lock{}, &fault.Error{Op: "reading the npm lock", Subject: subject, Kind: fault.Usage, Err: err}
	}
	lock, err := ParseLock(data)
	if err != nil {
		return Lock{}, &fault.Error{Op: "reading the npm lock", Subject: subject, Kind: fault.Usage, Err: err,
			Hint: "write it anew beside its package.json: npm install --package-lock-only --omit-lockfile-registry-resolved"}
	}
	return lock, nil
}
