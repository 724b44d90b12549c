//go:build e2e && bench

package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestParityBench takes the whole core stack from dev to a cluster of staging,
// and measures what comparing the two takes, and a promotion with nothing to do.
func TestParityBench(t *testing.T) {
	sweep(t)
	t.Cleanup(func() { sweepAfter(t) })
	b := newBench(t)
	require.NoError(t, os.WriteFile(b.kubeconfig, []byte(othersKubeconfig), 0o600))
	b.run(t, 0, "init", b.project, "--origin", "source")
	b.run(t, 0, "lock")
	b.run(t, 0, "up")
	toStaging(t, b)
	b.run(t, 0, "up")
	b.run(t, 0, "verify")
	f := &figures{}
	took := func(what string, code int, args ...string) {
		start := time.Now()
		out := b.run(t, code, args...)
		f.add(t, what, "kfdev "+strings.Join(args, " "), time.Since(start).Round(10*time.Millisecond).String())
		t.Log(out)
	}
	took("a first promotion of core, with its smoke tests", 0, "promote", "staging")
	for range 5 {
		took("dev and staging compared", 0, "diff", "dev", "staging")
	}
	for range 3 {
		took("nothing to do, as planned", 0, "plan", "staging")
		took("nothing drifted", 0, "drift", "staging")
	}
	took("a promotion with nothing to do, with its smoke tests", 0, "promote", "staging")
	f.write(t)
}
