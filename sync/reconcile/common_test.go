package reconcile

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/tree"
)

func TestCommon(t *testing.T) {
	t.Parallel()
	base := parse(t, "same=1 edited=1 deleted=1 lacks=1 theirs=1 both=1 d/ d/x=1 kind=1")
	local := parse(t, "same=1 edited=2 lacks=1 theirs=1 both=2 d/ d/x=1 kind=1")
	remote := parse(t, "same=1 edited=1 deleted=1 theirs=0 both=0 new=1 d/ d/x=1 kind/")
	ancestor := Common(base, remote)
	require.True(t, tree.Equal(parse(t, "same=1 edited=1 deleted=1 d/ d/x=1"), ancestor))
	res := Reconcile(ancestor, local, remote, nil, Options{})
	require.Equal(t, "-deleted edited=2 lacks=1", show(res.ToRemote))
	require.Equal(t, "new=1", show(res.ToLocal))
	var paths []string
	for _, c := range res.Conflicts {
		paths = append(paths, c.Path)
	}
	require.ElementsMatch(t, []string{"theirs", "both", "kind"}, paths)
	require.Zero(t, Common(base, &tree.Tree{}).Len())
}

// What a side has of its own stays, whatever the folder is: no path is taken away
// or replaced there but where it is as the ancestor had it.
func TestOfACommonAncestorNothingIsLost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, rnd *rand.Rand) {
		t.Helper()
		w := random(rnd)
		w.options = Options{}
		was := w.base
		w.base = Common(was, w.remote)
		res := Reconcile(w.base, w.local, w.remote, nil, w.options)
		for _, c := range res.ToRemote {
			if c.From.Kind == tree.File && c.To.Digest != c.From.Digest {
				require.Equal(t, was.Get(c.Path), c.From, "%s is new there", c.Path)
			}
		}
		for _, c := range res.ToLocal {
			if c.To.Kind == tree.Absent {
				require.Equal(t, was.Get(c.Path), w.remote.Get(c.Path), "%s may never have been there", c.Path)
			}
		}
	})
}
