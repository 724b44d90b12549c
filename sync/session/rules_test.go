package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/tree"
)

func waits(st session.Status) bool { return inSync(st) && !st.Clean() }

func TestThePodCanNotHaveWhatIsIgnoredHere(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, ".gitignore", ".env\nkeys/\n")
	p.write(p.local, ".env", "secret")
	p.write(p.local, "keys/id", "secret")
	p.write(p.local, "a.py", "a")
	s, stop := p.start()
	p.has(p.remote, "a.py", "a")
	p.status(s, inSync)

	// It takes back one thing, ignores another, and deletes a file of rules.
	p.write(p.remote, ".kfdevignore", "!.env\n*.log\n")
	p.has(p.local, ".kfdevignore", "!.env\n*.log\n")
	st := p.status(s, waits)
	require.Len(t, st.Problems, 1)
	require.EqualValues(t, ".kfdevignore", st.Problems[0].Path)
	require.True(t, st.Problems[0].Waits)
	require.Contains(t, st.Problems[0].Error, `".env"`)
	require.Contains(t, st.Problems[0].Error, "kfdev sync resume test --accept-rules")
	p.remove(p.remote, ".gitignore")
	p.lacks(p.local, ".gitignore")
	p.write(p.local, "b.log", "b")
	p.write(p.local, "a.py", "b")
	p.has(p.remote, "a.py", "b")
	p.status(s, func(st session.Status) bool { return waits(st) && st.Problems[0].Path == ".gitignore" })
	stop()

	// The next session knows that, too, and one with a new pod.
	p.place = "two"
	s, _ = p.start()
	p.write(p.local, "a.py", "c")
	p.has(p.remote, "a.py", "c")
	p.status(s, waits)
	there := content(t, p.remote)
	for _, path := range []string{".env", "keys", "b.log"} {
		require.NotContains(t, there, path)
	}

	// A person's own edit, and a person's word.
	p.write(p.local, ".gitignore", ".env\n")
	p.has(p.remote, "keys/id", "secret")
	p.status(s, waits)
	require.NotContains(t, content(t, p.remote), ".env")
	require.NoError(t, s.Resume(t.Context(), session.AcceptRules))
	p.has(p.remote, ".env", "secret")
	st = p.status(s, inSync)
	require.True(t, st.Clean(), "%+v", st)
	require.Error(t, s.Resume(t.Context(), session.AcceptRules))
}

func TestRulesThatPullBringsWaitToo(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.config.Mode = reconcile.Pull
	p.write(p.local, ".gitignore", ".env\n")
	p.write(p.local, ".env", "secret")
	p.write(p.remote, ".kfdevignore", "!.env\n")
	s, stop := p.start()
	p.has(p.local, ".kfdevignore", "!.env\n")
	p.status(s, waits)
	stop()
	p.config.Mode = reconcile.TwoWaySafe
	s, _ = p.start()
	p.write(p.local, "a", "a")
	p.has(p.remote, "a", "a")
	p.status(s, waits)
	require.NotContains(t, content(t, p.remote), ".env")
}

func TestUndoBringsRulesBack(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, ".gitignore", "a.log\n")
	p.write(p.local, "a.log", "secret")
	s, _ := p.start()
	p.has(p.remote, ".gitignore", "a.log\n")
	p.status(s, inSync)
	p.remove(p.remote, ".gitignore")
	p.lacks(p.local, ".gitignore")
	p.status(s, waits)
	_, err := s.Undo(t.Context())
	require.NoError(t, err)
	p.has(p.remote, ".gitignore", "a.log\n")
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
	require.NotContains(t, content(t, p.remote), "a.log")
}

// What can't be written down is not let in.
func TestRulesThatCanNotBeKeptDoNotArrive(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	arriving, full := p.config.Arriving, make(chan struct{})
	p.config.Arriving = func(changes []tree.Change) (func(), error) {
		select {
		case <-full:
			return arriving(changes)
		case <-time.After(10 * time.Millisecond):
			return nil, errors.New("no space")
		}
	}
	p.write(p.remote, ".kfdevignore", "x\n")
	s, _ := p.start()
	p.eventually(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, e := range p.events {
			if e.Text == "looking at the local folder again: no space" {
				return true
			}
		}
		return false
	}, "a word of it")
	require.NotContains(t, content(t, p.local), ".kfdevignore")
	close(full)
	p.has(p.local, ".kfdevignore", "x\n")
	p.status(s, inSync)
}
