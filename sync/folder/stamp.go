package folder

import (
	"time"

	"github.com/kfdev/kfdev/sync/folder/beneath"
)

// stamp is what tells that a file is still the one whose content is known. Time
// of change of the inode can't be set by anybody, so that a program that sets a
// file's time back is noticed.
type stamp struct {
	size, mtime, ctime int64
	inode              uint64
	// sure is false where the file was changed so short a time before it was
	// looked at that another change could have left all of the above as it is;
	// git calls such an entry racily clean.
	sure bool
}

// How long before a look a change must have been: more than a tick of the
// kernel's clock (10 ms at most), by which it stamps files; and more than two
// seconds where the file system seems to keep no more than that (FAT).
const (
	tick   = 20 * time.Millisecond
	coarse = 2100 * time.Millisecond
)

// stampOf is the stamp of a file that was read after the time of a look.
func stampOf(s beneath.Stat, look time.Time) stamp {
	margin := tick
	if s.CTime%int64(time.Millisecond) == 0 && s.MTime%int64(time.Millisecond) == 0 {
		margin = coarse
	}
	return stamp{
		size: s.Size, mtime: s.MTime, ctime: s.CTime, inode: s.Inode,
		sure: look.UnixNano()-s.CTime > int64(margin),
	}
}

// ownStamp is the stamp of a file that was just given its time, in nanoseconds:
// whoever writes to it gives it another, which is one of the kernel's ticks.
// Where the file system does not keep the time as it was given, it is not sure.
func ownStamp(s beneath.Stat, given time.Time) stamp {
	return stamp{
		size: s.Size, mtime: s.MTime, ctime: s.CTime, inode: s.Inode,
		sure: s.MTime == given.UnixNano() && s.MTime%int64(time.Microsecond) != 0,
	}
}

// arrival is the time that a file gets: now or, where what it replaces is from
// later, a little after that. Programs that have it open (JupyterLab) take an
// older time for an older file.
func arrival(replaced beneath.Stat) time.Time {
	t := time.Now()
	if replaced.Kind == beneath.File && replaced.MTime >= t.UnixNano() {
		t = time.Unix(0, replaced.MTime).Add(time.Millisecond)
	}
	if t.Nanosecond()%1000 == 0 {
		t = t.Add(1) // see ownStamp
	}
	return t
}

// same is true for the same file in the same state.
func (s stamp) same(o stamp) bool {
	return s.size == o.size && s.mtime == o.mtime && s.ctime == o.ctime && s.inode == o.inode
}

// is compares with what the file system says now.
func (s stamp) is(o beneath.Stat) bool {
	return o.Kind == beneath.File && s.size == o.Size && s.mtime == o.MTime && s.ctime == o.CTime && s.inode == o.Inode
}

// moved is is for a file that was renamed since, which changes its ctime.
func (s stamp) moved(o beneath.Stat) bool {
	return s.size == o.Size && s.mtime == o.MTime && s.inode == o.Inode
}

// executable: its owner may execute it.
func executable(s beneath.Stat) bool { return s.Mode&0o100 != 0 }
