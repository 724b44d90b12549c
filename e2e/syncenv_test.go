//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
)

// syncEnvironments syncs with the pod of another environment than dev: only
// where kfdev.yaml allows it, and with production only where it says so in so
// many words. The environments are the same cluster by other names.
func syncEnvironments(t *testing.T, s *synced) {
	t.Helper()
	one := makeSmall(t, s, "elsewhere")
	one.bench = otherContexts(t, s.bench, "e2e-staging", "e2e-prod")
	config := filepath.Join(s.bench.project, "kfdev.yaml")
	before := readFile(t, config)
	t.Cleanup(func() { require.NoError(t, os.WriteFile(config, []byte(before), 0o644)) })
	session := []string{"sync", one.local + ":pod/elsewhere:/small/src", "-n", one.namespace, "-d", "--env"}
	for _, each := range []struct {
		staging, prod string // what they say of sync
		env           string
		code          int
		says          string
	}{
		{"", "", "staging", 8, "kfdev.yaml does not allow it"},
		{"sync: {allow: true}", "", "staging", 0, ""},
		{"sync: {allow: true}", "", "prod", 8, "changesRunningProductionCode"},
		{"", "sync: {allow: true}", "prod", 2, "allow alone is not enough"},
		{"", "sync: {allow: true, changesRunningProductionCode: true}", "prod", 0, ""},
		{"", "", "stage", 5, "staging"},
	} {
		lines := "environments:\n" +
			"  staging:\n    cluster: {context: e2e-staging}\n    after: [dev]\n    " + each.staging + "\n" +
			"  prod:\n    cluster: {context: e2e-prod}\n    after: [staging]\n    " + each.prod + "\n"
		with := strings.Replace(before, "\nenvironments:\n", "\n"+lines, 1)
		require.NotEqual(t, before, with, "the starter's file has environments")
		require.NoError(t, os.WriteFile(config, []byte(with), 0o644))
		if each.code != 0 {
			refused := one.bench.try(t, append(slices.Clone(session), each.env)...)
			require.Equal(t, each.code, refused.code, refused.stderr)
			require.Contains(t, refused.stderr, each.says)
			one.sh(t, "! test -e /small/src")
			continue
		}
		one.begin(t, 0, "pod/elsewhere", "/small/src", "--env", each.env)
		require.True(t, strings.HasSuffix(one.name, "."+each.env), one.name)
		one.has(t, "/small/src/kept", "from the beginning")
		one.bench.run(t, 0, "sync", "stop", one.name)
		one.sh(t, "rm -r /small/src")
	}
}

// otherContexts is the bench with a kubeconfig of its own, which reaches the
// cluster by other names, too.
func otherContexts(t *testing.T, b *bench, names ...string) *bench {
	t.Helper()
	kubeconfig, err := clientcmd.LoadFromFile(b.kubeconfig)
	require.NoError(t, err)
	for _, name := range names {
		kubeconfig.Contexts[name] = kubeconfig.Contexts[b.context()]
	}
	other := *b
	other.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*kubeconfig, other.kubeconfig))
	other.env = append(slices.Clone(b.env), "KUBECONFIG="+other.kubeconfig) // the last one counts
	return &other
}
