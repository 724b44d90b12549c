package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// Names of the sides.
const (
	local  = "local"
	remote = "remote"
)

// maxMemory bounds the content that came along with updates of one side and
// waits to be sent to the other, bytes.
const maxMemory = 16 << 20

// side is what is known of one of the two folders.
type side struct {
	name string
	ep   Folder
	tree *tree.Tree // nil until it was looked at
	end  context.CancelFunc

	// Of two reports on a path the one with the higher number is true. Next's and
	// Apply's may overtake each other, but Next's are in order among themselves.
	seen  map[string]uint64
	heard uint64 // the highest number of Next

	looking   bool    // all of it is being looked at
	lookAgain bool    // and must be once more, or once what is on its way is through
	tries     backoff // of looking after a failure
	failed    time.Time
	told      string // the failure that was told last
	undoing   int    // undos that are on their way

	sending *sending           // what is on its way to this side; nil: nothing
	unsure  []tree.Change      // that were sent to this side, and nobody knows what became of them
	forced  []forced           // what is to be sent whatever reconcile says
	memory  map[string]content // of files whose content came along, by path
	stored  int                // bytes in memory
	first   time.Time          // when the first change was heard of that is to be sent away from here
	latency samples            // of what was sent to this side
	lost    []loss             // what batches took away here lately
}

func newSide(name string) *side {
	return &side{name: name, tries: backoff{first: firstConnect, last: lastConnect}}
}

// content is a file's content that is at hand.
type content struct {
	entry tree.Entry
	data  []byte
}

// forced is a change that a person or a merge decided on.
type forced struct {
	change tree.Change
	data   []byte // the content; nil: it is at alias on the other side
	alias  string
	done   func(ok bool)
}

// reset forgets what was known, before another look.
func (s *side) reset() {
	if s.end != nil {
		s.end()
	}
	s.end, s.tree, s.seen, s.heard = nil, nil, map[string]uint64{}, 0
	s.memory, s.stored = map[string]content{}, 0
}

// ready is true when the side has been looked at.
func (s *side) ready() bool { return s.ep != nil && s.tree != nil }

// news reports whether what is said under a number is not older than what is
// known.
func (s *side) news(path string, seq uint64) bool { return seq == 0 || seq >= s.seen[path] }

// saw notes under which number something was said of a path.
func (s *side) saw(path string, seq uint64) {
	if seq > 0 {
		s.seen[path] = seq
	}
}

// settle forgets numbers that nothing can be older than.
func (s *side) settle() {
	if s.sending != nil || s.undoing > 0 || len(s.seen) < 1024 {
		return
	}
	for path, seq := range s.seen {
		if seq <= s.heard {
			delete(s.seen, path)
		}
	}
}

// remember keeps a content that came along.
func (s *side) remember(u endpoint.Update) {
	s.forget(u.Path)
	if u.Content == nil || u.Entry.Kind != tree.File || s.stored+len(u.Content) > maxMemory {
		return
	}
	s.memory[u.Path] = content{u.Entry, u.Content}
	s.stored += len(u.Content)
}

func (s *side) forget(path string) {
	if c, ok := s.memory[path]; ok {
		s.stored -= len(c.data)
		delete(s.memory, path)
	}
}

// update enters what Next or Undo said into the tree. It is false where the two
// do not fit, and all must be looked at again.
func (s *side) update(u endpoint.Update) bool {
	if u.Seq > s.heard {
		s.heard = u.Seq
	}
	if !s.news(u.Path, u.Seq) {
		return true
	}
	s.saw(u.Path, u.Seq)
	s.remember(u)
	return s.tree.Put(u.Path, u.Entry) == nil
}

// vanished reports whether the folder was made just now and has nothing in it,
// as where one was deleted and made again, or a volume is not mounted.
func (s *side) vanished() bool { return s.ep.Info().Fresh && s.tree.Len() == 0 }

// scan looks at all of a side and has the loop know. One look at a time, and
// none beside an Apply: which of the two is the older could not be told.
func (l *loop) scan(s *side) {
	s.reset()
	if s.looking || s.sending != nil {
		s.lookAgain = true
		return
	}
	s.looking, s.lookAgain = true, false
	l.await(s.ep, func(ctx context.Context, ep Folder) func() {
		t, err := ep.Scan(ctx)
		return func() { l.scanned(s, t, err) }
	})
}

// scanLater is scan after a failure.
func (l *loop) scanLater(s *side) {
	s.reset()
	if time.Since(s.failed) >= steadyAfter {
		s.tries.reset()
	}
	s.failed = time.Now()
	l.later(s.tries.next(), func() {
		if s.ep != nil && s.tree == nil && !s.looking {
			l.scan(s)
		}
	})
}

// await does something with a folder beside the loop, and what it returns in
// the loop, unless the connection is another one by then.
func (l *loop) await(ep Folder, do func(context.Context, Folder) func()) {
	ctx := l.ctx
	if l.link != nil && ep == Folder(l.link) {
		ctx = l.linkCtx
	}
	l.work.Go(func() {
		then := do(ctx, ep)
		l.post(func() {
			if ep == l.local.ep || ep == l.remote.ep {
				then()
			}
		})
	})
}

// watch has the loop know what a side says.
func (l *loop) watch(s *side) {
	ep := s.ep
	base := l.ctx
	if s == l.remote {
		base = l.linkCtx
	}
	ctx, cancel := context.WithCancel(base)
	s.end = cancel
	// Only reset and the connection's end cancel it: were it canceled at the end of
	// this, the loop would take what Next said last for something of the past.
	l.work.Go(func() {
		for ctx.Err() == nil {
			updates, err := ep.Next(ctx)
			heard := time.Now()
			l.post(func() {
				if ctx.Err() != nil || s.ep != ep {
					return
				}
				if err != nil {
					l.deaf(s, err)
					return
				}
				l.heard(s, updates, heard)
			})
			if err != nil {
				return
			}
		}
	})
}

// deaf is what becomes of a side that says no more what changes.
func (l *loop) deaf(s *side, err error) {
	switch {
	case errors.Is(err, endpoint.ErrRescan):
		l.scan(s)
	case s == l.remote:
		l.drop(err)
	default:
		l.lost(err)
	}
}

// lost is a failure of the local folder: one that has worked may do so again.
func (l *loop) lost(err error) {
	if !l.known {
		l.fail(err)
		return
	}
	if text := "looking at the local folder again: " + err.Error(); text != l.local.told {
		l.local.told = text
		l.event(Event{Kind: NoteEvent, Text: text})
	}
	l.scanLater(l.local)
}

// heard takes what a side said.
func (l *loop) heard(s *side, updates []endpoint.Update, at time.Time) {
	other := l.other(s)
	for _, u := range updates {
		if !u.Ignored && l.rules.Ignored(u.Path, u.Entry.Kind == tree.Dir) {
			continue
		}
		if u.Ignored {
			// Nothing is to be deleted for it, on either side.
			s.tree.Delete(u.Path)
			s.forget(u.Path)
			if other.tree != nil {
				other.tree.Delete(u.Path)
			}
			l.agree([]tree.Change{{Path: u.Path, From: l.base.Tree.Get(u.Path)}})
			continue
		}
		if !s.update(u) {
			l.scan(s)
			return
		}
		if first := at.Add(-u.Age); s.first.IsZero() || first.Before(s.first) {
			s.first = first
		}
		l.pending[u.Path] = true
		if s == l.local && l.config.IsRuleFile(u.Path) {
			l.reloadRules()
		}
	}
	s.settle()
	l.step()
}

// other is the other side.
func (l *loop) other(s *side) *side {
	if s == l.local {
		return l.remote
	}
	return l.local
}

// paths is a set that can be asked about what is above and below.
type paths struct {
	in    map[string]bool
	above map[string]bool
}

func newPaths(changes []tree.Change) *paths {
	p := &paths{in: make(map[string]bool, len(changes)), above: map[string]bool{}}
	for _, c := range changes {
		p.add(c.Path)
	}
	return p
}

func (p *paths) add(path string) {
	p.in[path] = true
	for up := path; up != ""; {
		up = tree.Parent(up)
		if p.above[up] {
			break
		}
		p.above[up] = true
	}
}

// touches is true for a path of the set, and for what is above or below one.
func (p *paths) touches(path string) bool {
	if p == nil {
		return false
	}
	if p.in[path] || p.above[path] || p.in[""] {
		return true
	}
	for i := strings.IndexByte(path, '/'); i >= 0; {
		if p.in[path[:i]] {
			return true
		}
		next := strings.IndexByte(path[i+1:], '/')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return false
}
