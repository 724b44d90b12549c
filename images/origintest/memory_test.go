package origintest_test

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	origintest.Run(t, "registry.example/team/app", func(_ *testing.T, f origintest.Fixture) origintest.Subject {
		m := origintest.NewMemory().Fill(f)
		return origintest.Subject{Origin: m, Kind: images.FromRegistry, Damage: func(d v1.Hash, change func([]byte) []byte) {
			m.Damage(f.Repository, d, change)
		}}
	})
}
