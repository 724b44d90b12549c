package envs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
)

const devWithSecrets = onlyStorage + `environments:
  dev:
    secrets:
      - {namespace: kubeflow, name: object-store, keys: {access: {env: ACCESS}, secret: {file: dev.secret}}}
`

// TestDevGetsTheSecretsThatItNeeds: up refuses to begin without the values,
// writes them, writes them again when they change, and leaves them where a later
// shell does not have them.
func TestDevGetsTheSecretsThatItNeeds(t *testing.T) {
	t.Parallel()
	b := newBench(t, devWithSecrets)
	_, err := b.up(t)
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.ErrorContains(t, err, "kubeflow/object-store, key access: the variable ACCESS is not set")
	require.ErrorContains(t, err, "key secret: ")
	require.Empty(t, b.secrets)
	require.Empty(t, b.clusters.Calls(), "nothing is begun")

	b.env = map[string]string{"ACCESS": "one"}
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "dev.secret"), []byte("two"), 0o600))
	_, err = b.up(t)
	require.NoError(t, err)
	require.Len(t, b.secrets, 1)
	for _, data := range b.secrets {
		require.Equal(t, map[string][]byte{"access": []byte("one"), "secret": []byte("two")}, data)
	}
	require.NotContains(t, b.said(), "two")
	b.unchanged(t)

	b.env["ACCESS"] = "another"
	b.revive(0)
	_, err = b.up(t)
	require.NoError(t, err)
	require.Equal(t, []string{"secret object-store"}, b.written())
	b.unchanged(t)

	delete(b.env, "ACCESS")
	b.unchanged(t)

	// One that has to be there is waited for by nobody.
	b.project(t, onlyStorage+"environments: {dev: {secrets: [{namespace: kubeflow, name: theirs}]}}\n")
	_, err = b.up(t)
	require.Equal(t, fault.Preflight, fault.KindOf(err))
}
