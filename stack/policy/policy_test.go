package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func digests(n int) []string {
	var all []string
	for i := range n {
		all = append(all, digest(i))
	}
	return all
}

func TestObjects(t *testing.T) {
	t.Parallel()
	o := policy.Options{Namespaces: []string{"b", "a", "b"}, Digests: []string{digest(2), digest(1), digest(2)}}
	objects, err := policy.Objects(o)
	require.NoError(t, err)
	var kinds []string
	for _, each := range objects {
		kinds = append(kinds, each.GetKind())
		require.Equal(t, "kfdev", each.GetLabels()["app.kubernetes.io/managed-by"])
	}
	require.Equal(t, []string{"CustomResourceDefinition", "AllowedImages", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}, kinds)
	allowed, err := policy.Parse(objects[1])
	require.NoError(t, err)
	require.Equal(t, policy.Allowed{Digests: []string{digest(1), digest(2)}}, allowed)
	actions := func(objects []*unstructured.Unstructured) []any {
		a, _, err := unstructured.NestedSlice(objects[3].Object, "spec", "validationActions")
		require.NoError(t, err)
		return a
	}
	require.Equal(t, []any{"Deny"}, actions(objects))

	again, err := policy.Objects(policy.Options{Namespaces: []string{"a", "b"}, Digests: []string{digest(1), digest(2)}})
	require.NoError(t, err)
	require.Equal(t, objects, again, "order and repetition mean nothing")

	o.Warn = true
	objects, err = policy.Objects(o)
	require.NoError(t, err)
	require.Equal(t, []any{"Warn", "Audit"}, actions(objects))
}

func TestObjectsRefuses(t *testing.T) {
	t.Parallel()
	for says, o := range map[string]policy.Options{
		"10001 images are to be allowed: at most 10000 fit": {Namespaces: []string{"a"}, Digests: digests(10_001)},
		"kube-system is never locked":                       {Namespaces: []string{"kube-system"}},
		"kube-flannel is never locked":                      {Namespaces: []string{"a", "kube-flannel"}},
		"kfdev-system is never locked":                      {Namespaces: []string{"kfdev-system"}},
		"no namespace is to be locked":                      {Digests: digests(1)},
		`"latest" is no digest`:                             {Namespaces: []string{"a"}, Digests: []string{"latest"}},
	} {
		_, err := policy.Objects(o)
		require.ErrorContains(t, err, says)
	}
	_, err := policy.Objects(policy.Options{Namespaces: []string{"a"}, Digests: digests(10_001)})
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.NotEmpty(t, fault.Hint(err))
}

func TestTheMostDigestsAreFarFromWhatEtcdTakes(t *testing.T) {
	t.Parallel()
	objects, err := policy.Objects(policy.Options{Namespaces: []string{"a"}, Digests: digests(policy.MaxDigests)})
	require.NoError(t, err)
	data, err := json.Marshal(objects[1])
	require.NoError(t, err)
	require.Less(t, len(data), 1<<20)
}

func TestBreakGlass(t *testing.T) {
	t.Parallel()
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"digests": map[string]any{},
		"breakGlass": map[string]any{
			strings.TrimPrefix(digest(2), "sha256:"): map[string]any{"reason": "r", "by": "ana", "expires": "2026-03-01T14:00:00+02:00"},
			strings.TrimPrefix(digest(1), "sha256:"): map[string]any{"reason": "q", "by": "ben", "expires": "soon"},
		},
	}}}
	a, err := policy.Parse(o)
	require.NoError(t, err)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	require.Equal(t, []policy.Entry{{Digest: digest(1), Reason: "q", By: "ben"}, {Digest: digest(2), Reason: "r", By: "ana", Expires: noon}}, a.BreakGlass)
	require.True(t, a.BreakGlass[0].Expired(noon), "a time that can't be read is past")
	require.True(t, a.BreakGlass[1].Expired(noon))
	require.False(t, a.BreakGlass[1].Expired(noon.Add(-time.Second)))

	for _, broken := range []map[string]any{
		{"spec": map[string]any{"digests": "x"}}, {"spec": map[string]any{"breakGlass": []any{}}}, {"spec": map[string]any{"breakGlass": map[string]any{"a": "x"}}},
	} {
		_, err := policy.Parse(&unstructured.Unstructured{Object: broken})
		require.Error(t, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"kfdev.dev/v1alpha1","kind":"AllowedImages","spec":{"digests":{"a":""},"breakGlass":{"a":{"expires":"2026-03-01T14:00:00Z"}}}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		o := &unstructured.Unstructured{}
		if o.UnmarshalJSON(data) == nil {
			_, _ = policy.Parse(o)
		}
	})
}
