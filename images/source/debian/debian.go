// Package debian makes layers of Debian packages without Debian's tools as far
// as assembly goes: the machine's apt resolves and downloads, this package
// checks, unpacks and does what maintainer scripts would have done, so that
// the same packages give the same layer on every machine and for every user.
package debian

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/debian/apt"
	"github.com/kfdev/kfdev/images/source/debian/deb"
	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Kind is the kind of this package's inputs in a lock.
const Kind = "deb"

// Options are what a Maker works with.
type Options struct {
	Store source.Inputs
	Dir   string // cache folder: apt's private state, and what is at hand while unpacking
	Sink  progress.Sink
	// IndexFor is how long an index that apt fetched is used before apt is asked
	// for a newer one; 0 means ten minutes, about one kfdev command.
	IndexFor time.Duration
	// AptConfig is more apt configuration, read last; empty but in tests.
	AptConfig string
}

const indexFor = 10 * time.Minute

// Maker makes layers of kind debian. It implements source.Maker.
type Maker struct {
	store  source.Inputs
	dir    string
	sink   progress.Sink
	config string
	fresh  time.Duration
}

var (
	_ source.Maker     = (*Maker)(nil)
	_ source.Versioned = (*Maker)(nil)
)

// Version changes with the way layers are assembled.
func (m *Maker) Version() string { return "1" }

// New returns a maker. Nothing is read or written yet.
func New(o Options) *Maker {
	return &Maker{store: o.Store, dir: o.Dir, sink: o.Sink, config: o.AptConfig, fresh: cmp.Or(o.IndexFor, indexFor)}
}

func (m *Maker) archive(suite string) *apt.Archive {
	return apt.New(apt.Options{Dir: filepath.Join(m.dir, "apt"), Suite: suite, Sink: m.sink, Config: m.config})
}

// Pin resolves the layer's packages against the suite's signed index. Where
// before, the inputs of an earlier lock, still satisfies the layer, it is what
// Pin returns; a package of it that is neither in the store nor in the archive
// any more is a fault of kind NotFound that names it and the ways out.
func (m *Maker) Pin(ctx context.Context, spec source.LayerSpec, before []recipe.Input) ([]recipe.Input, error) {
	layer := spec.Layer.Debian
	before = slices.DeleteFunc(slices.Clone(before), func(in recipe.Input) bool { return in.Kind != Kind })
	if len(before) > 0 {
		kept, err := m.keep(ctx, spec, before)
		if err != nil || kept != nil {
			return kept, err
		}
	}
	archive := m.archive(layer.Suite)
	if _, err := archive.Refresh(ctx, m.fresh); err != nil {
		return nil, err
	}
	packages, err := m.resolve(ctx, archive, spec, before)
	if err != nil {
		return nil, err
	}
	inputs := make([]recipe.Input, 0, len(packages))
	for _, p := range packages {
		inputs = append(inputs, recipe.Input{
			Kind: Kind, Name: p.Name, Version: p.Version, File: p.File, Size: p.Size, Hash: "sha256:" + p.SHA256,
		})
	}
	sortInputs(inputs)
	return inputs, nil
}

// resolve asks apt anew, with the versions of before preferred. Where those
// and the layer no longer go together, they are let go.
func (m *Maker) resolve(ctx context.Context, archive *apt.Archive, spec source.LayerSpec, before []recipe.Input) ([]apt.Package, error) {
	layer := spec.Layer.Debian
	if layer.Only {
		return m.exactly(ctx, archive, spec, before)
	}
	prefer := make([]apt.Package, 0, len(before))
	for _, in := range before {
		prefer = append(prefer, apt.Package{Name: in.Name, Version: in.Version})
	}
	packages, err := archive.Resolve(ctx, layer.Packages, layer.Refuse, prefer)
	if err != nil && len(prefer) > 0 && ctx.Err() == nil {
		packages, err = archive.Resolve(ctx, layer.Packages, layer.Refuse, nil)
	}
	if err != nil {
		return nil, &fault.Error{Op: "pinning the Debian packages of", Subject: spec.Recipe, Err: err}
	}
	return packages, nil
}

// exactly takes the named packages and no other, at the version of before
// where the archive has it, else at the one that apt would take.
func (m *Maker) exactly(ctx context.Context, archive *apt.Archive, spec source.LayerSpec, before []recipe.Input) ([]apt.Package, error) {
	names := spec.Layer.Debian.Packages
	candidates, err := archive.Candidates(ctx, names)
	if err != nil {
		return nil, err
	}
	versions, err := archive.Versions(ctx, names)
	if err != nil {
		return nil, err
	}
	var packages []apt.Package
	var missing []string
	for _, name := range names {
		chosen, ok := candidates[name]
		if i := slices.IndexFunc(before, func(in recipe.Input) bool { return in.Name == name }); i >= 0 {
			if old, found := find(versions[name], before[i]); found {
				chosen, ok = old, true
			}
		}
		if !ok {
			missing = append(missing, name)
			continue
		}
		packages = append(packages, chosen)
	}
	if len(missing) > 0 {
		return nil, &fault.Error{
			Op: "pinning the Debian packages of", Subject: spec.Recipe, Kind: fault.NotFound,
			Err: fmt.Errorf("Debian %s has no %s", spec.Layer.Debian.Suite, strings.Join(missing, ", ")), //nolint:staticcheck // Debian is a name
		}
	}
	return packages, nil
}

// keep returns before, or as much of it as the layer still needs, where it
// satisfies the layer as it is now, and nil where it does not.
func (m *Maker) keep(ctx context.Context, spec source.LayerSpec, before []recipe.Input) ([]recipe.Input, error) {
	layer := spec.Layer.Debian
	stanzas, err := m.controls(ctx, spec, before)
	if err != nil {
		return nil, err
	}
	var reached []string
	if layer.Only {
		reached = slices.Clone(layer.Packages)
	} else {
		var unmet []string
		reached, unmet, err = deb.Closure(stanzas, layer.Packages)
		if err != nil {
			return nil, &fault.Error{Op: "reading the Debian packages of", Subject: spec.Recipe, Err: err}
		}
		if len(unmet) > 0 {
			return nil, nil
		}
	}
	var kept []recipe.Input
	for _, in := range before {
		if slices.Contains(reached, in.Name) {
			kept = append(kept, in)
		}
	}
	refused := slices.ContainsFunc(kept, func(in recipe.Input) bool { return slices.Contains(layer.Refuse, in.Name) })
	if refused || len(kept) != len(reached) {
		return nil, nil
	}
	sortInputs(kept)
	return kept, nil
}

// controls returns the control stanza of each input, from the store or, where
// it is not there, from the archive's index.
func (m *Maker) controls(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) ([]deb.Stanza, error) {
	var stanzas []deb.Stanza
	var absent []recipe.Input
	for _, in := range inputs {
		ok, err := m.store.Has(ctx, in.Hash)
		if err != nil {
			return nil, err
		}
		if !ok {
			absent = append(absent, in)
			continue
		}
		stanza, err := m.control(ctx, in)
		if err != nil {
			return nil, err
		}
		stanzas = append(stanzas, stanza)
	}
	if len(absent) == 0 {
		return stanzas, nil
	}
	found, err := m.locate(ctx, m.archive(spec.Layer.Debian.Suite), spec, absent)
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		more, err := deb.ParseStanzas(strings.NewReader(p.Control))
		if err != nil {
			return nil, &fault.Error{Op: "reading the archive's index", Subject: p.Name, Err: err}
		}
		stanzas = append(stanzas, more...)
	}
	return stanzas, nil
}

// control returns a package's control stanza. What was read once is kept beside
// by the package's hash: unpacking it is most of what checking a lock costs.
func (m *Maker) control(ctx context.Context, in recipe.Input) (deb.Stanza, error) {
	at := filepath.Join(m.dir, "controls", strings.TrimPrefix(in.Hash, "sha256:")+".json")
	if stanza, ok := keptControl(at, in); ok {
		return stanza, nil
	}
	r, err := m.store.Open(ctx, in.Hash)
	if err != nil {
		return nil, err
	}
	stanza, err := deb.Control(r)
	_ = r.Close()
	if err != nil {
		return nil, &fault.Error{Op: "reading Debian package", Subject: in.File, Err: err}
	}
	if data, err := json.Marshal(stanza); err == nil && os.MkdirAll(filepath.Dir(at), 0o755) == nil {
		_ = atomicfile.Write(at, data, 0o644) // it is read again the next time
	}
	return stanza, nil
}

// keptControl is what was kept of an input's control file; false where nothing
// usable was.
func keptControl(at string, in recipe.Input) (deb.Stanza, bool) {
	data, err := os.ReadFile(at)
	var stanza deb.Stanza
	if err != nil || json.Unmarshal(data, &stanza) != nil {
		return nil, false
	}
	return stanza, stanza.Get("Package") == in.Name && stanza.Get("Version") == in.Version && stanza.Get("Architecture") != ""
}

func find(versions []apt.Package, in recipe.Input) (apt.Package, bool) {
	i := slices.IndexFunc(versions, func(p apt.Package) bool {
		return p.Version == in.Version && "sha256:"+p.SHA256 == in.Hash
	})
	if i < 0 {
		return apt.Package{}, false
	}
	return versions[i], true
}

func sortInputs(inputs []recipe.Input) {
	slices.SortFunc(inputs, func(a, b recipe.Input) int { return strings.Compare(a.Name, b.Name) })
}

// scratch makes a folder for what is downloaded or unpacked.
func (m *Maker) scratch() (string, error) {
	dir := filepath.Join(m.dir, "tmp")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", &fault.Error{Op: "making a folder", Subject: dir, Err: err}
	}
	return dir, nil
}
