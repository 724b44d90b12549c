package folder

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kfdev/kfdev/sync/tree"
)

// room is what the files of one Apply may take of the file system.
type room struct {
	known   bool
	bounded bool  // false: nothing is kept free, or the file system does not say
	left    int64 // for files that are not staged yet, bytes
	unseen  int64 // that were written since the file system was asked
}

const (
	largestShare = 20       // at most one in so many parts of a file system is kept free
	askEvery     = 64 << 20 // bytes that are written without asking again: others write, too
	leastOfFile  = 4 << 10  // what a file takes at least
)

// fits takes the room of a file, where there is as much: one that is too large
// does not keep the rest away.
func (a *apply) fits(e tree.Entry) error {
	if e.Kind != tree.File || a.f.o.KeepFree == 0 {
		return nil
	}
	if !a.room.known {
		a.room.left, a.room.bounded = a.ask()
		a.room.known = true
	}
	need := max(e.Size, leastOfFile)
	switch {
	case !a.room.bounded:
		return nil
	case need > a.room.left:
		return a.noRoom()
	}
	a.room.left -= need
	return nil
}

// spend counts what is written, and looks now and then whether there is still
// room.
func (a *apply) spend(n int) error {
	if !a.room.bounded {
		return nil
	}
	if a.room.unseen += int64(n); a.room.unseen < askEvery {
		return nil
	}
	a.room.unseen = 0
	if left, bounded := a.ask(); bounded && left <= 0 {
		return a.noRoom()
	}
	return nil
}

// ask returns how much may be written.
func (a *apply) ask() (left int64, bounded bool) {
	free, of, err := a.f.o.space(a.root)
	if err != nil || of <= 0 {
		return 0, false
	}
	return free - a.floor(of), true
}

// floor is what stays free of a file system of that size.
func (a *apply) floor(of int64) int64 { return min(a.f.o.KeepFree, of/largestShare) }

func (a *apply) noRoom() error {
	kept := a.f.o.KeepFree
	if _, of, err := a.f.o.space(a.root); err == nil {
		kept = a.floor(of)
	}
	return fmt.Errorf("%w: %d bytes of the folder's file system are kept free: make room, or add it to .kfdevignore", unix.ENOSPC, kept)
}
