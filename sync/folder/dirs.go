package folder

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// mkdir makes the folder of a change.
func (a *apply) mkdir(i int, path string) error {
	mode := a.staged[i].mode
	if mode == 0 {
		mode = 0o755
	}
	return a.root.Mkdir(path, mode)
}

// rmdir removes a folder, and says what is in it where it can't.
func (a *apply) rmdir(path string) error {
	err := a.root.Rmdir(path)
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrExist) {
		return existing(err)
	}
	names, listed := a.root.Names(path, a.f.o.Caps.Paths)
	if listed != nil {
		return errors.Join(err, listed)
	}
	for _, name := range names {
		child := tree.Join(path, name)
		st, err := a.root.Stat(child)
		if err == nil && !reserved(name) && st.Kind != beneath.Other && !a.f.rules.Ignored(child, st.Kind == beneath.Dir) {
			if target, err := a.root.Readlink(child); err != nil || inside(child, target) {
				return fmt.Errorf("%w: it holds %q", endpoint.ErrChanged, name)
			}
		}
	}
	return fmt.Errorf("%w: the folder stays, because it holds %q, which is ignored or not synced", endpoint.ErrRefused, names[0])
}
