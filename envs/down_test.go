package envs

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/session"
)

func TestDownDeleteEndsTheSessionsFirst(t *testing.T) {
	t.Parallel()
	w, b := newPodWorld(t), newBench(t, bothComponents)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	_, err = b.up(t)
	require.NoError(t, err)
	r := w.start(b, t.TempDir())
	r.until("in sync", inSync)

	_, err = b.engine(t).Down(t.Context(), DownOptions{})
	require.NoError(t, err)
	r.until("still in sync", func(s session.Status) bool { return s.State == session.InSync })

	got, err := b.engine(t).Down(t.Context(), DownOptions{Delete: true})
	require.NoError(t, err)
	require.Equal(t, "sync session "+r.Name, got.Deleted[0])
	require.NoError(t, r.end())
}
