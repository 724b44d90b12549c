package folder

import (
	"errors"

	"github.com/kfdev/kfdev/sync/folder/beneath"
)

// settle takes the mark of what is new from the identity: the session has
// written down that it knows it.
func (f *Folder) settle(s *state) {
	f.mu.Lock()
	i := s.identity
	if !i.Fresh {
		f.mu.Unlock()
		return
	}
	i.Fresh, i.CopyOf = false, ""
	err := s.writeIdentity(i)
	f.mu.Unlock()
	if err == nil {
		err = errors.Join(s.root.Sync(identityPath), s.root.Sync(stateDir))
	}
	if err != nil { // it is known as new for longer
		f.warn("writing to "+identityPath, err)
	}
}

// renew makes StateDir again where it was deleted while the folder is in use, as
// `git clean -fdx` does it: with the identity that the folder has, and the lock.
func (f *Folder) renew(s *state) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	locked, err := s.holds()
	if err != nil {
		return err
	}
	_, err = s.root.Stat(identityPath)
	if locked && err == nil || err != nil && !gone(err) {
		return err
	}
	if err := s.folder(stateDir); err != nil {
		return err
	}
	if !locked {
		if err := s.takeAgain(f.o); err != nil {
			return err
		}
	}
	if err := s.writeIdentity(s.identity); err != nil {
		return err
	}
	if err := s.furnish(); err != nil {
		return err
	}
	s.trash = nil
	return s.loadTrash()
}

// holds reports whether the lock file is the one that is held.
func (s *state) holds() (bool, error) {
	st, err := s.root.Stat(lockPath)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	held, err := beneath.StatFile(s.lock)
	return held.Inode == st.Inode, err
}

// takeAgain takes the lock on a new file. The old one is nobody's any more.
func (s *state) takeAgain(o Options) error {
	old, notes := s.lock, s.notes
	err := s.take(o)
	s.notes = notes // which say already where there are no locks
	if err == nil {
		return old.Close()
	}
	if s.lock != old {
		err = errors.Join(err, s.lock.Close())
	}
	s.lock = old
	return err
}

// ready makes the folder that is staged in.
func (a *apply) ready() error {
	if a.base != "" {
		return nil
	}
	if err := a.f.renew(a.state); err != nil {
		return err
	}
	if a.state.staging {
		_, err := a.root.Stat(stagingPath)
		a.state.staging = err == nil
	}
	if !a.state.staging {
		// What a cut-off call left there, or a session that ended, was never seen.
		if err := a.root.RemoveAll(stagingPath); err != nil {
			return err
		}
		if err := a.root.Mkdir(stagingPath, 0o700); err != nil {
			return err
		}
	}
	a.state.staging = false
	a.base = stagingPath
	a.root.Keep(a.base)
	return nil
}
