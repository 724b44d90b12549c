// Package wheels makes image layers of Python wheels: exact files by hash,
// fetched by pip or uv as the machine has them configured, and unpacked by
// kfdev in the layout of a virtual environment. No Python runs to do it.
package wheels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Kind is the kind of this package's inputs in a lock.
const Kind = "wheel"

// Maker makes layers of kind wheels. It implements source.Maker.
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

// New returns a maker that keeps wheels in store, downloads into folders of
// its own below scratch, and reports to sink.
func New(store source.Inputs, client Client, scratch string, sink progress.Sink) *Maker {
	return &Maker{store: store, client: client, scratch: scratch, sink: sink}
}

// Version changes with what Tree makes of the same wheels.
func (m *Maker) Version() string { return "wheels 1" }

// Check fails where wheels have to be downloaded and this machine has no pip.
func (m *Maker) Check(ctx context.Context, spec source.LayerSpec) (err error) {
	inputs, err := m.Pin(ctx, spec, nil)
	if err != nil {
		return err
	}
	missing, err := source.Missing(ctx, m.store, Kind, inputs)
	if len(missing) == 0 || err != nil {
		return err
	}
	scratch, remove, err := source.Scratch(m.scratch, "wheels")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	_, err = m.client.find(ctx, scratch)
	return err
}

// Pin returns the wheels of the layer's lock. It uses no network: the lock lies
// with the recipe, so inputs of an earlier project lock do not matter.
func (m *Maker) Pin(_ context.Context, spec source.LayerSpec, _ []recipe.Input) ([]recipe.Input, error) {
	lock, err := readLock(spec)
	if err != nil {
		return nil, err
	}
	if err := checkInterpreter(spec); err != nil {
		return nil, err
	}
	inputs := make([]recipe.Input, 0, len(lock.Wheels))
	for _, w := range lock.Wheels {
		inputs = append(inputs, w.input())
	}
	return inputs, nil
}

func readLock(spec source.LayerSpec) (Lock, error) {
	want := spec.Layer.Wheels
	if want == nil {
		return Lock{}, errors.New("the layer is not one of wheels")
	}
	subject := spec.Recipe + "/" + want.Lock
	data, err := fs.ReadFile(spec.Folder, want.Lock)
	if err != nil {
		return Lock{}, &fault.Error{Op: "reading the wheel lock", Subject: subject, Kind: fault.Usage, Err: err}
	}
	lock, err := ParseLock(data)
	if err == nil && lock.Python != want.Python {
		err = fmt.Errorf("it was made for Python %s and the recipe asks for %s", lock.Python, want.Python)
	}
	if err != nil {
		return Lock{}, &fault.Error{Op: "reading the wheel lock", Subject: subject, Kind: fault.Usage, Err: err,
			Hint: "write it anew: go run ./internal/gen/wheels images/catalog/" + spec.Recipe}
	}
	return lock, nil
}

// checkInterpreter refuses a base whose Python is not the one that the lock was
// made for: other wheels would be right for it.
func checkInterpreter(spec source.LayerSpec) error {
	for _, layer := range spec.Below {
		for _, input := range layer {
			if input.Kind != "deb" || input.Name != "libpython3.11-minimal" && input.Name != "python3.11-minimal" {
				continue
			}
			upstream, _, _ := strings.Cut(input.Version, "-")
			if upstream != spec.Layer.Wheels.Python {
				return &fault.Error{Op: "pinning wheels", Subject: spec.Recipe, Kind: fault.Preflight,
					Err:  fmt.Errorf("the base has Python %s (%s %s) and the wheels are locked for %s", upstream, input.Name, input.Version, spec.Layer.Wheels.Python),
					Hint: "the wheel lock has to be made anew for that Python; a newer kfdev may have it"}
			}
		}
	}
	return nil
}
