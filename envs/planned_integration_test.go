//go:build integration

package envs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/internal/fault"
)

// stagingOnly are the places of threePlaces without what would have to come before.
func stagingOnly(t *testing.T) *places {
	t.Helper()
	p := newPlacesOf(t, strings.Replace(threePlaces, "after: [dev]", "", 1), "staging")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	return p
}

// A plan is no way around the lock: one of the project's own release is carried
// out only where the lock is still the project's and makes that release, though
// the registry has it. One of a release that was named needs neither.
func TestIntegrationAPlanNeedsTheLock(t *testing.T) {
	t.Parallel()
	p := stagingOnly(t)
	first, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err, "from now on the registry has it")
	own, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	require.Equal(t, first.Release, own.Release)
	require.False(t, own.Named)
	named, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{Release: first.Release})
	require.NoError(t, err)
	require.True(t, named.Named)

	file, err := os.ReadFile(filepath.Join(p.dir, "kfdev.yaml"))
	require.NoError(t, err)
	written, err := os.ReadFile(filepath.Join(p.dir, lock.FileName))
	require.NoError(t, err)
	before := p.ledger(t, "staging")
	refused := func(text string) {
		t.Helper()
		_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, own)})
		require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
		require.ErrorContains(t, err, text)
		require.Equal(t, before, p.ledger(t, "staging"))
		done, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, named)})
		require.NoError(t, err)
		require.Equal(t, first.Release, done.Release)
		before = p.ledger(t, "staging")
	}

	require.NoError(t, os.Remove(filepath.Join(p.dir, lock.FileName)))
	refused("the lock is not the project's any more")
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err), "without a plan it is no other")
	_, err = p.engine(t).Promote(t.Context(), "nowhere", PromoteOptions{})
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)

	require.NoError(t, os.WriteFile(filepath.Join(p.dir, lock.FileName), written, 0o600))
	p.project(t, strings.Replace(string(file), "components: {extra: {enabled: true}}", "components: {}", 1))
	refused("the lock is not the project's any more")

	p.project(t, strings.Replace(string(file), "staging: 2", "staging: 3", 1))
	refused("the project makes sha256:")

	p.project(t, string(file))
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, own)})
	require.NoError(t, err)
}
