// Package catalog holds kfdev's own components: one folder each, with a
// component.yaml and a kustomization.yaml, and in the upstream folder the
// manifests that ship inside the components' Go modules.
package catalog

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
	"github.com/kfdev/kfdev/internal/upstream"
	"github.com/kfdev/kfdev/stack"
)

//go:embed upstream.sum */*
var embedded embed.FS

// Files returns the catalog that is built into the program: a folder per
// component, and the upstream folder.
func Files() fs.FS { return embedded }

// Complete reports, as a fault of kind Preflight, that the program was built
// without its upstream manifests.
func Complete(files fs.FS) error { return upstream.Check(files) }

// Names returns the names of the components in files, in order.
func Names(files fs.FS) ([]string, error) {
	found, err := fs.Glob(files, "*/"+stack.FileName)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(found))
	for i, file := range found {
		names[i] = path.Dir(file)
	}
	slices.Sort(names)
	return names, nil
}

// Component returns the component of that name in files. One that is not there
// is a fault of kind NotFound that names those there are.
func Component(files fs.FS, name string) (stack.Component, error) {
	names, err := Names(files)
	if err != nil {
		return stack.Component{}, err
	}
	if !slices.Contains(names, name) {
		hint := "the catalog has " + strings.Join(names, ", ")
		if near := strictyaml.Nearest(name, names); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		return stack.Component{}, &fault.Error{Op: "looking in the catalog", Subject: name, Kind: fault.NotFound, Hint: hint,
			Err: errors.New("there is no such component")}
	}
	c, err := stack.Load(files, name)
	if err != nil {
		return stack.Component{}, err
	}
	if c.Name != name {
		return stack.Component{}, &fault.Error{Op: "reading a component", Subject: name, Err: fmt.Errorf("its file names it %s", c.Name)}
	}
	return c, nil
}
