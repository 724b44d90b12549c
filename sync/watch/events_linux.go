package watch

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// reading is the events of one read.
type reading struct {
	*notifier
	events   []event
	overflow bool
	rootLost bool
	err      error
}

func (r *reading) add(path string, w what) { r.events = append(r.events, event{path: path, what: w}) }

func (r *reading) event(wd int32, mask, cookie uint32, name string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		r.overflow = true
		return
	}
	if wd == r.holdWD {
		switch {
		case mask&unix.IN_IGNORED != 0:
			r.holdWD = -1
			r.add("", unlocked)
		case name == filepath.Base(r.hold) && mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
			r.add("", locked)
		case name == filepath.Base(r.hold) && mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
			r.add("", unlocked)
		}
	}
	f := r.byWD[wd]
	switch {
	case f == nil:
	case mask&unix.IN_IGNORED != 0:
		r.rootLost = r.rootLost || f == r.top
		r.drop(f)
	case name != "":
		r.named(f, mask, cookie, name)
	case f == r.top && mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_UNMOUNT) != 0:
		r.rootLost = true
	case f == r.top && mask&unix.IN_ATTRIB != 0:
		r.add("", touched)
	}
}

// named handles what happened to a name in a folder.
func (r *reading) named(f *folder, mask, cookie uint32, name string) {
	path, dir := join(f.path(), name), mask&unix.IN_ISDIR != 0
	if r.skip(path, dir) {
		return
	}
	switch {
	case mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
		if sub := f.subs[name]; dir && sub != nil {
			r.drop(sub)
		}
		r.add(path, gone)
		if mask&unix.IN_MOVED_FROM != 0 {
			r.cookie, r.from = cookie, path
		}
	case dir:
		r.namedFolder(f, mask, name, path)
	case mask&unix.IN_CREATE != 0:
		r.add(path, r.beginning(path))
	case mask&unix.IN_MOVED_TO != 0 && cookie == r.cookie:
		r.events = append(r.events, event{path: path, what: renamed, from: r.from})
	case mask&(unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO) != 0:
		r.add(path, complete)
	case mask&unix.IN_MODIFY != 0:
		r.add(path, writing)
	case mask&unix.IN_ATTRIB != 0:
		r.add(path, touched)
	}
}

// namedFolder handles a folder that came or was touched.
func (r *reading) namedFolder(f *folder, mask uint32, name, path string) {
	switch {
	case mask&unix.IN_CREATE != 0:
		r.add(path, appeared)
		r.folder(f, name, path, true)
	case mask&unix.IN_MOVED_TO != 0:
		r.add(path, deep)
		r.folder(f, name, path, false)
	case mask&unix.IN_ATTRIB != 0:
		if f.subs[name] != nil {
			r.add(path, touched)
			return
		}
		r.add(path, deep) // it could not be read before, perhaps
		r.folder(f, name, path, false)
	}
}

// beginning tells a file that was made by opening it, of which a close will be
// heard, from what is complete from the start.
func (r *reading) beginning(path string) what {
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(r.root, path), &st)
	if err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink > 1) {
		return appeared
	}
	return created
}

// folder watches a folder that came. Of one that was made, what is found in it is
// told: it may have come before the folder was watched.
func (r *reading) folder(f *folder, name, path string, found bool) {
	if r.err != nil {
		return
	}
	var tell func(path string, dir bool)
	if found {
		tell = func(path string, dir bool) {
			if dir {
				r.add(path, appeared)
			} else {
				r.add(path, listed)
			}
		}
	}
	_, r.err = r.watchSub(f, name, path, tell)
}

// finish does what is to be done once for all events of a read.
func (r *reading) finish() {
	if r.rootLost {
		r.dropRoot()
		there, err := r.watchRoot()
		r.err = errors.Join(r.err, err)
		if there {
			r.add("", lost)
			r.add("", deep)
		} else {
			r.add("", gone)
		}
		return
	}
	if r.overflow {
		// Folders may have come unheard. First they are watched, then the loss is
		// told, so that nothing is between.
		r.err = errors.Join(r.err, r.rewatch())
		r.add("", lost)
	}
}
