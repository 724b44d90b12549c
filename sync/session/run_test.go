package session_test

import (
	"context"
	"io"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/session"
)

// longRun is a connection whose first command runs until the connection breaks.
type longRun struct {
	session.Link
	began chan struct{}
	runs  *atomic.Int32
}

func (l longRun) Run(ctx context.Context, _ []string, _ string, _, _ io.Writer) (int, error) {
	if l.runs.Add(1) == 1 {
		close(l.began)
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return 0, nil
}

func TestOnChangeRunsAgainAfterALostConnection(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.config.OnChange = []string{"pytest", "-q"}
	began, runs := make(chan struct{}), atomic.Int32{}
	p.config.Connect = func(ctx context.Context, rules []byte, say func(string)) (session.Link, error) {
		l, err := p.connect(ctx, rules, say)
		return longRun{l, began, &runs}, err
	}
	p.write(p.local, "a", "1")
	s, _ := p.start()
	<-began
	p.mu.Lock()
	require.NoError(t, p.conn.Close())
	p.mu.Unlock()
	p.status(s, func(st session.Status) bool { return inSync(st) && runs.Load() == 2 })
	p.mu.Lock()
	lost := slices.ContainsFunc(p.events, func(e session.Event) bool {
		return e.Kind == session.RunEvent && e.Run.Lost
	})
	p.mu.Unlock()
	require.True(t, lost, "what became of the first run is told")
	p.write(p.local, "a", "2")
	p.eventually(func() bool { return runs.Load() == 3 }, "a run for the edit")
	st := p.status(s, func(st session.Status) bool { return st.LastRun.Error == "" })
	require.Zero(t, st.LastRun.Code)
}
