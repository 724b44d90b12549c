package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	drift := &fault.Error{Op: "checking the lock", Kind: fault.Drift, Err: errors.New("would change")}
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"none":                    {nil, 0},
		"plain":                   {errors.New("x"), 1},
		"usage":                   {&fault.Error{Kind: fault.Usage}, 2},
		"partial":                 {&fault.Error{Kind: fault.Partial}, 3},
		"preflight":               {&fault.Error{Kind: fault.Preflight}, 4},
		"not found":               {&fault.Error{Kind: fault.NotFound}, 5},
		"drift":                   {drift, 6},
		"timeout":                 {&fault.Error{Kind: fault.Timeout}, 7},
		"gate":                    {&fault.Error{Kind: fault.Gate}, 8},
		"interrupted":             {&fault.Error{Kind: fault.Canceled}, 130},
		"wrapped":                 {fmt.Errorf("up: %w", drift), 6},
		"joined":                  {errors.Join(errors.New("a"), drift), 6},
		"failure around a kind":   {&fault.Error{Op: "up", Err: drift}, 6},
		"a context's cancel":      {fmt.Errorf("x: %w", context.Canceled), 130},
		"a context's deadline":    {fmt.Errorf("x: %w", context.DeadlineExceeded), 7},
		"a kind beats a deadline": {&fault.Error{Kind: fault.Preflight, Err: context.DeadlineExceeded}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, fault.ExitCode(tc.err))
		})
	}
}

func TestErrorAndHints(t *testing.T) {
	t.Parallel()
	inner := &fault.Error{Op: "opening", Subject: "kfdev.lock", Hint: "run kfdev lock", Err: errors.New("no such file")}
	outer := &fault.Error{Op: "starting the stack", Hint: "see kfdev doctor", Err: fmt.Errorf("again: %w", inner)}
	require.Equal(t, "starting the stack: again: opening: kfdev.lock: no such file", outer.Error())
	require.Equal(t, []string{"see kfdev doctor", "run kfdev lock"}, fault.Hint(outer))
	require.Empty(t, fault.Hint(errors.New("x")))
}
