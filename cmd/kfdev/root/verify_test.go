package root

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/stack/running"
)

func TestVerifyTellsWhatRunsOnlyWhereItLooked(t *testing.T) {
	t.Parallel()
	for want, report := range map[string]*running.Report{
		"what runs was not compared with the lock\n":                                nil,
		"12 containers in 9 pods; 0 are not in the lock\n":                          {Pods: 9, Containers: 12},
		"12 containers in 9 pods, 2 of them not started yet; 0 are not in the lock": {Pods: 9, Containers: 12, Waiting: 2},
	} {
		var out bytes.Buffer
		require.NoError(t, verifyText(&out, envs.Verification{Running: report}))
		require.Contains(t, out.String(), want)
	}
}
