package apply

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
)

// What is missing of many resources for one reason stands together, each right
// once.
func TestWhatIsMissingIsToldOnce(t *testing.T) {
	t.Parallel()
	require.NoError(t, Refuse(nil))
	missing := distinct(slices.Concat(
		Need("", "patch create", "configmaps", "a"), Need("for the ledger", "patch", "configmaps", "a"), Need("to see", "list", "pods", ""), Need("to see", "list", "deployments.apps", ""),
		[]Missing{{Verb: "get", Path: "/apis"}, {Verb: "bind", Group: rbacGroup, Resource: "clusterroles", Name: "strong", Why: "for a binding"}},
	))
	err := Refuse(missing)
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.EqualError(t, err, "checking the rights: missing: bind clusterroles.rbac.authorization.k8s.io strong (for a binding); create configmaps in a; get /apis; list deployments.apps, pods (to see); patch configmaps in a (for the ledger)")
}

func TestMendingTakesNoMoreThanItWrites(t *testing.T) {
	t.Parallel()
	for change, want := range map[Change][]string{Created: {"create", "patch"}, Configured: {"get", "patch"}, Deleted: {"delete"}, Unchanged: nil, Skipped: nil} {
		require.Equal(t, want, verbs(Proposed{Change: change}, true))
	}
}
