package folder

import (
	"path/filepath"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/ignore"
	"github.com/kfdev/kfdev/sync/watch"
)

// startWatch begins to watch, the first time.
func (f *Folder) startWatch() error {
	f.mu.Lock()
	started, broken, rules := f.watch != nil, f.broken, f.rules
	f.mu.Unlock()
	if started && broken == nil {
		return nil
	}
	w, err := f.o.watch(f.o.Root, watch.Options{Skip: skip(rules), Hold: hold(f.o.Root), Poll: f.o.Poll})
	if err != nil {
		return &fault.Error{Op: "watching the folder", Subject: f.o.Root, Err: err}
	}
	f.mu.Lock()
	old := f.watch
	f.watch, f.broken = w, nil
	f.mu.Unlock()
	if old != nil {
		if err := old.Close(); err != nil {
			return &fault.Error{Op: "watching the folder", Subject: f.o.Root, Err: err}
		}
	}
	f.pumping.Go(func() { f.pump(w) })
	return nil
}

// pump hands on what the watcher says, so that Next can wait for more than that.
func (f *Folder) pump(w watcher) {
	for {
		b, err := w.Next(f.life)
		if err != nil {
			f.mu.Lock()
			if f.watch == w {
				f.broken = err
			}
			f.mu.Unlock()
			f.wake()
			return
		}
		select {
		case f.batches <- b:
		case <-f.life.Done():
			return
		}
	}
}

// wake has Next look at what is to be done.
func (f *Folder) wake() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// skip is what is not watched.
func skip(rules Matcher) func(path string, dir bool) bool {
	return func(path string, dir bool) bool {
		return reserved(path[strings.LastIndexByte(path, '/')+1:]) || rules.Ignored(path, dir)
	}
}

// hold is the lock that git takes before it changes the files of the repository
// that the root is in, or of the one that `git init` would make of it.
func hold(root string) string {
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	if lock := ignore.Hold(root); lock != "" {
		return lock
	}
	return filepath.Join(root, ".git", "index.lock")
}
