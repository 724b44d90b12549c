package envs

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Dev has the policy of the environments after it, which warns there; a project
// with dev alone has none.
func TestDevHasThePolicyThatWarns(t *testing.T) {
	t.Parallel()
	b := newBench(t, threePlaces)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	s, err := b.engine(t).settled(t.Context())
	require.NoError(t, err)
	r, err := newUpRun(b.engine(t), s, UpOptions{})
	require.NoError(t, err)
	last := r.steps()[len(r.steps())-3]
	require.Equal(t, "stack/"+policySet, last.ID)
	p, err := r.policy()
	require.NoError(t, err)
	i := slices.IndexFunc(p.rendered.Objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "ValidatingAdmissionPolicyBinding" })
	actions, _, err := unstructured.NestedStringSlice(p.rendered.Objects[i].Object, "spec", "validationActions")
	require.NoError(t, err)
	require.Contains(t, actions, "Warn")
	require.NotContains(t, actions, "Deny")

	b.project(t, bothComponents)
	_, err = b.lock(t, LockOptions{})
	require.NoError(t, err)
	s, err = b.engine(t).settled(t.Context())
	require.NoError(t, err)
	alone, err := newUpRun(b.engine(t), s, UpOptions{})
	require.NoError(t, err)
	require.Nil(t, alone.policy)
}
