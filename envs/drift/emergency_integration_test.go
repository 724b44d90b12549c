//go:build integration

package drift_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/policy"
)

// TestIntegrationAnEmergencyIsDriftAndStays: an image that is let in past the
// lock shows for as long as it is, and mending does not shut it out.
func TestIntegrationAnEmergencyIsDriftAndStays(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	digest := strings.Repeat("9", 64)
	require.NoError(t, policy.Admit(t.Context(), c.client, policy.Entry{Digest: "sha256:" + digest, Reason: "the site is down", By: "ann", Expires: time.Now().Add(time.Hour)}))
	c.at("ConfigMap", "settings").edit(t, "{data: {mode: dev}}")
	report := c.scan(t, false)
	require.Equal(t, []string{"foreign-field AllowedImages/kfdev-locked-images spec/breakGlass/" + digest, "changed ConfigMap/demo/settings data/mode"}, lines(report.Findings))
	plan := drift.PlanFix(report)
	require.Len(t, plan.Left, 1)
	_, err := c.detector.Fix(t.Context(), c.wanted, plan, open{}.fence)
	require.NoError(t, err)
	require.Equal(t, lines(report.Findings[:1]), lines(c.scan(t, true).Findings))
	require.NoError(t, policy.Withdraw(t.Context(), c.client, "sha256:"+digest))
	require.Empty(t, texts(c.scan(t, true).Findings))
}

// TestIntegrationAnEmergencyThatIsOver: an entry past its end shows as such, and
// mending takes out that one and no other; one that was given more time meanwhile
// stays.
func TestIntegrationAnEmergencyThatIsOver(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	over, good := strings.Repeat("8", 64), strings.Repeat("9", 64)
	ended, ends := time.Now().Add(-time.Hour).UTC().Truncate(time.Second), time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	admit := func(digest string, until time.Time) {
		require.NoError(t, policy.Admit(t.Context(), c.client, policy.Entry{Digest: "sha256:" + digest, Reason: "the site is down", By: "ann", Expires: until}))
	}
	admit(over, ended)
	admit(good, ends)
	report := c.scan(t, false)
	const object = "foreign-field AllowedImages/kfdev-locked-images spec/breakGlass/"
	require.Equal(t, []string{object + over, object + good}, lines(report.Findings))
	require.Equal(t, "an emergency entry has expired and lets nothing in any more. It was good until "+ended.Format(time.RFC3339)+": the site is down, said ann. Mending takes it out", report.Findings[0].Why)
	require.Equal(t, "an emergency entry lets an image in that the release does not have, until "+ends.Format(time.RFC3339)+": the site is down, says ann. It is drift until it is withdrawn", report.Findings[1].Why)
	plan := drift.PlanFix(report)
	require.Equal(t, []string{object + good}, lines(plan.Left))
	require.Len(t, plan.Steps, 1)
	require.Equal(t, []string{"spec/breakGlass/" + over}, plan.Steps[0].Remove)
	require.Empty(t, plan.Steps[0].Put)

	admit(over, ends)
	_, err := c.detector.Fix(t.Context(), c.wanted, plan, open{}.fence)
	require.Equal(t, fault.Drift, fault.KindOf(err), err)
	require.Len(t, c.scan(t, true).Findings, 2)

	admit(over, ended)
	_, err = c.detector.Fix(t.Context(), c.wanted, drift.PlanFix(c.scan(t, false)), open{}.fence)
	require.NoError(t, err)
	require.Equal(t, []string{object + good}, lines(c.scan(t, true).Findings))
	live, _, err := policy.Read(t.Context(), c.client)
	require.NoError(t, err)
	require.Len(t, live.BreakGlass, 1)
	require.Equal(t, "sha256:"+good, live.BreakGlass[0].Digest)
}
