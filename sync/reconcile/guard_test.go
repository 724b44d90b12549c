package reconcile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func many(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "f%d=%c ", i, 'a'+i%26)
	}
	return s.String()
}

func TestGuard(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, base, local, remote string
		mode                      Mode
		limits                    Limits
		halt                      string
	}{
		{name: "gone", base: "a=1 b=1", local: "-", remote: "a=1 b=1", halt: "the local folder is gone; 2 of 2 paths would be deleted on the remote side"},
		{name: "gone in the pod", base: "a=1 b=1", local: "a=1 b=1", remote: "-", halt: "the remote folder is gone; 2 of 2 paths would be deleted on the local side"},
		{name: "gone in the pod, one way", base: "a=1 b=1", local: "a=1 b=1", remote: "-", mode: OneWay},
		{name: "gone, off", base: "a=1 b=1", local: "-", remote: "a=1 b=1", limits: Limits{Off: true}, halt: "the local folder is gone; 2 of 2 paths would be deleted on the remote side"},
		{name: "gone, and was empty", base: "", local: "-", remote: "", halt: "the local folder is gone; 0 of 0 paths would be deleted on the remote side"},
		{name: "emptied", base: "a=1 b=1", local: "", remote: "a=1 b=1", halt: "the local folder is empty all at once; 2 of 2 paths would be deleted on the remote side"},
		{name: "the only file", base: "a=1", local: "", remote: "a=1"},
		{name: "replica of nothing", base: "-", local: "-", remote: "a=1 b=1", mode: OneWayReplica, halt: "the local folder is gone; 2 of 2 paths would be deleted on the remote side"},
		{name: "many", base: many(100), local: many(40), remote: many(100), halt: "60 of 100 paths would be deleted on the remote side, more than --max-delete allows (50 paths and 50%)"},
		{name: "not so many", base: many(100), local: many(50), remote: many(100)},
		{name: "of a large tree", base: many(1000), local: many(600), remote: many(1000)},
		{name: "a count", base: many(1000), local: many(600), remote: many(1000), limits: Limits{Count: 399}, halt: "400 of 1000 paths would be deleted on the remote side, more than --max-delete allows (399 paths)"},
		{name: "that count", base: many(1000), local: many(600), remote: many(1000), limits: Limits{Count: 400}},
		{name: "a percentage", base: many(1000), local: many(600), remote: many(1000), limits: Limits{Percent: 39}, halt: "400 of 1000 paths would be deleted on the remote side, more than --max-delete allows (39%)"},
		{name: "off", base: many(1000), local: many(1), remote: many(1000), limits: Limits{Off: true}},
		{name: "moved", base: many(100), local: strings.ReplaceAll(many(100), "f", "g"), remote: many(100)},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, local, remote := parse(t, c.base), parse(t, c.local), parse(t, c.remote)
			res := Reconcile(base, local, remote, nil, Options{Mode: c.mode})
			h := Guard(base, local, remote, res, c.limits)
			if c.halt == "" {
				require.Nil(t, h)
				return
			}
			require.NotNil(t, h)
			require.EqualError(t, h, c.halt)
			require.NotEmpty(t, h.Hint())
		})
	}
}

func TestGuardOfAReplacedRoot(t *testing.T) {
	t.Parallel()
	base, local, remote := parse(t, "a=1 b=1"), parse(t, ""), parse(t, "a=1 b=1")
	require.NoError(t, local.Put("", file('x')))
	h := Guard(base, local, remote, Reconcile(base, local, remote, nil, Options{}), Limits{})
	require.NotNil(t, h)
	require.Equal(t, RootType, h.Reason)
	require.Equal(t, PreferRemote, h.Loser)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Limits{"": {}, "200": {Count: 200}, "25%": {Percent: 25}, "off": {Off: true}} {
		got, err := ParseLimits(s)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, s := range []string{"0", "-1", "101%", "0%", "many", "%", "1.5"} {
		_, err := ParseLimits(s)
		require.Error(t, err, s)
	}
}

func TestGuardCountsWhatWasLostBefore(t *testing.T) {
	t.Parallel()
	base, local, remote := parse(t, many(120)), parse(t, many(80)), parse(t, many(120))
	res := Reconcile(base, local, remote, nil, Options{})
	require.Nil(t, GuardAfter(base, local, remote, res, Limits{}, Lost{Local: 1000}))
	require.Nil(t, GuardAfter(base, local, remote, res, Limits{}, Lost{Remote: 40}), "80 of 160 are no more than half")
	h := GuardAfter(base, local, remote, res, Limits{}, Lost{Remote: 80})
	require.EqualError(t, h, "80 paths were deleted on the remote side just now, and 40 of the 120 others would be, more than --max-delete allows (50 paths and 50%)")
	require.Equal(t, 40, h.Deletes)
	require.Nil(t, GuardAfter(base, local, remote, res, Limits{Off: true}, Lost{Remote: 80}))
	same := Reconcile(base, base, remote, nil, Options{})
	require.Nil(t, GuardAfter(base, base, remote, same, Limits{}, Lost{Remote: 1000}), "nothing is deleted now")
	require.Equal(t, 40, Deletions(res.ToRemote))
}

func TestGuardOfTheFirstReplica(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, base, local, remote string
		limits                    Limits
		halt                      string
	}{
		{name: "a file that only the pod has", base: "-", local: "a=1", remote: "a=1 b=2", halt: "1 of 2 paths are on the remote side alone, and the mode one-way-replica would delete them"},
		{name: "many", base: "-", local: "a=1", remote: many(100), halt: "100 of 100 paths are on the remote side alone, and the mode one-way-replica would delete them"},
		{name: "nothing here", base: "-", local: "", remote: "a=1", halt: "1 of 1 paths are on the remote side alone, and the mode one-way-replica would delete them"},
		{name: "no folder here", base: "-", local: "-", remote: "a=1", halt: "the local folder is gone; 1 of 1 paths would be deleted on the remote side"},
		{name: "the same", base: "-", local: "a=1 b=2", remote: "a=1 b=3"},
		{name: "moved", base: "-", local: "a=1 c=2", remote: "a=1 b=2"},
		{name: "not the first time", base: "a=1", local: "a=1", remote: "a=1 b=2"},
		{name: "off", base: "-", local: "a=1", remote: many(100), limits: Limits{Off: true}},
		{name: "a limit that somebody named", base: "-", local: "a=1", remote: "b=2", limits: Limits{Count: 1}},
		{name: "and it is exceeded", base: "-", local: "a=1", remote: many(3), limits: Limits{Count: 2}, halt: "3 of 3 paths would be deleted on the remote side, more than --max-delete allows (2 paths)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, local, remote := parse(t, c.base), parse(t, c.local), parse(t, c.remote)
			res := Reconcile(base, local, remote, nil, Options{Mode: OneWayReplica})
			h := GuardFirst(base, local, remote, res, c.limits, Lost{})
			if c.halt == "" {
				require.Nil(t, h)
				return
			}
			require.NotNil(t, h)
			require.EqualError(t, h, c.halt)
			require.NotEmpty(t, h.Hint())
		})
	}
}
