package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/ignore"
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

// rmdir removes a folder. Caches that are left in it go to the trash; where it
// holds something else, it says what.
func (a *apply) rmdir(path string) error {
	err := a.root.Rmdir(path)
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrExist) {
		return existing(err)
	}
	names, listed := a.root.Names(path, a.f.o.Caps.Paths)
	if listed != nil {
		return errors.Join(err, listed)
	}
	var caches []string
	stays := ""
	for _, name := range names {
		child := tree.Join(path, name)
		st, err := a.root.Stat(child)
		dir := st.Kind == beneath.Dir
		ignored := reserved(name) || a.f.rules.Ignored(child, dir)
		switch {
		case gone(err):
		case err == nil && !ignored && st.Kind != beneath.Other && !a.leadsOut(child):
			return fmt.Errorf("%w: it holds %q", endpoint.ErrChanged, name)
		case err == nil && ignored && a.base != "" && ignore.IsCache(child, dir):
			caches = append(caches, child)
		default:
			stays = name
		}
	}
	if stays != "" {
		return fmt.Errorf("%w, because it holds %q, which is ignored or not synced", endpoint.ErrStays, stays)
	}
	for _, cache := range caches {
		if err := a.discard(cache); err != nil {
			return fmt.Errorf("%w, because %q can't be taken out of it: %w", endpoint.ErrStays, tree.Base(cache), err)
		}
	}
	return existing(a.root.Rmdir(path)) // somebody may have been quicker
}

// leadsOut is true for a symbolic link that might lead out of the root.
func (a *apply) leadsOut(path string) bool {
	target, err := a.root.Readlink(path)
	return err == nil && !inside(path, target)
}

// discard moves a cache to the trash. Undo does not bring it back.
func (a *apply) discard(path string) error {
	a.bytes += a.size(path)
	a.caches++
	err := a.root.Rename(path, a.in(a.apart+"cache-"+strconv.Itoa(a.caches)), beneath.Replace)
	if gone(err) {
		return nil
	}
	return err
}

// size is how many bytes are at a path and below.
func (a *apply) size(path string) int64 {
	st, err := a.root.Stat(path)
	if err != nil || st.Kind != beneath.Dir {
		return st.Size
	}
	names, _ := a.root.Names(path, a.f.o.Caps.Paths) // best effort: it is what the trash is held to
	sum := int64(0)
	for _, name := range names {
		sum += a.size(tree.Join(path, name))
	}
	return sum
}
