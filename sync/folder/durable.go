package folder

import (
	"context"
	"errors"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// touched are paths that were changed and are not durable yet.
type touched struct {
	paths map[string]bool
	many  bool // more than it is worth to sync one by one
}

// fewTouched is how many files are synced one by one; more are synced with all
// else in the file system.
const fewTouched = 64

func (t *touched) add(path string) {
	if t.many {
		return
	}
	if t.paths == nil {
		t.paths = map[string]bool{}
	}
	t.paths[path] = true
	t.paths[tree.Parent(path)] = true
	if t.many = len(t.paths) > 2*fewTouched; t.many {
		t.paths = nil
	}
}

// Sync implements endpoint.Endpoint.
func (f *Folder) Sync(ctx context.Context) error {
	_, leave, err := f.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	f.mu.Lock()
	s, t := f.state, f.undone
	f.undone = touched{}
	f.mu.Unlock()
	if s == nil {
		return nil
	}
	if err := f.renew(s); err != nil {
		f.warn("making "+stateDir+" again", err)
	}
	if !t.many && len(t.paths) == 0 {
		f.settle(s)
		return nil
	}
	if t.many {
		err = s.root.SyncAll()
	} else {
		for path := range t.paths {
			if e := s.root.Sync(path); e != nil && !gone(e) && !errors.Is(e, beneath.ErrNotRegular) {
				err = errors.Join(err, e)
			}
		}
	}
	if err == nil {
		f.settle(s)
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.undone.many, f.undone.paths = true, nil
	return &fault.Error{Op: "making changes durable", Subject: f.o.Root, Err: err}
}
