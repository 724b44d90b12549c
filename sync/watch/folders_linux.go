package watch

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// folder is a folder that is watched. There may be very many; it holds no more
// than its name and where it hangs, so that a rename moves all that is below it.
type folder struct {
	parent *folder
	name   string
	wd     int32
	subs   map[string]*folder
}

// path is the folder's path below the root.
func (f *folder) path() string {
	if f.parent == nil {
		return ""
	}
	return join(f.parent.path(), f.name)
}

// watch watches a folder that hangs in the tree and all folders below it. First
// the folder is watched and then it is listed, so nothing that comes into it is
// lost; found hears of everything that is listed. A folder that is gone by now,
// or may not be read, is not watched, which is no error.
func (n *notifier) watch(f *folder, path string, found func(path string, dir bool)) (ok bool, err error) {
	if n.closing.Load() || n.fd < 0 {
		return false, errClosing
	}
	mask := uint32(folderMask)
	if f.parent == nil {
		mask = rootMask
	}
	full := filepath.Join(n.root, path)
	wd, err := unix.InotifyAddWatch(n.fd, full, mask)
	switch {
	case errors.Is(err, unix.ENOSPC):
		return false, &limit{limitNote("max_user_watches", "watched folders", 1<<19)}
	case errors.Is(err, unix.ENOMEM):
		return false, err
	case err != nil:
		return false, nil
	}
	n.bind(f, int32(wd))
	return true, n.list(f, path, full, found)
}

// bind gives a folder its watch. A watch belongs to an inode: where another path
// had it, the folder has been renamed, and the news of that is on its way.
func (n *notifier) bind(f *folder, wd int32) {
	if f.wd == wd {
		return
	}
	if other := n.byWD[wd]; other != nil {
		other.wd = -1
		n.drop(other)
	}
	if f.wd >= 0 {
		n.forget(f.wd)
	}
	f.wd = wd
	n.byWD[wd] = f
}

// list watches the folders in a folder.
func (n *notifier) list(f *folder, path, full string, found func(path string, dir bool)) error {
	h, err := os.OpenFile(full, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil // gone, which is told by its parent, or not to be read
	}
	defer func() { _ = h.Close() }() // it was only read
	present := map[string]bool{}
	for {
		entries, err := h.ReadDir(1024)
		for _, e := range entries {
			if !e.IsDir() && found == nil {
				continue
			}
			sub := join(path, e.Name())
			if n.skip(sub, e.IsDir()) {
				continue
			}
			if found != nil {
				found(sub, e.IsDir())
			}
			if e.IsDir() {
				present[e.Name()] = true
				if _, err := n.watchSub(f, e.Name(), sub, found); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil
		}
	}
	for name, sub := range f.subs {
		if !present[name] {
			n.drop(sub)
		}
	}
	return nil
}

// watchSub watches a folder in a folder, and hangs it into the tree.
func (n *notifier) watchSub(f *folder, name, path string, found func(string, bool)) (bool, error) {
	sub := f.subs[name]
	if sub == nil {
		sub = &folder{parent: f, name: name, wd: -1}
		if f.subs == nil {
			f.subs = map[string]*folder{}
		}
		f.subs[name] = sub
	}
	ok, err := n.watch(sub, path, found)
	if !ok {
		n.drop(sub)
	}
	return ok, err
}

// drop takes a folder and all below it out of the tree, and their watches away.
func (n *notifier) drop(f *folder) {
	for _, sub := range f.subs {
		n.drop(sub)
	}
	if f.parent != nil && f.parent.subs[f.name] == f {
		delete(f.parent.subs, f.name)
	}
	if f.wd >= 0 {
		n.forget(f.wd)
		f.wd = -1
	}
}

// forget takes a watch away. Of a folder that is deleted the kernel has done it.
func (n *notifier) forget(wd int32) {
	delete(n.byWD, wd)
	if wd != n.holdWD && n.fd >= 0 {
		_, _ = unix.InotifyRmWatch(n.fd, uint32(wd))
	}
}

// dropRoot forgets all folders.
func (n *notifier) dropRoot() {
	if n.top != nil {
		n.drop(n.top)
		n.top = nil
	}
}

// rewatch goes through all of the root again.
func (n *notifier) rewatch() error {
	if n.top == nil {
		return nil
	}
	_, err := n.watch(n.top, "", nil)
	return err
}

// reskip watches what is no longer skipped, and no more what is.
func (n *notifier) reskip() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.rewatch()
	if l := (*limit)(nil); errors.As(err, &l) {
		n.failed = err
		// Ends the read that run is in.
		err = errors.Join(err, n.file.SetReadDeadline(time.Now()))
	}
	return err
}
