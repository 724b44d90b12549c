package reconcile

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARootIsMendedWhereNothingWouldBeDeletedForIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, base, local, remote string
		reason                    Reason
		loser                     Preference
		halt                      string
	}{
		{"a file was saved into it", "a=1 b=1 c=2", "d=4", "a=1 b=1 c=2", RootEmptied, PreferRemote, "the local folder was gone or empty all at once, and is not what it was; 3 of 3 paths would be deleted on the remote side"},
		{"one that was there", "a=1 b=1 c=2", "a=5", "a=1 b=1 c=2", RootGone, PreferRemote, "the local folder was gone or empty all at once, and is not what it was; 2 of 3 paths would be deleted on the remote side"},
		{"in the pod", "a=1 b=1 c=2", "a=1 b=1 c=2", "d=4", RootType, PreferLocal, "the remote folder was gone or empty all at once, and is not what it was; 3 of 3 paths would be deleted on the local side"},
		{"all is back", "a=1 b=1 c=2", "a=5 b=1 c=2", "a=1 b=1 c=2", RootEmptied, PreferRemote, ""},
		{"under other names", "a=1 b=1 c=2", "d=1 e=1 f=2", "a=1 b=1 c=2", RootEmptied, PreferRemote, ""},
		{"it lost less", "a=1 b=1 c=2", "a=5", "a=1 b=1 c=2", ManyDeletes, PreferRemote, ""},
		{"the other side loses", "a=1 b=1 c=2", "a=5", "a=1 b=1 c=2", RootEmptied, PreferLocal, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			base, local, remote := parse(t, c.base), parse(t, c.local), parse(t, c.remote)
			before := &Halt{Reason: c.reason, Loser: c.loser, Cause: PreferLocal}
			if c.loser == PreferLocal {
				before.Cause = PreferRemote
			}
			h := Unmended(before, local, remote, Reconcile(base, local, remote, nil, Options{}))
			if c.halt == "" {
				require.Nil(t, h)
				return
			}
			require.EqualError(t, h, c.halt)
			require.Equal(t, c.reason, h.Reason, "so that it can be brought back")
		})
	}
	require.Nil(t, Unmended(nil, nil, nil, Result{}))
}
