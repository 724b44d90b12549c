package plan_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a set of facts that steps bring about, with a fuse that cuts the
// run off before or after any one change, as a kill would.
type world struct {
	mu     sync.Mutex
	facts  map[string]bool
	writes int
	fuse   int // cut off at this write; 0 never
	order  []string
}

var errCut = errors.New("cut off")

func (w *world) step(id string, changes int, after ...string) plan.Step {
	missing := func() (n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := range changes {
			if !w.facts[fmt.Sprintf("%s.%d", id, i)] {
				n++
			}
		}
		return n
	}
	return plan.Step{
		ID: id, Title: id, After: after,
		Observe: func(context.Context) (plan.Work, error) {
			if n := missing(); n > 0 {
				return plan.Todo("make %d", n), nil
			}
			return plan.Nothing("all there"), nil
		},
		Act: func(context.Context) (string, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, dep := range after {
				if !w.facts[dep+".0"] {
					return "", fmt.Errorf("%s ran before %s", id, dep)
				}
			}
			for i := range changes {
				fact := fmt.Sprintf("%s.%d", id, i)
				if w.facts[fact] {
					continue
				}
				if w.writes++; w.writes == w.fuse {
					return "", errCut
				}
				w.facts[fact] = true
				w.order = append(w.order, fact)
			}
			return "made", nil
		},
	}
}

func (w *world) steps() []plan.Step {
	return []plan.Step{w.step("a", 2), w.step("b", 1), w.step("c", 3, "a", "b"), w.step("d", 1, "c")}
}

func TestRunCutOffAnywhereConvergesAndRedoesNothing(t *testing.T) {
	t.Parallel()
	const total = 7
	for fuse := 1; fuse <= total; fuse++ {
		t.Run(fmt.Sprint(fuse), func(t *testing.T) {
			t.Parallel()
			w := &world{facts: map[string]bool{}, fuse: fuse}
			_, err := plan.Run(t.Context(), w.steps(), progress.Discard)
			require.ErrorIs(t, err, errCut)
			before := len(w.order)

			w.fuse = 0
			_, err = plan.Run(t.Context(), w.steps(), progress.Discard)
			require.NoError(t, err)
			require.Len(t, w.facts, total)
			require.Len(t, w.order, total, "a fact was made twice")
			require.GreaterOrEqual(t, before, fuse-1)

			out, err := plan.Run(t.Context(), w.steps(), progress.Discard)
			require.NoError(t, err)
			for _, o := range out {
				require.Equal(t, progress.Skipped, o.State)
			}
		})
	}
}

func TestRunReportsWhatFailedAndStopsTheRest(t *testing.T) {
	t.Parallel()
	var rec progress.Recorder
	boom := errors.New("boom")
	ran := false
	steps := []plan.Step{
		{ID: "a", Title: "A", Observe: todo, Act: func(context.Context) (string, error) { return "", boom }},
		{ID: "b", Title: "B", After: []string{"a"}, Observe: todo, Act: func(context.Context) (string, error) { ran = true; return "", nil }},
		{ID: "slow", Title: "Slow", Observe: todo, Act: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}},
	}
	out, err := plan.Run(t.Context(), steps, &rec)
	require.ErrorIs(t, err, boom)
	require.NotContains(t, err.Error(), "Slow", "a step that was only stopped is not the cause")
	require.False(t, ran)
	require.Equal(t, "a", out[0].ID)
	require.Equal(t, progress.Failed, out[0].State)
}

func TestRunReturnsTheCallersCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	steps := []plan.Step{{ID: "a", Title: "A", Observe: todo, Act: func(ctx context.Context) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}}}
	_, err := plan.Run(ctx, steps, progress.Discard)
	require.ErrorIs(t, err, context.Canceled)
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]plan.Step{
		"twice":        {{ID: "a"}, {ID: "a"}},
		"unknown":      {{ID: "a", After: []string{"z"}}},
		"later":        {{ID: "a", After: []string{"b"}}, {ID: "b"}},
		"after itself": {{ID: "a", After: []string{"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Error(t, plan.Validate(steps))
		})
	}
}

func TestObserveChangesNothing(t *testing.T) {
	t.Parallel()
	w := &world{facts: map[string]bool{}}
	items, err := plan.Observe(t.Context(), w.steps())
	require.NoError(t, err)
	require.Len(t, items, 4)
	require.True(t, items[0].Work.Needed)
	require.Empty(t, w.facts)
}

func todo(context.Context) (plan.Work, error) { return plan.Todo("x"), nil }
