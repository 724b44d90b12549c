package session_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/tree"
)

// gate holds up the first that comes to it, until it is opened.
type gate struct {
	once        sync.Once
	there, open chan struct{}
}

func newGate() *gate { return &gate{there: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) pass() {
	g.once.Do(func() {
		close(g.there)
		<-g.open
	})
}

// withNotebook is a pair that is in sync: a notebook whose ancestor is kept, and
// some files, of which no two may be deleted at once.
func withNotebook(t *testing.T) (p *pair, s *session.Session, stop func()) {
	t.Helper()
	p = newPair(t)
	p.config.Limits = reconcile.Limits{Count: 1}
	p.write(p.local, "a.ipynb", twoCells("x = 1", "y", ""))
	for i := range 5 {
		p.write(p.local, fmt.Sprintf("f%d", i), "x")
	}
	s, stop = p.start()
	p.has(p.remote, "f4", "x")
	p.has(p.remote, "a.ipynb", twoCells("x = 1", "y", ""))
	p.eventually(func() bool {
		kept, _ := filepath.Glob(filepath.Join(p.state, "contents", "*"))
		return len(kept) == 1
	}, "the ancestor is kept")
	return p, s, stop
}

// goesOn has the deletions that the session is halted for be done, and looks
// whether the notebook was merged.
func (p *pair) goesOn(s *session.Session) {
	p.t.Helper()
	require.NoError(p.t, s.Resume(p.t.Context(), session.AcceptDeletes))
	p.lacks(p.remote, "f2")
	merged := twoCells("x = 2", "z", "")
	p.has(p.local, "a.ipynb", merged)
	p.has(p.remote, "a.ipynb", merged)
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
}

func TestAMergeThatIsDecidedWhileTheSessionIsHalted(t *testing.T) {
	t.Parallel()
	p, _, stop := withNotebook(t)
	stop()
	reading := newGate()
	p.withFaults(func(f *faulty) {
		f.fetch = func(wants []endpoint.Want) {
			if wants[0].Path == "a.ipynb" {
				reading.pass()
			}
		}
	})
	p.write(p.local, "a.ipynb", twoCells("x = 2", "y", ""))
	p.write(p.remote, "a.ipynb", twoCells("x = 1", "z", ""))
	s, _ := p.start()
	<-reading.there
	for i := range 3 {
		p.remove(p.local, fmt.Sprintf("f%d", i))
	}
	p.status(s, func(st session.Status) bool { return st.Halt != nil && st.Halt.Deletes == 3 })
	close(reading.open)
	looks := 0
	p.eventually(func() bool { // nothing shows that it was decided; it takes a moment
		looks++
		st, err := s.Status(t.Context())
		require.NoError(t, err)
		require.NotNil(t, st.Halt)
		return looks > 50
	}, "the merge is decided")
	p.goesOn(s)
}

// One side is busy when it is decided, and the session halts before that can take
// the merged content.
func TestAMergeThatHasNotLeftWhenTheSessionHalts(t *testing.T) {
	t.Parallel()
	p, _, stop := withNotebook(t)
	stop()
	sending := newGate()
	p.withFaults(func(f *faulty) {
		f.apply = func(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
			if slices.ContainsFunc(changes, func(c tree.Change) bool { return c.Path == "new" }) {
				sending.pass()
			}
			return f.Link.Apply(ctx, changes, from)
		}
	})
	s, _ := p.start()
	p.status(s, inSync)
	p.write(p.local, "new", "x")
	<-sending.there
	p.write(p.local, "a.ipynb", twoCells("x = 2", "y", ""))
	p.write(p.remote, "a.ipynb", twoCells("x = 1", "z", ""))
	p.has(p.local, "a.ipynb", twoCells("x = 2", "z", ""))
	for i := range 3 {
		p.remove(p.local, fmt.Sprintf("f%d", i))
	}
	p.status(s, func(st session.Status) bool { return st.Halt != nil && st.Halt.Deletes == 3 })
	close(sending.open)
	p.goesOn(s)
}
