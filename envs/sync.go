package envs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/folder"
	"github.com/kfdev/kfdev/sync/ignore"
	"github.com/kfdev/kfdev/sync/pod"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
)

// SyncOptions say what is synced, and how. What is empty is as the entry of
// kfdev.yaml has it.
type SyncOptions struct {
	// What is the name of an entry, LOCAL:TARGET:REMOTE, or empty: the only entry.
	What      string
	Env       string // empty: dev
	Container string
	Namespace string
	Mode      string
	MaxDelete string
	OnChange  []string
	Prefer    string // whose version conflicts of the first look end with
}

// Sync is a session that can be run.
type Sync struct {
	Name   string // of the session
	Env    string
	Local  string // the folder on this machine, absolute
	Remote string
	Target pod.Target
	Dir    string // for what belongs to the session

	engine    *Engine
	config    session.Config
	maxFile   int64 // bytes of a file that is taken from the pod; 0: any
	ephemeral bool  // a container of the helper's own may be added
}

// Sync works out a session. Nothing runs yet.
func (e *Engine) Sync(o SyncOptions) (*Sync, error) {
	if o.Env == "" {
		o.Env = project.DevName
	}
	if err := e.file.SyncAllowed(o.Env); err != nil {
		return nil, err
	}
	entry, err := e.entryOf(o)
	if err != nil {
		return nil, err
	}
	s := &Sync{Name: entry.Name, Env: o.Env, Local: e.localPath(entry), Remote: entry.Remote, engine: e, ephemeral: entry.MayBeEphemeral()}
	if o.Env != project.DevName {
		s.Name += envSeparator + o.Env
	}
	s.Dir = filepath.Join(e.syncDir(), s.Name)
	if s.Target, err = targetOf(entry, o); err != nil {
		return nil, err
	}
	if err := s.configure(entry, o); err != nil {
		return nil, err
	}
	return s, isFolder(s.Local)
}

// configure makes the session's configuration out of the entry and the options.
func (s *Sync) configure(entry project.Sync, o SyncOptions) (err error) {
	wrong := func(err error) error {
		return &fault.Error{Op: "reading the options", Kind: fault.Usage, Err: err}
	}
	c := session.Config{
		Name: s.Name, Local: s.Local, Remote: s.Remote, Target: s.Target.String(), State: s.Dir,
		Mode: entry.Mode, Limits: entry.Limits(), OnChange: entry.OnChange, IsRuleFile: ignore.IsRuleFile,
		Open: s.open,
	}
	if o.Mode != "" {
		if c.Mode, err = reconcile.ParseMode(o.Mode); err != nil {
			return wrong(err)
		}
	}
	if o.MaxDelete != "" {
		if c.Limits, err = reconcile.ParseLimits(o.MaxDelete); err != nil {
			return wrong(fmt.Errorf("--max-delete %s: %w", o.MaxDelete, err))
		}
	}
	if c.Prefer, err = reconcile.ParsePreference(o.Prefer); err != nil {
		return wrong(err)
	}
	if len(o.OnChange) > 0 {
		c.OnChange = o.OnChange
	}
	s.config, s.maxFile = c, entry.MaxFileBytes()
	return nil
}

// keepFree is how much of this machine's disk pods leave free, bytes.
const keepFree = 1 << 30

// open opens the local folder.
func (s *Sync) open(ctx context.Context, rules session.Rules) (session.Folder, error) {
	f, err := folder.Open(ctx, folder.Options{
		Root: s.Local, Session: s.Name, Rules: rules, ParseRules: folder.ParseRules,
		Cache: filepath.Join(s.Dir, "index"), Memory: filepath.Join(s.Dir, "folder"), Sink: s.engine.sink,
		ArriveBytes: s.maxFile, KeepFree: keepFree,
	})
	if err != nil {
		return nil, err // and not a Folder that is nil
	}
	return f, nil
}

// SyncWatcher is told of a session. What is nil is left out.
type SyncWatcher struct {
	Running func(control.Session) // it can be asked from now on
	Event   func(session.Event)   // something happened; it must return quickly
}

// Run runs the session until the context ends or somebody stops it, which is no
// error, or until it can't go on.
func (s *Sync) Run(ctx context.Context, w SyncWatcher) error {
	return s.run(ctx, newLinker(s).connect, w)
}

// connector is how the other side is reached; session.Config.Connect.
type connector func(ctx context.Context, rules []byte, say func(string)) (session.Link, error)

// run is Run over any connection.
func (s *Sync) run(ctx context.Context, connect connector, w SyncWatcher) (err error) {
	claim, err := control.Take(ctx, s.Dir, s.engine.command)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claim.Release()) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var feed control.Feed
	s.warnOfSize(ctx)
	c := s.config
	if err := s.guarded(&c); err != nil {
		return err
	}
	c.Connect = connect
	c.Events = func(e session.Event) {
		feed.Send(e)
		if w.Event != nil {
			w.Event(e)
		}
	}
	running := session.New(c)
	server, err := claim.Serve(ctx, running, &feed, stop)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if w.Running != nil {
		w.Running(running)
	}
	return running.Run(ctx)
}

// isFolder reports what keeps a path from being the local folder.
func isFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &fault.Error{Op: "looking at the folder", Subject: path, Kind: fault.NotFound, Hint: "mkdir -p " + path, Err: errors.New("it is not there")}
	case err != nil:
		return &fault.Error{Op: "looking at the folder", Subject: path, Err: err}
	case !info.IsDir():
		return &fault.Error{Op: "looking at the folder", Subject: path, Kind: fault.Usage, Err: errors.New("it is no folder")}
	}
	return nil
}
