package session_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
)

// halted waits until a session is halted for a reason.
func (p *pair) halted(s *session.Session, reason reconcile.Reason) session.Status {
	p.t.Helper()
	st := p.status(s, func(st session.Status) bool { return st.State == session.Halted })
	require.Equal(p.t, reason, st.Halt.Reason)
	return st
}

// lose breaks the connection, and waits for the next one.
func (p *pair) lose(s *session.Session) {
	p.t.Helper()
	p.mu.Lock()
	links := p.links
	_ = p.conn.Close()
	p.mu.Unlock()
	p.eventually(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.links > links
	}, "the next connection")
	p.status(s, inSync)
}

// Whichever side it is on and whatever came between, undo takes the last batch,
// and then the one before.
func TestUndoKnowsTheOrderOfBothSides(t *testing.T) {
	t.Parallel()
	again := func(p *pair, _ *session.Session, stop func()) *session.Session {
		stop()
		s, _ := p.start()
		p.status(s, inSync)
		return s
	}
	for name, between := range map[string]func(*pair, *session.Session, func()) *session.Session{
		"nothing":     func(_ *pair, s *session.Session, _ func()) *session.Session { return s },
		"a reconnect": func(p *pair, s *session.Session, _ func()) *session.Session { p.lose(s); return s },
		"a restart":   again,
		"a lost state": func(p *pair, s *session.Session, stop func()) *session.Session {
			stop()
			require.NoError(p.t, os.Remove(filepath.Join(p.state, "undos.json")))
			return again(p, s, stop)
		},
	} {
		for _, first := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				names := []string{"a", "b", "c", "d"}
				for _, n := range names {
					p.write(p.local, n, n)
				}
				s, stop := p.start()
				p.has(p.remote, "d", "d")
				p.status(s, inSync)
				here := first
				for _, n := range names[:3] {
					from, to := p.local, p.remote
					if here {
						from, to = to, from
					}
					p.remove(from, n)
					p.lacks(to, n)
					p.status(s, inSync)
					here = !here
				}
				s = between(p, s, stop)
				for _, n := range []string{"c", "b", "a"} {
					undone, err := s.Undo(t.Context())
					require.NoError(t, err)
					require.Equal(t, []session.Name{session.Name(n)}, undone.Paths)
					p.has(p.local, n, n)
					p.has(p.remote, n, n)
					p.status(s, inSync)
				}
				_, err := s.Undo(t.Context())
				require.ErrorContains(t, err, "nothing to undo")
			})
		}
	}
}

// What only the pod has is not deleted before a person says so, and comes here
// when it is brought back.
func TestTheFirstReplicaAsks(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.config.Mode = reconcile.OneWayReplica
	p.write(p.local, "a.py", "a")
	p.write(p.remote, "runs/model.bin", "a night of training")
	s, stop := p.start()
	st := p.halted(s, reconcile.FirstReplica)
	require.Equal(t, 2, st.Halt.Deletes)
	require.ErrorContains(t, s.Resume(t.Context(), session.BringBack), "two-way-safe")
	_, err := s.Undo(t.Context())
	require.ErrorContains(t, err, "halted")
	stop()
	s, _ = p.start()
	p.halted(s, reconcile.FirstReplica)
	require.Contains(t, content(t, p.remote), "runs/model.bin")
	require.NotContains(t, content(t, p.remote), "a.py")

	require.NoError(t, s.Resume(t.Context(), session.AcceptDeletes))
	p.lacks(p.remote, "runs")
	p.has(p.remote, "a.py", "a")
	p.status(s, inSync)
	undone, err := s.Undo(t.Context())
	require.NoError(t, err)
	require.Equal(t, []session.Name{"runs", "runs/model.bin"}, undone.Paths)
	p.has(p.local, "runs/model.bin", "a night of training")
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
	p.has(p.remote, "runs/model.bin", "a night of training")

	// Later the pod has what is here without a question.
	p.write(p.remote, "later", "x")
	p.lacks(p.remote, "later")
	// What was overwritten comes back on both sides, too.
	p.write(p.local, "a.py", "b")
	p.has(p.remote, "a.py", "b")
	p.status(s, inSync)
	_, err = s.Undo(t.Context())
	require.NoError(t, err)
	p.has(p.local, "a.py", "a")
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
	p.has(p.remote, "a.py", "a")
}

// A limit that a person named is the person's word.
func TestAFirstReplicaWithinItsLimit(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.config.Mode, p.config.Limits = reconcile.OneWayReplica, reconcile.Limits{Off: true}
	p.write(p.local, "a.py", "a")
	p.write(p.remote, "model.bin", "x")
	s, _ := p.start()
	p.lacks(p.remote, "model.bin")
	p.status(s, inSync)
}

// In the modes that only receive, undo changes the side that received: what was
// deleted stays, and what was overwritten waits for a person.
func TestUndoWhereChangesAreOnlyReceived(t *testing.T) {
	t.Parallel()
	for mode, sides := range map[reconcile.Mode]func(p *pair) (from, to string){
		reconcile.OneWay: func(p *pair) (string, string) { return p.local, p.remote },
		reconcile.Pull:   func(p *pair) (string, string) { return p.remote, p.local },
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.config.Mode = mode
			from, to := sides(p)
			p.write(from, "gone", "gone")
			p.write(from, "a", "one")
			s, _ := p.start()
			p.has(to, "a", "one")
			p.has(to, "gone", "gone")
			p.status(s, inSync)
			p.remove(from, "gone")
			p.lacks(to, "gone")
			p.status(s, inSync)
			_, err := s.Undo(t.Context())
			require.NoError(t, err)
			p.has(to, "gone", "gone")
			require.True(t, p.status(s, inSync).Clean())
			p.write(from, "a", "two")
			p.has(to, "a", "two")
			p.status(s, inSync)
			_, err = s.Undo(t.Context())
			require.NoError(t, err)
			p.has(to, "a", "one")
			st := p.status(s, func(st session.Status) bool { return inSync(st) && len(st.Conflicts) == 1 })
			require.Equal(t, session.Name("a"), st.Conflicts[0].Path)
			require.Equal(t, "two", content(t, from)["a"])
			require.NotContains(t, content(t, from), "gone")
		})
	}
}
