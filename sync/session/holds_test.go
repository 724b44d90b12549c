package session_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
)

// What the pod has is said where nothing is open, and else what is.
func TestWhatThePodHasIsSaidWhereNothingIsOpen(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, "a", "one")
	p.write(p.remote, "d/b", "two")
	s, stop := p.start()
	p.has(p.local, "d/b", "two")
	p.status(s, inSync)
	held, err := s.Holds(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, held.Len())
	require.EqualValues(t, 3, held.Get("d/b").Size)
	held.Delete("a") // it is nobody else's
	again, err := s.Holds(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, again.Len())

	stop()
	p.write(p.local, "a", "mine")
	p.write(p.remote, "a", "theirs")
	s, stop = p.start()
	p.status(s, func(st session.Status) bool { return inSync(st) && len(st.Conflicts) == 1 })
	_, err = s.Holds(t.Context())
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.ErrorContains(t, err, "conflict at a")
	require.Contains(t, strings.Join(fault.Hint(err), ""), "kfdev sync status test")
	require.NoError(t, s.Resolve(t.Context(), "a", session.KeepLocal))
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })

	stop()
	require.NoError(t, os.RemoveAll(filepath.Join(p.local, "a")))
	require.NoError(t, os.RemoveAll(filepath.Join(p.local, "d")))
	s, _ = p.start()
	p.halted(s, reconcile.RootEmptied)
	_, err = s.Holds(t.Context())
	require.Equal(t, fault.Drift, fault.KindOf(err))
	require.ErrorContains(t, err, "it is halted: the local folder is empty all at once")
}
