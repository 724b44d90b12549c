package root

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cmd/kfdev/internal/view"
	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/internal/fault"
)

func TestAPlanTellsItsBytes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, sitePlanText(&out, envs.SitePlan{Environment: "prod", Bytes: 27_000_900, Images: []envs.PlannedImage{
		{From: "a@sha256:1", To: "r/a@sha256:1", Size: 27_000_000}, {From: "b@sha256:2", To: "r/b@sha256:2", Size: 900},
	}}))
	require.Contains(t, out.String(), "a@sha256:1 to r/a@sha256:1, 27.0 MB\n")
	require.Contains(t, out.String(), "b@sha256:2 to r/b@sha256:2, 900 B\n")
	require.Contains(t, out.String(), "2 images to copy: 27.0 MB")
}

// A plan is shown whatever is in its way; into its file comes only one that can
// be carried out.
func TestAPlanThatCannotBeCarriedOut(t *testing.T) {
	t.Parallel()
	conflict := &fault.Error{Op: "promoting to", Subject: "prod", Kind: fault.Gate, Err: &fault.Error{Kind: fault.Drift, Subject: "Deployment/a/b"}}
	expired := []envs.ExpiredDifference{{ID: "replicas", Owner: "ana@example.com", Expires: "2020-01-31"}}
	for name, tc := range map[string]struct {
		plan    envs.SitePlan
		refused error
		exit    int
		told    []string
	}{
		"nothing to do":    {envs.SitePlan{Environment: "prod", Release: "r", InForce: "r"}, nil, 0, nil},
		"changes":          {envs.SitePlan{Environment: "prod", Release: "r"}, nil, 6, nil},
		"a conflict":       {envs.SitePlan{Environment: "prod", Release: "r"}, conflict, 8, []string{"Deployment/a/b"}},
		"expired":          {envs.SitePlan{Environment: "prod", Release: "r", InForce: "r", Expired: expired}, nil, 8, []string{"replicas", "ana@example.com"}},
		"expired and more": {envs.SitePlan{Environment: "prod", Release: "r", Expired: expired}, conflict, 8, []string{"Deployment/a/b", "ana@example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "prod.plan")
			var out bytes.Buffer
			a := &app{streams: Streams{Out: &out, Err: &bytes.Buffer{}}, format: view.Text}
			err := planned(a, tc.plan, file, tc.refused)
			require.Equal(t, tc.exit, fault.ExitCode(err), "%v", err)
			require.Contains(t, out.String(), "prod: release r")
			if tc.plan.Expired != nil {
				require.Contains(t, out.String(), "the difference replicas, on 2020-01-31; its owner is ana@example.com\n")
			}
			for _, text := range tc.told {
				require.ErrorContains(t, err, text)
			}
			_, there := os.Stat(file)
			require.Equal(t, tc.exit == 8, os.IsNotExist(there))
			if tc.exit == 8 {
				require.ErrorContains(t, err, file+": it can't be carried out, so it is not written: ")
				require.Equal(t, 8, fault.ExitCode(planned(a, tc.plan, "", tc.refused)), "without a file too")
			}
		})
	}
}
