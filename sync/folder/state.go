package folder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/filelock"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// What is in StateDir.
const (
	stateDir     = endpoint.StateDir
	lockPath     = endpoint.StateDir + "/lock"
	identityPath = endpoint.StateDir + "/identity"
	ignorePath   = endpoint.StateDir + "/.gitignore"
	indexPath    = endpoint.StateDir + "/index"
	stagingPath  = endpoint.StateDir + "/staging"
	trashPath    = endpoint.StateDir + "/trash"
	probePath    = endpoint.StateDir + "/probe"
	asidePath    = endpoint.StateDir + "/trash-of-copy" // see setAside
)

// state is an open root with what is kept in it.
type state struct {
	root                    *beneath.Root
	lock                    *os.File
	identity                identity
	foldsCase, foldsUnicode bool
	decomposes              bool // names are listed in another Unicode form than they were made in
	notes                   []string
	trash                   []batch // oldest first
	staging                 bool    // the folder for it is there, and empty

	held  int64              // bytes of all batches
	saves map[string][]*save // by path, the newest last; see thin
}

// openState opens the root and takes hold of it. A root that is not there is
// fs.ErrNotExist.
func openState(o Options) (*state, error) {
	root, err := beneath.Open(o.Root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case errors.Is(err, unix.ENOTDIR):
		return nil, &fault.Error{Op: "opening the folder", Subject: o.Root, Kind: fault.Preflight, Err: endpoint.ErrRootGone}
	case err != nil:
		return nil, &fault.Error{Op: "opening the folder", Subject: o.Root, Kind: fault.Preflight, Err: err}
	}
	root.Before(o.before)
	s := &state{root: root}
	if err := s.prepare(o); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *state) close() error {
	var err error
	if s.lock != nil {
		// Emptied first, so that nobody is named who holds it no more.
		err = errors.Join(s.lock.Truncate(0), filelock.Drop(s.lock))
	}
	return errors.Join(err, s.root.Close())
}

func (s *state) prepare(o Options) error {
	refused := func(err error) error {
		return &fault.Error{
			Op: "opening the folder", Subject: o.Root, Kind: fault.Preflight,
			Err:  fmt.Errorf("%w: %s can't be made in it, where changes are staged before they are seen: %w", endpoint.ErrRefused, endpoint.StateDir, err),
			Hint: "sync a folder that the user of this container, or you on this machine, can write to",
		}
	}
	if err := s.folder(endpoint.StateDir); err != nil {
		return refused(err)
	}
	if err := s.take(o); err != nil {
		return err
	}
	if err := s.identify(o); err != nil {
		return refused(err)
	}
	if err := s.furnish(); err != nil {
		return refused(err)
	}
	for _, left := range []string{stagingPath, probePath, indexPath + ".new"} {
		if err := s.root.RemoveAll(left); err != nil {
			return refused(err)
		}
	}
	if err := s.probe(); err != nil {
		return refused(err)
	}
	return s.loadTrash()
}

// furnish makes what else has to be in the state.
func (s *state) furnish() error {
	// git would show the folder otherwise.
	if f, err := s.root.Create(ignorePath, 0o644); err == nil {
		if err := errors.Join(s.root.Write(f, []byte("*\n"), 0), f.Close()); err != nil {
			return err
		}
	}
	return s.folder(trashPath)
}

// folder makes a folder of the state that nobody else may look into. A link or
// a file in its place is an error.
func (s *state) folder(path string) error {
	err := s.root.Mkdir(path, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := s.root.Stat(path)
	if err == nil && st.Kind != beneath.Dir {
		err = fmt.Errorf("%s is there, and is no folder", path)
	}
	if err == nil && st.Mode&0o777 != 0o700 {
		err = s.root.Chmod(path, 0o700)
	}
	return err
}

// holder says who has a root.
type holder struct {
	Session string          `json:"session"`
	Process filelock.Holder `json:"process"`
}

// maxHolder is how long a lock file may be.
const maxHolder = 4 << 10

// take takes the lock, which ends with this process however that ends.
func (s *state) take(o Options) error {
	f, err := s.root.OpenOrCreate(lockPath, 0o600)
	if err != nil {
		return &fault.Error{Op: "opening the folder", Subject: o.Root, Err: err}
	}
	err = filelock.Hold(f, filelock.Exclusive)
	switch {
	case errors.Is(err, filelock.ErrHeld):
		who := heldBy(f)
		return errors.Join(&fault.Error{
			Op: "opening the folder", Subject: o.Root, Kind: fault.Preflight,
			Err:  fmt.Errorf("%w: it is in use by %s", endpoint.ErrRefused, who),
			Hint: "end the other session first: kfdev sync ls, kfdev sync stop NAME",
		}, f.Close())
	case err != nil: // some network file systems have no locks
		s.notes = append(s.notes, fmt.Sprintf("the folder can't be locked (%v): let no second session use it", err))
	}
	s.lock = f
	text, err := json.Marshal(holder{Session: o.Session, Process: filelock.Holder{PID: os.Getpid(), Command: "kfdev sync", Since: time.Now()}})
	if err == nil {
		if err = f.Truncate(0); err == nil {
			err = s.root.Write(f, text, 0)
		}
	}
	if err != nil {
		return &fault.Error{Op: "opening the folder", Subject: o.Root, Err: err}
	}
	return nil
}

func heldBy(f *os.File) string {
	var h holder
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxHolder))
	if err != nil || json.Unmarshal(text, &h) != nil || h.Session == "" {
		return "another session"
	}
	return fmt.Sprintf("the session %q (process %d, since %s)", h.Session, h.Process.PID, h.Process.Since.Local().Format("15:04:05"))
}

// probe finds out what the file system makes of names.
func (s *state) probe() error {
	const composed, decomposed = "\u00e9", "e\u0301"
	if err := s.folder(probePath); err != nil {
		return err
	}
	for _, name := range []string{"a", composed} {
		f, err := s.root.Create(tree.Join(probePath, name), 0o600)
		if errors.Is(err, unix.EILSEQ) || errors.Is(err, unix.EINVAL) {
			continue // a file system with a character set of its own
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	there := func(name string) bool {
		_, err := s.root.Stat(tree.Join(probePath, name))
		return err == nil
	}
	s.foldsCase, s.foldsUnicode = there("A"), there(composed) && there(decomposed)
	names, err := s.root.Names(probePath, 16)
	if err != nil {
		return err
	}
	for _, name := range names {
		s.decomposes = s.decomposes || name == decomposed
	}
	return s.root.RemoveAll(probePath)
}

// readFile reads a small file of the state.
func (s *state) readFile(path string, limit int64) ([]byte, error) {
	f, st, err := s.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if st.Size > limit {
		return nil, fmt.Errorf("%s has %d bytes", path, st.Size)
	}
	var b bytes.Buffer
	b.Grow(int(st.Size) + 1)
	_, err = b.ReadFrom(io.LimitReader(f, limit))
	return b.Bytes(), err
}
