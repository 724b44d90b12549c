package endpointtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	t.Parallel()
	endpointtest.Run(t, func(*testing.T) endpointtest.Side {
		m := endpointtest.NewMemory()
		return endpointtest.Side{Endpoint: m, Hand: m, Rules: func(name string) []byte { return []byte(name) }, Lose: m.Lose}
	})
}
