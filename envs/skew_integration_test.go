//go:build integration

package envs

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/fingerprint"
)

// Production runs an older Kubernetes than staging: the same release is promoted
// there, and the difference is seen, until it is declared.
func TestIntegrationAnOlderKubernetes(t *testing.T) {
	p := newPlacesOf(t, threePlaces, "dev", "staging", "prod@1.33")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.upDev(t)
	for _, name := range []string{"staging", "prod"} {
		_, err := p.engine(t).Promote(t.Context(), name, PromoteOptions{})
		require.NoError(t, err)
		p.inform(t, name, "6.1.0")
		found, err := p.engine(t).Drift(t.Context(), name, DriftOptions{Full: true})
		require.NoError(t, err)
		require.Empty(t, found.Findings, "%s", name)
	}
	parity, err := p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.Empty(t, parity.Configuration[1:], "%+v", parity.Configuration)
	emulation := func(parity Parity) fingerprint.Finding {
		for _, f := range parity.Environment {
			if f.Dimension == fingerprint.Emulation {
				return f
			}
		}
		require.Fail(t, "the emulated version is not told", "%+v", parity.Environment)
		return fingerprint.Finding{}
	}
	found := emulation(parity)
	require.False(t, found.Allowed)
	p.project(t, p.text(threePlaces)+fmt.Sprintf(`  - id: older
    paths: [fingerprint/kubernetes.emulation-version]
    allow: {enum: [%q, %q]}
    values: {prod: %[2]q}
    default: %[1]q
    reason: prod is upgraded in January
    owner: ana
`, found.A.Is, found.B.Is))
	parity, err = p.engine(t).Diff(t.Context(), "staging", "prod")
	require.NoError(t, err)
	require.True(t, emulation(parity).Allowed)
	require.Equal(t, "older", emulation(parity).Entry)
}
