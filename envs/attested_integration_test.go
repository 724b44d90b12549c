//go:build integration

package envs

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// without is an engine that cannot reach one of the places: a pipeline's.
func (p *places) without(t *testing.T, place string) *Engine {
	t.Helper()
	e := p.engine(t)
	reach := e.world.Site
	e.world.Site = func(ctx context.Context, name string) (*kube.Client, error) {
		if name == place {
			return nil, errors.New("no route to host")
		}
		return reach(ctx, name)
	}
	return e
}

// Of an environment that a pipeline cannot reach, the record in a registry
// counts, and is told to be signed by nobody; without one nothing goes on.
func TestIntegrationAnEnvironmentOutOfReach(t *testing.T) {
	p := newPlaces(t)
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	require.Equal(t, fault.NotFound, fault.KindOf(p.engine(t).PublishVerification(t.Context(), "stagin")))
	require.Equal(t, fault.Gate, fault.KindOf(p.engine(t).PublishVerification(t.Context(), "staging")), "it was not verified here")
	p.upDev(t)

	_, err = p.without(t, "dev").Promote(t.Context(), "staging", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "dev: it can't be reached: ")
	require.ErrorContains(t, err, "the registry of staging has no record of it")
	for range 2 { // the second says nothing new
		require.NoError(t, p.engine(t).PublishVerification(t.Context(), "staging"))
	}
	_, err = p.without(t, "dev").Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	require.Contains(t, p.said(t), "dev can't be reached; the record in the registry of staging is taken instead, which nobody signed")

	_, err = p.without(t, "staging").Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)
	require.Contains(t, p.said(t), "staging can't be reached; the record in the registry of staging is taken instead")

	// A verification of its own is remembered, and told to those who come later.
	before := p.ledger(t, "staging").Verified.At
	v, err := p.engine(t).VerifySite(t.Context(), "staging")
	require.NoError(t, err)
	require.NotNil(t, v.Running)
	require.Empty(t, v.Running.Foreigners)
	require.True(t, p.ledger(t, "staging").Verified.At.After(before))

	// A record of another cluster than the project knows is none.
	file := filepath.Join(p.dir, "kfdev.yaml")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	uid := p.ledger(t, "staging").Cluster
	require.Contains(t, string(data), uid)
	p.project(t, strings.Replace(string(data), uid, "00000000-0000-0000-0000-000000000000", 1))
	_, err = p.without(t, "staging").Promote(t.Context(), "prod", PromoteOptions{})
	require.ErrorContains(t, err, "is of another cluster")
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.ErrorContains(t, err, "the project knows 00000000", "and another cluster is no cluster out of reach")
	require.NotContains(t, err.Error(), "can't be reached")
	p.project(t, string(data))

	// Nor is one of another release.
	p.project(t, strings.Replace(string(data), "staging: 2", "staging: 3", 1))
	p.upDev(t)
	_, err = p.without(t, "staging").Promote(t.Context(), "prod", PromoteOptions{})
	require.ErrorContains(t, err, "has no record of it")
}

// said is all that was told so far.
func (p *places) said(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(p.events.Events())
	require.NoError(t, err)
	return string(text)
}
