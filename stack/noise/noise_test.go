package noise_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/stack/noise"
)

func TestTheRulesThatAreBuiltIn(t *testing.T) {
	t.Parallel()
	rules := noise.Default().List()
	require.Greater(t, len(rules), 60)
	for _, r := range rules {
		require.NotEmpty(t, r.Reason, r.Name)
	}
}
