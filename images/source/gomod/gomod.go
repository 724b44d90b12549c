// Package gomod makes layers of Go programs: modules at the versions and hashes
// of a go.mod and go.sum that lie with the recipe, built by the exact Go release
// that the recipe names into static programs that hold no trace of the machine
// they were built on. Modules come through the user's own go command, with its
// proxies and its checksum database.
package gomod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/client"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// The kinds of this package's inputs in a lock.
const (
	Kind          = "go"
	KindToolchain = "toolchain"
)

// fetchesAtOnce is how many modules are downloaded at a time; the go command
// takes it from GOMAXPROCS, and downloads mostly wait.
const fetchesAtOnce = 8

// Options are what a Maker works with.
type Options struct {
	Scratch string // folder for private folders, each removed when it is done with
	Cache   string // of compiled packages; where the user's go command has it when empty
	Sink    progress.Sink
	Environ []string // of the go command; this process's own when nil
}

// Maker makes layers of kind go. It implements source.Maker, source.Checker,
// source.Isolated and source.Versioned.
type Maker struct {
	options Options

	mu         sync.Mutex
	toolchains map[string]toolchain
}

var (
	_ source.Maker     = (*Maker)(nil)
	_ source.Checker   = (*Maker)(nil)
	_ source.Isolated  = (*Maker)(nil)
	_ source.Versioned = (*Maker)(nil)
)

// New returns a maker. Nothing is read or written yet.
func New(o Options) *Maker {
	return &Maker{options: o, toolchains: map[string]toolchain{}}
}

// Version names how layers are made here.
func (m *Maker) Version() string { return "1" }

// Isolated returns a maker that shares no compiled package with anything.
func (m *Maker) Isolated(dir string) source.Maker {
	o := m.options
	o.Scratch, o.Cache = filepath.Join(dir, "scratch"), filepath.Join(dir, "go-build")
	return New(o)
}

// Check fails unless the Go release that the recipe names is here or can be
// fetched. It is a fault of kind Preflight then: another release would make
// other bytes.
func (m *Maker) Check(ctx context.Context, spec source.LayerSpec) error {
	_, err := m.toolchain(ctx, spec)
	return err
}

// toolchain finds the exact Go release, which the user's go command fetches
// where it is another one.
func (m *Maker) toolchain(ctx context.Context, spec source.LayerSpec) (toolchain, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	version := spec.Layer.Go.Toolchain
	if t, ok := m.toolchains[version]; ok {
		return t, nil
	}
	fail := func(hint string, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &fault.Error{Op: "preparing Go for the recipe", Subject: spec.Recipe, Kind: fault.Preflight, Hint: hint, Err: err}
	}
	program, err := exec.LookPath("go")
	if err != nil {
		return toolchain{}, fail("install Go 1.21 or newer, any release: it fetches the one that is needed", err)
	}
	environ := m.options.Environ
	if environ == nil {
		environ = os.Environ()
	}
	settings, err := userSettings(ctx, program, environ)
	if err != nil {
		return toolchain{}, fail("", err)
	}
	if m.options.Cache != "" {
		settings["GOCACHE"] = m.options.Cache
	}
	t := toolchain{env: environment(environ, settings)}
	asking := client.Command{
		Dir: os.TempDir(), Program: program, Args: []string{"env", "GOVERSION", "GOROOT"},
		Env: append(slices.Clone(t.env), "GOTOOLCHAIN="+version),
	}
	out, err := asking.Run(ctx)
	if err != nil {
		return toolchain{}, fail("install "+version+", or let the go command reach a module proxy that has it", err)
	}
	version, root, _ := strings.Cut(strings.TrimSpace(string(out.Stdout)), "\n")
	if version != spec.Layer.Go.Toolchain || root == "" {
		return toolchain{}, fail("install "+spec.Layer.Go.Toolchain, fmt.Errorf("wanted %s, the go command runs %q", spec.Layer.Go.Toolchain, version))
	}
	t.program = filepath.Join(root, "bin", "go")
	m.toolchains[version] = t
	return t, nil
}

// Pin returns the toolchain and every module whose content go.sum holds a hash
// of. It uses no network: the lock lies with the recipe, so inputs of an
// earlier project lock do not matter.
func (m *Maker) Pin(_ context.Context, spec source.LayerSpec, _ []recipe.Input) ([]recipe.Input, error) {
	name := path.Join(spec.Layer.Go.Module, "go.sum.txt")
	raw, err := fs.ReadFile(spec.Folder, name)
	if err != nil {
		return nil, &fault.Error{Op: "reading", Subject: spec.Recipe + "/" + name, Err: err}
	}
	modules, err := parseSum(raw)
	if err != nil {
		return nil, &fault.Error{Op: "reading", Subject: spec.Recipe + "/" + name, Kind: fault.Usage, Err: err}
	}
	return append([]recipe.Input{{Kind: KindToolchain, Name: "go", Version: spec.Layer.Go.Toolchain}}, modules...), nil
}

// Fetch has every module that the programs import in the module cache, checked
// by the go command against go.sum. The task counts modules; the inputs are
// their upper bound, since go.sum also names what only tests need.
func (m *Maker) Fetch(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (err error) {
	task := progress.Start(m.options.Sink, "images/fetch/"+spec.Recipe+"/go", "fetching the Go modules of "+spec.Recipe, int64(len(inputs)), progress.Items)
	defer func() { task.End(err) }()
	w, err := m.open(ctx, spec, false)
	if err != nil {
		return m.fault("fetching the Go modules of", spec, err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	w.tool.env = append(slices.Clone(w.tool.env), fmt.Sprintf("GOMAXPROCS=%d", fetchesAtOnce))
	for _, p := range spec.Layer.Go.Programs {
		_, err := w.list(ctx, p, func(line string) {
			if strings.HasPrefix(line, "# get ") && strings.Contains(line, ".zip: 200 ") {
				task.Add(1)
			}
		})
		if err != nil {
			return m.fault("fetching the Go modules of", spec, err)
		}
	}
	return nil
}

func (m *Maker) fault(op string, spec source.LayerSpec, err error) error {
	return &fault.Error{Op: op, Subject: spec.Recipe, Err: err}
}

// Tree builds the programs, from the module cache alone. Every module's files
// are held against go.sum once more before they are compiled: what lies in the
// cache may have been changed since it was fetched.
func (m *Maker) Tree(ctx context.Context, spec source.LayerSpec, _ []recipe.Input) (_ *layer.Tree, err error) {
	w, err := m.open(ctx, spec, true)
	if err != nil {
		return nil, m.fault("building the Go programs of", spec, err)
	}
	tree := &layer.Tree{}
	tree.OnClose(w.close)
	defer func() {
		if err != nil {
			err = errors.Join(err, tree.Close())
		}
	}()
	checked := map[required]bool{}
	for i, p := range spec.Layer.Go.Programs {
		binary := filepath.Join(w.dir, "bin", fmt.Sprint(i))
		err := m.build(ctx, w, p, binary, checked)
		if err == nil {
			err = addProgram(tree, p, binary)
		}
		if err != nil {
			return nil, m.fault("building the Go programs of", spec, err)
		}
	}
	return tree, nil
}

func (m *Maker) build(ctx context.Context, w *workspace, p recipe.GoProgram, binary string, checked map[required]bool) (err error) {
	found, err := w.list(ctx, p, nil)
	if err != nil {
		return err
	}
	if err := w.check(ctx, found.modules, checked); err != nil {
		return err
	}
	task := progress.Start(m.options.Sink, "images/build/"+w.spec.Recipe+"/"+path.Base(p.Path), "compiling "+path.Base(p.Path), int64(found.count), progress.Items)
	defer func() { task.End(err) }()
	link := []string{"-s", "-w", "-buildid="}
	for _, name := range slices.Sorted(keys(p.Set)) {
		link = append(link, "-X", name+"="+p.Set[name])
	}
	_, err = w.run(ctx, func(string) { task.Add(1) },
		"build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", tags(p), "-ldflags="+strings.Join(link, " "),
		"-o", binary, p.Package,
	)
	return err
}

func addProgram(tree *layer.Tree, p recipe.GoProgram, binary string) error {
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	err = tree.Add(layer.Entry{
		Path: strings.TrimPrefix(p.Path, "/"), Type: layer.File, Mode: 0o755, Size: info.Size(),
		Open: func() (io.ReadCloser, error) { return os.Open(binary) },
	})
	for _, link := range p.Links {
		err = errors.Join(err, tree.AddLink(strings.TrimPrefix(link, "/"), p.Path))
	}
	return err
}
