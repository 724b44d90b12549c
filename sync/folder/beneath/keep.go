package beneath

import (
	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/tree"
)

// Keeping is the same root, to which Keep can be said. It needs no Close of its
// own, but ForgetAll.
func (r *Root) Keeping() *Root {
	k := *r
	k.kept = map[string]int{}
	return &k
}

// Keep holds a folder open, so that what is done to the names in it does not
// look for the folder each time. What is done is done in that folder even where
// it is moved meanwhile, so that one that others can move is kept for a short
// time. A folder that can't be opened is not kept, which is no error: whatever
// is done in it says so. Neither Keep nor Forget may run beside another method.
func (r *Root) Keep(path string) {
	if _, ok := r.kept[path]; ok || r.kept == nil || path == "" || tree.CheckPath(path) != nil {
		return
	}
	if fd, err := r.resolve(path, unix.O_DIRECTORY|pathOnly); err == nil {
		r.kept[path] = fd
	}
}

// Forget lets go of a folder that is kept.
func (r *Root) Forget(path string) {
	if fd, ok := r.kept[path]; ok {
		_ = unix.Close(fd) // nothing was written through it
		delete(r.kept, path)
	}
}

// ForgetAll lets go of all that is kept.
func (r *Root) ForgetAll() {
	for path := range r.kept {
		r.Forget(path)
	}
}
