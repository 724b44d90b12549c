//go:build integration

package drift_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/noise"
)

type after struct {
	next http.RoundTripper
	do   func()
}

func (a after) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := a.next.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusOK && r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/deployments/web") {
		a.do()
	}
	return response, err
}

// TestIntegrationAControllerThatReportsIsNoConflict: a controller writes status
// as soon as an object changes, which is between the two writes that mend it.
func TestIntegrationAControllerThatReportsIsNoConflict(t *testing.T) {
	t.Parallel()
	c := demo(t, false)
	web := c.at("Deployment", "web")
	reports := 0
	report := func() {
		reports++
		web.patch(t, types.MergePatchType, "kube-controller-manager", fmt.Sprintf("{status: {observedGeneration: %d}}", reports), "status")
	}
	config := rest.CopyConfig(c.client.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return after{next, report} })
	client, err := kube.Connect(config)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	detector := drift.New(client, noise.Default(), progress.Discard)

	web.edit(t, `{spec: {replicas: 7, template: {spec: {containers: [{name: evil, image: "evil:latest"}]}}}}`)
	plan := drift.PlanFix(c.scan(t, false))
	report() // after the look, before the first write
	done, err := detector.Fix(t.Context(), c.wanted, plan, open{}.fence)
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.Equal(t, 3, reports)
	require.Empty(t, texts(c.scan(t, true).Findings))
}
