package project

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
	"github.com/kfdev/kfdev/sync/reconcile"
)

// File is a project file that was read.
type File struct {
	Dir  string // the project's folder, absolute
	Path string // of the file, as errors name it
	Project

	doc *strictyaml.Document
}

// maxSize bounds what is read as a project file, in bytes.
const maxSize = 1 << 20

// Find returns the project's folder: dir, or the nearest folder above it with
// a project file. Where there is none, the error is a fault of kind NotFound.
func Find(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &fault.Error{Op: "looking for the project", Subject: dir, Err: err}
	}
	for at := abs; ; at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(at, FileName)); err == nil && !info.IsDir() {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", notFound(abs)
		}
	}
}

func notFound(dir string) error {
	return &fault.Error{
		Op: "looking for the project", Subject: dir, Kind: fault.NotFound,
		Hint: "kfdev init makes a project; --project DIR names its folder",
		Err:  fmt.Errorf("no %s here or in a folder above", FileName),
	}
}

// Load reads the project file in dir. Everything wrong with it is in one fault
// of kind Usage around strictyaml.Problems.
func Load(dir string) (*File, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, &fault.Error{Op: "reading the project", Subject: dir, Err: err}
	}
	path := filepath.Join(abs, FileName)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, notFound(abs)
	case err == nil && info.Size() > maxSize:
		err = fmt.Errorf("%d bytes; a project file has at most %d", info.Size(), maxSize)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, &fault.Error{Op: "reading the project", Subject: path, Kind: fault.Usage, Err: err}
	}
	f, err := Parse(shown(path), data)
	if err != nil {
		return nil, err
	}
	f.Dir = abs
	return f, f.checkFiles()
}

// shown is the path as people see it: relative to where they are, when that is
// shorter.
func shown(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// Parse reads a project file's content; path is what errors call it. Folders
// that the file names are not looked at.
func Parse(path string, data []byte) (*File, error) {
	f := &File{Path: path}
	var problems strictyaml.Problems
	f.doc, problems = strictyaml.Decode(path, data, &f.Project)
	if f.doc != nil {
		problems = append(problems, f.validate(problems)...)
	}
	if err := f.fault(problems); err != nil {
		return nil, err
	}
	f.setDefaults()
	return f, nil
}

// Problem returns what is wrong with the value at path as an error that names
// its place, for checks that need more than the file: a component's values
// against the catalog.
func (f *File) Problem(text string, path ...any) strictyaml.Problem { return f.doc.At(text, path...) }

// Fault makes one error of problems; nil where there are none.
func (f *File) Fault(problems strictyaml.Problems) error { return f.fault(problems) }

func (f *File) fault(problems strictyaml.Problems) error {
	err := problems.Err()
	if err == nil {
		return nil
	}
	return &fault.Error{
		Op: "reading the project", Kind: fault.Usage, Err: err,
		Hint: "kfdev schema prints what a project file may say, for editors that check as you type",
	}
}

// Components returns the names of components that the file speaks of, sorted.
func (f *File) Components() []string { return slices.Sorted(maps.Keys(f.Stack.Components)) }

// CheckComponents holds the names of components against the catalog's; those
// with a folder of their own need not be there.
func (f *File) CheckComponents(catalog []string) error {
	var problems strictyaml.Problems
	for _, name := range f.Components() {
		if f.Stack.Components[name].Folder != "" || slices.Contains(catalog, name) {
			continue
		}
		text := fmt.Sprintf("the catalog has no component %q: ", name)
		if near := strictyaml.Nearest(name, catalog); near != "" {
			text += fmt.Sprintf("did you mean %q?", near)
		} else {
			text += "it has " + strings.Join(catalog, ", ") + "; a component of your own needs a folder"
		}
		problems = append(problems, f.doc.Key(text, "stack", "components", name))
	}
	return f.fault(problems)
}

func (f *File) setDefaults() {
	if len(f.Platforms) == 0 {
		f.Platforms = []Platform{LinuxAMD64}
	}
	if f.Origin == "" {
		f.Origin = OriginAuto
	}
	for i := range f.Sync {
		f.Sync[i].Local = filepath.Clean(f.Sync[i].Local)
		if f.Sync[i].Mode == "" {
			f.Sync[i].Mode = reconcile.TwoWaySafe
		}
	}
	for name, env := range f.Environments.Others {
		if env.Registry.Pull == "" {
			env.Registry.Pull = env.Registry.Push
			f.Environments.Others[name] = env
		}
	}
	if kind := &f.Environments.Dev.Cluster.Kind; kind.Nodes == 0 {
		kind.Nodes = 1
	}
}

// checkFiles looks at what the file names in the project: the folders of its
// own components, and registries' certificates. Folders to sync may come later.
func (f *File) checkFiles() error {
	var problems strictyaml.Problems
	for name, env := range f.Environments.Others {
		if env.Registry.CA == "" {
			continue
		}
		if info, err := os.Stat(filepath.Join(f.Dir, env.Registry.CA)); err != nil || !info.Mode().IsRegular() {
			problems = append(problems, f.doc.At(fmt.Sprintf("the file %q is not there", env.Registry.CA), "environments", name, "registry", "ca"))
		}
	}
	for _, name := range f.Components() {
		folder := f.Stack.Components[name].Folder
		if folder == "" {
			continue
		}
		info, err := os.Stat(filepath.Join(f.Dir, folder))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, f.doc.At(fmt.Sprintf("the folder %q is not there", folder), "stack", "components", name, "folder"))
		case err != nil:
			problems = append(problems, f.doc.At(fmt.Sprintf("the folder %q cannot be read: %v", folder, err), "stack", "components", name, "folder"))
		case !info.IsDir():
			problems = append(problems, f.doc.At(fmt.Sprintf("%q is a file: a folder is wanted", folder), "stack", "components", name, "folder"))
		}
	}
	return f.fault(problems)
}

// The forms of names, compiled where they are used: reading one file needs
// each once.
const (
	nameForm   = `^[a-z]([-a-z0-9]*[a-z0-9])?$`
	labelForm  = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	valueForm  = `^[a-zA-Z]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$`
	objectForm = `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	limitForm  = `^([1-9][0-9]*|([1-9][0-9]?|100)%|off)$`
	sizeForm   = `^([1-9][0-9]*(Ki|Mi|Gi|Ti)?|off)$`
	sumForm    = `^[0-9a-f]{64}$`
	hostForm   = `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$`
	mirrorForm = `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]([-a-z0-9._]*[a-z0-9])?)*$`
)

func matches(form, text string) bool { return regexp.MustCompile(form).MatchString(text) }

// MaxName is the longest name of a project, in bytes: the node's container,
// kfdev-NAME-control-plane, must be a host name.
const MaxName = 40
