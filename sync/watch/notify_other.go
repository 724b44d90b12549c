//go:build !linux

package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// unheard says why changes in root would not all be heard of, or "".
func unheard(string) string { return "" }

// notifier is the source that uses fsnotify. It hears of no closes, so that a
// file that is written counts as open until it was left alone.
type notifier struct {
	target
	system *fsnotify.Watcher

	mu sync.Mutex
	up bool // there is a root, and it is watched
}

func newNotifier(t target) (source, error) {
	system, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		return nil, asLimit(err)
	}
	return &notifier{target: t, system: system}, nil
}

// asLimit is err as a limit, where polling would not meet it: kqueue needs a file
// descriptor for every file.
func asLimit(err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return &limit{"there are more files than can be open at once, so the folder is looked at from time to time instead of being watched; allow more with `ulimit -n 65536`, and start again"}
	}
	return err
}

func (n *notifier) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.watchRoot()
}

func (n *notifier) watchRoot() error {
	if info, err := os.Lstat(n.root); err != nil || !info.IsDir() {
		return nil
	}
	n.up = true
	return n.watch("", nil)
}

// watch watches a folder and all below it, each before it is listed.
func (n *notifier) watch(dir string, found func(path string, dir bool)) error {
	full := filepath.Join(n.root, filepath.FromSlash(dir))
	switch err := n.system.Add(full); {
	case errors.Is(err, fsnotify.ErrClosed):
		return errClosing
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return asLimit(err)
	case err != nil:
		return nil // gone, which its parent tells, or not to be read
	}
	entries, err := os.ReadDir(full)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		path := join(dir, e.Name())
		if n.skip(path, e.IsDir()) {
			continue
		}
		if found != nil {
			found(path, e.IsDir())
		}
		if e.IsDir() {
			if err := n.watch(path, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// run hears events until close. What comes together is told together.
func (n *notifier) run() error {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		var events []event
		var err error
		select {
		case e, ok := <-n.system.Events:
			if !ok {
				return errClosing
			}
			events, err = n.events(e)
		case e, ok := <-n.system.Errors:
			if !ok {
				return errClosing
			}
			events, err = []event{{what: lost}}, n.rewatch(e)
		case <-look.C:
			events, err = n.check()
		}
		n.tell(time.Now(), events)
		if err != nil {
			return err
		}
	}
}

// rewatch goes through the root again after an error, which mostly is an
// overflow.
func (n *notifier) rewatch(cause error) error {
	if limited := asLimit(cause); limited != cause { //nolint:errorlint // the same error or another one
		return limited
	}
	return n.reskip()
}

// check looks whether the root came or went.
func (n *notifier) check() ([]event, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	info, err := os.Lstat(n.root)
	there := err == nil && info.IsDir()
	switch {
	case there && !n.up:
		return []event{{what: lost}, {what: deep}}, n.watchRoot()
	case !there && n.up:
		n.up = false
		return []event{{what: gone}}, nil
	}
	return nil, nil
}

func (n *notifier) events(e fsnotify.Event) (events []event, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rel, err := filepath.Rel(n.root, e.Name)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return nil, nil
	}
	path := filepath.ToSlash(rel)
	if path == "." {
		return nil, nil // check sees to the root
	}
	info, err := os.Lstat(e.Name)
	dir := err == nil && info.IsDir()
	if n.skip(path, dir) {
		return nil, nil
	}
	add := func(path string, w what) { events = append(events, event{path: path, what: w}) }
	switch {
	case errors.Is(err, fs.ErrNotExist):
		add(path, gone)
	case e.Has(fsnotify.Create) && dir:
		add(path, deep) // made or renamed, it is not said which
		return events, n.watch(path, func(path string, dir bool) {
			if !dir {
				add(path, listed)
			}
		})
	case e.Has(fsnotify.Create) && info.Mode().IsRegular():
		add(path, listed) // or renamed; it is told soon unless it is written to
	case e.Has(fsnotify.Create):
		add(path, appeared)
	case e.Has(fsnotify.Write) && !dir:
		add(path, listed)
	default:
		add(path, touched)
	}
	return events, nil
}

func (n *notifier) reskip() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up {
		return nil
	}
	return n.watch("", nil)
}

func (n *notifier) behind() bool { return len(n.system.Events) > 0 }

func (n *notifier) close() error { return n.system.Close() }
