//go:build integration

package drift_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/stack/apply"
)

func TestIntegrationDrift(t *testing.T) {
	t.Parallel()
	c := environment(t, false)
	c.wanted = drift.Wanted{Release: "sha256:one", Profiles: "profiles", Sets: []apply.Set{
		{Name: "demo", Namespace: "demo", Objects: load(t, "base.yaml")},
	}}
	c.apply(t)
	started := time.Now()
	report := c.scan(t, true)
	t.Log(time.Since(started), report.Objects, report.Read)
	require.Empty(t, texts(report.Findings))
}
