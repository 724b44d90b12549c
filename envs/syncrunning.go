package envs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/session/control"
)

// syncDir is where each session of the project has a folder.
func (e *Engine) syncDir() string { return filepath.Join(e.records.Dir(), "sync") }

// envSeparator stands between a session's name and that of its environment;
// sessions of dev have none.
const envSeparator = "."

// SyncLog is the name of a session's log in its folder, where it runs in the
// background.
const SyncLog = "log"

// SyncSessions returns the project's sessions that run, by name.
func (e *Engine) SyncSessions() ([]control.Running, error) { return control.List(e.syncDir()) }

// SyncSession returns the session of that name; without a name the only one.
func (e *Engine) SyncSession(name string) (control.Running, error) {
	all, err := e.SyncSessions()
	if err != nil {
		return control.Running{}, err
	}
	names := make([]string, 0, len(all))
	for _, r := range all {
		names = append(names, r.Name)
	}
	i := slices.Index(names, name)
	if name == "" && len(all) == 1 {
		i = 0
	}
	switch {
	case i >= 0:
		return all[i], nil
	case len(all) == 0:
		return control.Running{}, &fault.Error{Op: "looking for the session", Subject: name, Kind: fault.NotFound, Hint: "kfdev sync starts one", Err: errors.New("no session of this project runs")}
	case name == "":
		return control.Running{}, &fault.Error{Op: "choosing the session", Kind: fault.Usage, Hint: "name one", Err: fmt.Errorf("there run %s", strings.Join(names, ", "))}
	}
	return control.Running{}, &fault.Error{Op: "looking for the session", Subject: name, Kind: fault.NotFound, Err: fmt.Errorf("it does not run; there run %s", strings.Join(names, ", "))}
}

// endSyncs ends the sessions that run with pods of dev, whose cluster is about
// to go: they would wait for it for ever. It returns what ended, for people.
func (e *Engine) endSyncs(ctx context.Context) (ended []string, err error) {
	all, err := e.SyncSessions()
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if strings.Contains(r.Name, envSeparator) {
			continue
		}
		client := control.NewClient(r.Dir)
		err := client.Stop(ctx)
		client.Close()
		if err != nil {
			return ended, &fault.Error{Op: "ending the session", Subject: r.Name, Hint: "kfdev sync stop " + r.Name, Err: err}
		}
		ended = append(ended, "sync session "+r.Name)
	}
	return ended, nil
}

// SyncFolder is where the log and the state of a session are, whether it runs or
// not.
func (e *Engine) SyncFolder(name string) (string, error) {
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return "", &fault.Error{Op: "looking for the session", Subject: name, Kind: fault.Usage, Err: errors.New("that is no name")}
	}
	return filepath.Join(e.syncDir(), name), nil
}
