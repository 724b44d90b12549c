package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// poller is the source that looks at everything, again and again.
type poller struct {
	target
	every time.Duration
	stop  chan struct{}
	once  sync.Once

	mu    sync.Mutex
	since time.Time                   // when looks began to be in vain because of the hold file
	seen  map[string]map[string]stamp // by folder, by name; nil where there is no root
}

// stamp is what is compared of a path.
type stamp struct {
	mode  fs.FileMode
	size  int64
	mtime int64
	id    identity
}

func stampOf(info fs.FileInfo) stamp {
	if info.IsDir() {
		return stamp{mode: info.Mode()} // what is in it has stamps of its own
	}
	return stamp{mode: info.Mode(), size: info.Size(), mtime: info.ModTime().UnixNano(), id: identityOf(info)}
}

func newPoller(t target, every time.Duration) *poller {
	return &poller{target: t, every: every, stop: make(chan struct{})}
}

func (p *poller) start() error {
	p.look()
	return nil
}

// run looks again and again, and rests for ten times as long as a look takes, so
// that a large folder on a slow file system does not keep the machine busy.
func (p *poller) run() error {
	rest := p.every
	for {
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-p.stop:
			timer.Stop()
			return errClosing
		}
		begin := time.Now()
		if events := p.look(); len(events) > 0 {
			p.tell(time.Now(), events)
		}
		rest = max(p.every, 10*time.Since(begin))
	}
}

// reskip has nothing to do but to know what is no longer skipped.
func (p *poller) reskip() error {
	if events := p.look(); len(events) > 0 {
		p.tell(time.Now(), events)
	}
	return nil
}

// behind need not know: a look during which the hold file was there tells nothing.
func (p *poller) behind() bool { return false }

func (p *poller) close() error {
	p.once.Do(func() { close(p.stop) })
	return nil
}

// look looks at all of the root and returns what is different.
func (p *poller) look() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Lstat(p.root)
	if err != nil || !info.IsDir() {
		if p.seen == nil {
			return nil
		}
		p.seen = nil
		return []event{{what: gone}}
	}
	before := p.holdState()
	l := look{poller: p, seen: map[string]map[string]stamp{}}
	l.folder("")
	fresh := p.seen == nil
	if l.stopped || !fresh && p.inVain(before) {
		return nil
	}
	p.seen = l.seen
	if fresh {
		return []event{{what: deep}}
	}
	return l.events
}

// holdState is when the hold file last came or went, and whether it is there.
type holdState struct {
	changed time.Time // the folder that it is in
	there   bool
	made    time.Time // the file
}

func (p *poller) holdState() (state holdState) {
	if p.hold == "" {
		return state
	}
	if info, err := os.Lstat(filepath.Dir(p.hold)); err == nil {
		state.changed = info.ModTime()
	}
	if info, err := os.Lstat(p.hold); err == nil {
		state.there, state.made = true, info.ModTime()
	}
	return state
}

// inVain is true for a look in which the hold file was there: it saw a part of
// what belongs together. A hold file that stays for long does not count.
func (p *poller) inVain(before holdState) bool {
	after := p.holdState()
	if after == before && (!after.there || time.Since(after.made) >= staleAge) {
		p.since = time.Time{}
		return false
	}
	if p.since.IsZero() {
		p.since = time.Now()
	}
	return time.Since(p.since) < staleAge
}

// look is one look at all of the root.
type look struct {
	*poller
	seen    map[string]map[string]stamp
	events  []event
	stopped bool
}

func (l *look) folder(dir string) {
	select {
	case <-l.stop:
		l.stopped = true
		return
	default:
	}
	old, now := l.poller.seen[dir], map[string]stamp{}
	l.seen[dir] = now
	entries, err := os.ReadDir(filepath.Join(l.root, filepath.FromSlash(dir)))
	if err != nil && len(entries) == 0 && !os.IsNotExist(err) {
		// It is there but can't be read just now: nothing is known to be gone.
		l.keep(dir)
		return
	}
	for _, e := range entries {
		path := join(dir, e.Name())
		if l.skip(path, e.IsDir()) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone since; it will be missed below if it was known
		}
		s := stampOf(info)
		now[e.Name()] = s
		was, known := old[e.Name()]
		if !known || was != s {
			l.events = append(l.events, event{path: path, what: complete})
		}
		if info.IsDir() {
			l.folder(path)
		}
	}
	for name, s := range old {
		if _, still := now[name]; !still && !l.skip(join(dir, name), s.mode.IsDir()) {
			l.events = append(l.events, event{path: join(dir, name), what: gone})
		}
	}
}

// keep takes over what was known of a folder and all below it.
func (l *look) keep(dir string) {
	for name, s := range l.poller.seen[dir] {
		l.seen[dir][name] = s
		if s.mode.IsDir() {
			l.seen[join(dir, name)] = map[string]stamp{}
			l.keep(join(dir, name))
		}
	}
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
