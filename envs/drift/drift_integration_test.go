//go:build integration

package drift_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/policy"
)

func demo(t *testing.T, controllers bool) *cluster {
	t.Helper()
	c := environment(t, controllers)
	// As the Profile controller makes it of the profile.
	c.create(t, "{apiVersion: v1, kind: Namespace, metadata: {name: team-a, annotations: {owner: ann@example.com}}}")
	var digests []string
	for digest := range allowed() {
		digests = append(digests, digest.String())
	}
	locked, err := policy.Objects(policy.Options{Namespaces: []string{"demo", "team-a"}, Digests: digests, Warn: true})
	require.NoError(t, err)
	c.wanted = drift.Wanted{Release: "sha256:one", Profiles: "profiles", Images: allowed(), Sets: []apply.Set{
		{Name: "demo", Namespace: "demo", Objects: load(t, "base.yaml")},
		{Name: "profiles", Objects: load(t, "profiles.yaml")},
		{Name: "policy", Objects: locked},
	}}
	c.apply(t)
	profile, err := c.resource(t, "kubeflow.org/v1", "Profile", "").Get(t.Context(), "team-a", metav1.GetOptions{})
	require.NoError(t, err)
	owner := "ownerReferences: [{apiVersion: kubeflow.org/v1, kind: Profile, name: team-a, uid: " + string(profile.GetUID()) + ", controller: true}]"
	c.create(t, "{apiVersion: v1, kind: ResourceQuota, metadata: {name: kf-resource-quota, namespace: team-a, "+owner+"}, spec: {hard: {pods: \"10\"}}}")
	c.create(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default-editor, namespace: team-a, "+owner+"}}")
	for name, role := range map[string]string{"namespaceAdmin": "kubeflow-admin", "default-editor": "kubeflow-edit"} {
		c.create(t, "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: "+name+", namespace: team-a, "+owner+"}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "+role+"}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: ann@example.com}]}")
	}
	return c
}

// TestIntegrationEveryDifference: one thing is done to an environment that is
// as the release says, and found, with its path and nothing else, by a scan
// with a baseline and by one without. What can be mended is, and then nothing
// is found.
func TestIntegrationEveryDifference(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	report, err := c.detector.Settle(t.Context(), c.wanted)
	require.NoError(t, err)
	require.Empty(t, texts(report.Findings))
	started := time.Now()
	report = c.scan(t, false)
	require.Empty(t, texts(report.Findings))
	require.Equal(t, "used", report.Baseline)
	require.Zero(t, report.Read, "everything is as the baseline has it")
	t.Log("scan with a baseline: ", time.Since(started))

	cases := differences()
	require.GreaterOrEqual(t, len(cases), 40)
	for _, tc := range cases {
		t.Run(strings.ReplaceAll(tc.what, " ", "-"), func(t *testing.T) {
			tc.do(t, c)
			report := c.scan(t, false)
			full := c.scan(t, true)
			c.mend(t, report)
			after := c.scan(t, true)
			require.Equal(t, sorted(tc.want), sorted(lines(report.Findings)), "%s", strings.Join(texts(report.Findings), "\n"))
			require.Equal(t, lines(report.Findings), lines(full.Findings), "a full scan finds the same")
			require.Empty(t, texts(after.Findings), "mended")
		})
	}
}

// mend fixes what a scan found, foreign objects by name; running pods go as
// those who made them would let them go.
func (c *cluster) mend(t *testing.T, report drift.Report) {
	t.Helper()
	var named []apply.Object
	for _, f := range report.Findings {
		if f.Class == drift.ForeignObject {
			named = append(named, f.Object)
		}
	}
	plan := drift.PlanFix(report, named...)
	_, err := c.detector.Fix(t.Context(), c.wanted, plan, open{}.fence)
	if err != nil {
		t.Error(err) // and go on, so that what is left is said as well
	}
	now := int64(0)
	pods := c.resource(t, "v1", "Pod", "demo")
	require.NoError(t, pods.DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}))
}

func sorted(lines []string) []string {
	lines = slices.Clone(lines)
	slices.Sort(lines)
	return lines
}
