//go:build integration

package collect

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/stack/catalog"
	"github.com/kfdev/kfdev/stack/policy"
	"github.com/kfdev/kfdev/stack/render"
)

// The server fills a definition in, and drops what is empty: the release's own
// text and what became of it have to come to one form, for every real one.
func TestIntegrationTheCatalogsKindsAreAsInTheRelease(t *testing.T) {
	t.Parallel()
	client := start(t)
	var release []*unstructured.Unstructured
	names, err := catalog.Names(catalog.Files())
	require.NoError(t, err)
	for _, name := range names {
		c, err := catalog.Component(catalog.Files(), name)
		require.NoError(t, err)
		r, err := render.Render(c, nil, nil)
		require.NoError(t, err)
		release = append(release, r.Objects...)
	}
	objects, err := policy.Objects(policy.Options{Namespaces: []string{"team"}})
	require.NoError(t, err)
	release = append(release, objects...)
	wanted := 0
	for _, o := range release {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		wanted++
		unstructured.RemoveNestedField(o.Object, "status")
		_, err := resourceOf(t, client, o).Create(t.Context(), o, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	require.Greater(t, wanted, 5)
	f, err := Collect(t.Context(), client, Options{Release: release})
	require.NoError(t, err)
	require.Len(t, f.Dimensions[fingerprint.CRDs].Items, wanted)
	for name, v := range f.Dimensions[fingerprint.CRDs].Items {
		require.Equal(t, "as in the release", v.Is, name)
	}
	require.Empty(t, f.Dimensions[fingerprint.StoredVersions].Items)
}
