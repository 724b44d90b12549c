package root

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/stack/apply"
)

// A claim that is kept is told, with the way out, and is no drift.
func TestDriftTellsOfKeptClaims(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	claim := apply.Object{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "shop", Name: "models"}
	d := envs.Drifted{Environment: "prod", Report: drift.Report{Release: "sha256:one", Kept: []apply.Object{claim}}}
	require.False(t, d.Drifted())
	require.NoError(t, driftText(&out, d))
	require.Contains(t, out.String(), "no drift\n  kept: PersistentVolumeClaim/shop/models, ")
	require.Contains(t, out.String(), "kubectl delete pvc -n shop models")
}
