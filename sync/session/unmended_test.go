package session_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
)

// emptied is a session that is halted, as one side lost all that it had.
func emptied(t *testing.T, of func(*pair) string) (p *pair, s *session.Session, stop func()) {
	t.Helper()
	p = newPair(t)
	for i := range 5 {
		p.write(p.local, fmt.Sprintf("f%d", i), fmt.Sprint("content ", i))
	}
	s, stop = p.start()
	p.has(p.remote, "f4", "content 4")
	p.status(s, inSync)
	stop()
	for i := range 5 {
		p.remove(of(p), fmt.Sprintf("f%d", i))
	}
	s, stop = p.start()
	p.halted(s, reconcile.RootEmptied)
	return p, s, stop
}

// savedInto waits until the session knows of what was saved, and is still halted.
func (p *pair) savedInto(s *session.Session, deletes int) {
	p.t.Helper()
	st := p.status(s, func(st session.Status) bool {
		require.NotEqual(p.t, session.InSync, st.State)
		return st.Halt != nil && st.Halt.Deletes == deletes
	})
	require.Equal(p.t, reconcile.RootEmptied, st.Halt.Reason)
	require.Contains(p.t, st.Halt.Text, "is not what it was")
}

func TestAFileThatIsSavedIntoAnEmptiedRootDoesNotLiftTheHalt(t *testing.T) {
	t.Parallel()
	for name, sides := range map[string][2]func(*pair) string{"here": {localOf, remoteOf}, "in the pod": {remoteOf, localOf}} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(name, restart), func(t *testing.T) {
				t.Parallel()
				p, s, stop := emptied(t, sides[0])
				cause, loser := sides[0](p), sides[1](p)
				if restart {
					stop()
				}
				p.write(cause, "f0", "an editor had it open")
				if restart {
					s, stop = p.start()
				}
				p.savedInto(s, 4)
				p.has(loser, "f0", "content 0")
				p.has(loser, "f4", "content 4")
				// The folder is put back: in pieces, of which none is the end of it.
				for i := range 4 {
					p.write(cause, fmt.Sprintf("f%d", i), fmt.Sprint("content ", i))
				}
				p.savedInto(s, 1)
				p.write(cause, "f4", "content 4")
				p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
				// It is over for good.
				stop()
				p.remove(cause, "f4")
				s, _ = p.start()
				p.lacks(loser, "f4")
				p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
			})
		}
	}
}

func TestAPersonEndsTheHaltOfARootThatHasSomethingAgain(t *testing.T) {
	t.Parallel()
	for _, how := range []session.Resumption{session.AcceptDeletes, session.BringBack} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			p, s, stop := emptied(t, localOf)
			p.write(p.local, "new", "x")
			p.eventually(func() bool {
				st, err := s.Status(t.Context())
				require.NoError(t, err)
				return st.Paths == 1
			}, "what was saved")
			p.savedInto(s, 5)
			require.NoError(t, s.Resume(t.Context(), how))
			p.has(p.remote, "new", "x")
			if how == session.BringBack {
				p.has(p.local, "f4", "content 4")
				p.has(p.remote, "f4", "content 4")
			} else {
				p.lacks(p.remote, "f4")
			}
			p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
			stop()
			require.NoError(t, os.WriteFile(p.local+"/new", []byte("y"), 0o600))
			p.start()
			p.has(p.remote, "new", "y")
		})
	}
}
