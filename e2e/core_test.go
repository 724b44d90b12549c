//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testCorePromoted takes the whole core stack, as it runs in dev, to a cluster of
// staging: every smoke test passes there, and the two are the same.
func testCorePromoted(t *testing.T, b *bench) {
	t.Helper()
	file := filepath.Join(b.project, "kfdev.yaml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	contexts, err := os.ReadFile(b.kubeconfig)
	require.NoError(t, err)
	toStaging(t, b)
	b.run(t, 0, "up")
	b.run(t, 0, "verify")
	t.Log(b.run(t, 0, "promote", "staging"))
	parity := decode[parityReport](t, b, 0, "diff", "dev", "staging")
	require.True(t, parity.Same)
	require.Zero(t, parity.Budget.Undeclared+parity.Budget.Unknown)
	b.run(t, 0, "drift", "staging")
	require.NotEmpty(t, decode[sitePlan](t, b, 0, "plan", "staging").InForce)

	// What comes after knows of no other environment.
	require.NoError(t, os.WriteFile(file, text, 0o600))
	require.NoError(t, os.WriteFile(b.kubeconfig, contexts, 0o600))
	b.run(t, 0, "up")
}

// toStaging makes an environment that comes after dev, and enters it into the
// project.
func toStaging(t *testing.T, b *bench) {
	t.Helper()
	staging := newPlace(t, b, "staging")
	file := filepath.Join(b.project, "kfdev.yaml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), "\nenvironments:\n")
	with := strings.Replace(string(text), "\nenvironments:\n", `
environments:
  staging:
    cluster: {context: staging}
    registry: {push: "`+staging.push+`", pull: "`+staging.pull+`"}
    after: [dev]
`, 1)
	require.NoError(t, os.WriteFile(file, []byte(with), 0o600))
}
