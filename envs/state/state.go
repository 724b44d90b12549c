// Package state is what kfdev remembers of a project on this machine: which
// cluster is its own, which stack was last brought up there. It lies in the
// user's state folder, never in the project, is written whole or not at all,
// and by one kfdev at a time. What can be observed is observed; the record
// only says what is kfdev's to change.
package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
)

// Version is the version of the record's form that this kfdev writes. An older
// one is read too; a newer one is refused, and left as it is.
const Version = 1

// Record is what is remembered of a project. The zero Record is a project that
// was never brought up.
type Record struct {
	Version int    `json:"version"`
	Project string `json:"project"`
	Folder  string `json:"folder"` // absolute

	Cluster    Cluster     `json:"cluster,omitzero"`
	Registry   Registry    `json:"registry,omitzero"`
	Lock       string      `json:"lock,omitempty"` // digest of the lock that was last brought up whole
	Components []Component `json:"components,omitempty"`
	Updated    time.Time   `json:"updated"`
}

// Cluster is the cluster that kfdev made for the project.
type Cluster struct {
	Name    string `json:"name"`
	Node    string `json:"node"`    // id of the first node's container
	Context string `json:"context"` // in the kubeconfig
	APIPort int    `json:"apiPort"` // of this machine
}

// Registry is the local registry that the cluster pulls from.
type Registry struct {
	Container string `json:"container"`
	Port      int    `json:"port"` // of this machine, on the loopback address
}

// Component is a component as it was last applied whole.
type Component struct {
	Name     string `json:"name"`
	Rendered string `json:"rendered"` // hash of its manifests
}

// Store keeps one project's record.
type Store struct {
	dir             string
	project, folder string
}

// Open returns the store of a project. Root is the user's state folder for
// kfdev, project a checked name, folder the project's, absolute. Nothing is
// written.
func Open(root, project, folder string) *Store {
	return &Store{dir: filepath.Join(root, "projects", project), project: project, folder: folder}
}

// Dir is the folder for what else belongs to the project on this machine. It
// need not exist yet.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path() string { return filepath.Join(s.dir, "state.json") }

// Load reads the record; where there is none, it returns the zero record of
// this project. A record of another folder that still holds a project of this
// name is a fault of kind Preflight: both would own one cluster.
func (s *Store) Load() (Record, error) {
	fail := func(kind fault.Kind, hint string, err error) (Record, error) {
		return Record{}, &fault.Error{Op: "reading the project's state", Subject: s.path(), Kind: kind, Hint: hint, Err: err}
	}
	data, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return Record{Version: Version, Project: s.project, Folder: s.folder}, nil
	}
	if err != nil {
		return fail(fault.Failure, "", err)
	}
	r, err := decode(data)
	var newer *newerError
	switch {
	case errors.As(err, &newer):
		return fail(fault.Preflight, "use the kfdev that wrote it, or a newer one", err)
	case err != nil:
		return fail(fault.Failure, "move the file away; kfdev up observes what is there and writes it anew", err)
	case r.Folder != s.folder && taken(r.Folder):
		return fail(fault.Preflight, "give one of the two another name, or run kfdev down --delete there first",
			fmt.Errorf("the project %s of %s has this cluster; a second one of that name is in %s", r.Project, r.Folder, s.folder))
	}
	r.Folder = s.folder
	return r, nil
}

// taken reports whether a project is still in the folder.
func taken(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "kfdev.yaml"))
	return err == nil
}

type newerError struct{ version int }

func (e *newerError) Error() string {
	return fmt.Sprintf("a newer kfdev wrote it (version %d; this one knows %d)", e.version, Version)
}

func decode(data []byte) (Record, error) {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return Record{}, err
	}
	if head.Version > Version {
		return Record{}, &newerError{version: head.Version}
	}
	if head.Version < 1 {
		return Record{}, fmt.Errorf("version %d is none", head.Version)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var r Record
	if err := dec.Decode(&r); err != nil {
		return Record{}, err
	}
	return r, nil
}

// Save writes the record, whole or not at all.
func (s *Store) Save(r Record) error {
	r.Version, r.Project, r.Folder, r.Updated = Version, s.project, s.folder, time.Now().UTC().Truncate(time.Second)
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = atomicfile.Write(s.path(), append(data, '\n'), 0o600)
	}
	if err != nil {
		return &fault.Error{Op: "writing the project's state", Subject: s.path(), Err: err}
	}
	return nil
}

// Forget removes the record and what else lies in Dir, but for the lock file.
func (s *Store) Forget() error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, e.Name())))
		}
	}
	if err != nil {
		return &fault.Error{Op: "forgetting the project's state", Subject: s.dir, Err: err}
	}
	return nil
}

// List returns every project's record below the user's state folder, by name.
// One that cannot be read is left out, and its error returned beside the rest.
func List(root string) ([]Record, error) {
	entries, err := os.ReadDir(filepath.Join(root, "projects"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &fault.Error{Op: "listing the projects of this machine", Err: err}
	}
	var out []Record
	var errs []error
	for _, e := range entries {
		path := filepath.Join(root, "projects", e.Name(), "state.json")
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var r Record
		if err == nil {
			r, err = decode(data)
		}
		if err != nil {
			errs = append(errs, &fault.Error{Op: "reading a project's state", Subject: path, Err: err})
			continue
		}
		out = append(out, r)
	}
	return out, errors.Join(errs...)
}
