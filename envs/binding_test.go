package envs

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/stack/apply"
)

func TestAPlanDeletesExactlyWhatItSays(t *testing.T) {
	t.Parallel()
	set := func(name string, change apply.Change, objects ...string) apply.Proposal {
		p := apply.Proposal{Set: name}
		for _, o := range objects {
			p.Objects = append(p.Objects, apply.Proposed{Object: apply.Object{APIVersion: "v1", Kind: "ConfigMap", Namespace: "n", Name: o}, Change: change})
		}
		return p
	}
	planned := []apply.Proposal{set("old", apply.Deleted, "a", "b"), set("kept", apply.Skipped, "c")}
	require.Empty(t, otherRemovals(planned, planned, true))
	for name, tc := range map[string]struct {
		now  []apply.Proposal
		want string
	}{
		"a component that came since":   {append([]apply.Proposal{set("new", apply.Deleted, "d")}, planned...), "ConfigMap/n/d: the plan does not have it"},
		"an object that came since":     {[]apply.Proposal{set("old", apply.Deleted, "a", "b", "d"), planned[1]}, "ConfigMap/n/d: the plan does not have it"},
		"one that was to be left alone": {[]apply.Proposal{planned[0], set("kept", apply.Deleted, "c")}, "ConfigMap/n/c: it was to be skipped"},
		"one that is gone":              {[]apply.Proposal{set("old", apply.Deleted, "a"), planned[1]}, "ConfigMap/n/b: it is no part of this any more"},
		"all of it is gone":             {planned[1:], "old: it was to be removed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, errors.Join(otherRemovals(planned, tc.now, true)...), tc.want)
		})
	}
}
