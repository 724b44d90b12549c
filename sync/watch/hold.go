package watch

import (
	"fmt"
	"os"
	"time"
)

// A lock that is older than staleAge while nothing happened for staleQuiet was
// left behind by a program that died, or belongs to one that waits for a person
// (git commit with an editor open), and holds no more.
const (
	staleAge   = time.Minute
	staleQuiet = 5 * time.Second
)

// hold is the file that holds back what is told.
type hold struct {
	path  string
	note  func(string)
	stale os.FileInfo // the one that holds no more
}

// holds is true while the file is there; last is when something last happened.
func (h *hold) holds(now, last time.Time) bool {
	if h.path == "" {
		return false
	}
	info, err := os.Lstat(h.path)
	if err != nil {
		h.stale = nil
		return false
	}
	if h.stale != nil && os.SameFile(info, h.stale) && info.ModTime().Equal(h.stale.ModTime()) {
		return false
	}
	if now.Sub(info.ModTime()) < staleAge || now.Sub(last) < staleQuiet {
		return true
	}
	h.stale = info
	h.note(fmt.Sprintf("%s is more than a minute old and is no longer waited for; if no git command is running, delete it", h.path))
	return false
}
