package suite_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/catalog"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/suite"
	"github.com/kfdev/kfdev/stack/smoke/tfjob"
)

// Every smoke test that a component of the catalog names is there.
func TestTheCatalogsTestsAreThere(t *testing.T) {
	t.Parallel()
	names, err := catalog.Names(catalog.Files())
	require.NoError(t, err)
	found := map[string]bool{}
	for _, name := range names {
		c, err := catalog.Component(catalog.Files(), name)
		require.NoError(t, err)
		if c.Smoke == "" {
			continue
		}
		test, err := suite.Of(c)
		require.NoError(t, err)
		require.Equal(t, c.Smoke, test.Name())
		found[c.Smoke] = true
		if training, ok := test.(tfjob.Test); ok {
			require.Contains(t, string(training.Program), "TF_CONFIG")
		}
	}
	require.Subset(t, found, map[string]bool{"tfjob": true, "hub": true, "workflow": true})
}

func TestNoTest(t *testing.T) {
	t.Parallel()
	_, err := suite.Of(stack.Component{Name: "mine"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = suite.Of(stack.Component{Name: "mine", Smoke: "tfjobs"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, "there is none called tfjobs")
	_, err = suite.Of(stack.Component{Name: "mine", Smoke: "tfjob", Files: fstest.MapFS{}, Dir: "mine"})
	require.ErrorContains(t, err, "reading the training program")
}

// Every test says what it needs, without the component's folder at hand.
func TestNeeds(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tfjob", "hub", "workflow", "profile", "profiles"} {
		needs, err := suite.Needs(stack.Component{Name: "mine", Namespace: "of-mine", Smoke: name}, smoke.PullSecret{})
		require.NoError(t, err)
		require.NotEmpty(t, needs, name)
		for _, n := range needs {
			require.NotEmpty(t, n.Why, "%s: %s", name, n)
		}
	}
	needs, err := suite.Needs(stack.Component{Name: "mine"}, smoke.PullSecret{})
	require.NoError(t, err)
	require.Empty(t, needs, "it has no test")
	_, err = suite.Needs(stack.Component{Name: "mine", Smoke: "tfjobs"}, smoke.PullSecret{})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}
