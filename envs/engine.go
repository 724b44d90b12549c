// Package envs brings a project's stack to the places it runs in. It is the
// only package that knows all domains: it reads the project, computes its
// lock, and runs plans of small steps over clusters, images and components.
// It returns values and reports progress; it never prints.
package envs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/envs/state"
	imagecatalog "github.com/kfdev/kfdev/images/catalog"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/dirs"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	stackcatalog "github.com/kfdev/kfdev/stack/catalog"
	"github.com/kfdev/kfdev/stack/render"
)

// Options say which project an Engine works on, and with what.
type Options struct {
	// Dir is the project's folder, or one below it.
	Dir     string
	Dirs    dirs.Dirs
	Getenv  func(string) string
	Command string // for others who wait: "kfdev up"
	Sink    progress.Sink
}

// Engine works on one project.
type Engine struct {
	file     *project.File
	dirs     dirs.Dirs
	getenv   func(string) string
	command  string
	sink     progress.Sink
	records  *state.Store
	catalog  fs.FS // of components
	recipes  fs.FS
	renders  render.Cache
	store    *store.Store
	builder  *source.Builder
	remote   published
	world    world
	closings []func() error
}

// New reads the project and returns an engine for it. The caller closes it.
func New(o Options) (*Engine, error) {
	e, err := alone(o)
	if err != nil {
		return nil, err
	}
	if err := e.connectWorld(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// alone reads the project and returns an engine without a world to act on.
func alone(o Options) (*Engine, error) {
	dir, err := project.Find(o.Dir)
	if err != nil {
		return nil, err
	}
	file, err := project.Load(dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		file: file, dirs: o.Dirs, getenv: o.Getenv, command: o.Command, sink: o.Sink,
		records: state.Open(o.Dirs.State, file.Metadata.Name, file.Dir),
		catalog: stackcatalog.Files(), recipes: imagecatalog.Files(),
		renders: render.Folder(filepath.Join(o.Dirs.Cache, "rendered")),
	}
	return e, nil
}

// Close ends connections and what runs in the background.
func (e *Engine) Close() error {
	var errs []error
	for _, end := range e.closings {
		errs = append(errs, end())
	}
	e.closings = nil
	return errors.Join(errs...)
}

// settled is a project with a lock that is the lock of just this project.
type settled struct {
	file   *project.File
	lock   lock.Lock
	digest v1.Hash
	base   []part // with every image by digest, the same for all environments
	parts  []part // as dev gets them
}

// settled reads the lock and renders the stack with it. A lock that is not
// there, or that is of another stack than the project asks for, is a fault.
func (e *Engine) settled(context.Context) (settled, error) {
	l, digest, err := lock.Load(e.file.Dir)
	if err != nil {
		return settled{file: e.file}, err
	}
	return e.settle(l, digest)
}

// settle renders the stack with a lock.
func (e *Engine) settle(l lock.Lock, digest v1.Hash) (settled, error) {
	s := settled{file: e.file, lock: l, digest: digest}
	var err error
	if s.parts, err = e.stackOf(e.file); err != nil {
		return s, err
	}
	if stale := e.stale(s); stale != "" {
		return s, &fault.Error{
			Op: "checking the lock", Subject: lock.FileName, Kind: fault.Drift,
			Hint: "run `kfdev lock`; `kfdev lock --check` says what would change", Err: errors.New(stale),
		}
	}
	for i, p := range s.parts {
		if s.parts[i], err = pinned(p, s.lock); err != nil {
			return s, err
		}
	}
	s.parts = together(s.parts)
	s.base = s.parts
	if len(e.file.Differences) == 0 {
		return s, nil
	}
	dev, err := e.renderFor(s, project.DevName)
	s.parts = together(dev.parts)
	return s, err
}

// proxyCA reads the certificates of a proxy that looks into TLS, which nodes
// then trust as this machine does.
func proxyCA(getenv func(string) string) ([]byte, error) {
	if getenv("HTTPS_PROXY") == "" && getenv("https_proxy") == "" {
		return nil, nil
	}
	file := getenv("SSL_CERT_FILE")
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, &fault.Error{
			Op: "reading the certificates of SSL_CERT_FILE", Subject: file, Kind: fault.Preflight,
			Hint: "nodes need them to pull through the proxy; mend the variable or unset it", Err: err,
		}
	}
	return pem, nil
}
