package envs

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/stack/apply"
)

func TestAPlanDeletesNoComponentThatItDoesNotHave(t *testing.T) {
	t.Parallel()
	set := func(name string, change apply.Change, objects ...string) RemovedSet {
		r := RemovedSet{Name: name}
		for _, o := range objects {
			r.Objects = append(r.Objects, apply.Entry{Object: apply.Object{APIVersion: "v1", Kind: "ConfigMap", Namespace: "n", Name: o}, Change: change})
		}
		return r
	}
	planned := []RemovedSet{set("old", apply.Deleted, "a", "b"), set("kept", apply.Skipped, "c")}
	require.Empty(t, moreRemoved(planned, planned))
	require.Empty(t, moreRemoved(planned, []RemovedSet{set("old", apply.Deleted, "a")}), "b is gone already")
	for name, tc := range map[string]struct {
		now  RemovedSet
		want string
	}{
		"a component that came since":   {set("new", apply.Deleted, "d"), "ConfigMap/n/d: it would be deleted with new"},
		"an object that came since":     {set("old", apply.Deleted, "a", "b", "d"), "ConfigMap/n/d: it would be deleted with old"},
		"one that was to be left alone": {set("kept", apply.Deleted, "c"), "ConfigMap/n/c: it would be deleted with kept"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := moreRemoved(planned, []RemovedSet{tc.now})
			require.Len(t, found, 1)
			require.ErrorContains(t, found[0], tc.want)
		})
	}
}
