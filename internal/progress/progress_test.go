package progress_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/progress"
)

func TestTaskReportsStartCountAndOneEnd(t *testing.T) {
	t.Parallel()
	var rec progress.Recorder
	task := progress.Start(&rec, "a/b", "copying", 10, progress.Bytes)
	_, err := task.Write(make([]byte, 4))
	require.NoError(t, err)
	task.Add(6)
	task.Finish("copied")
	task.Fail(errors.New("too late"))

	events := rec.Events()
	require.Equal(t, progress.Started, events[0].State)
	last := events[len(events)-1]
	require.Equal(t, progress.Done, last.State)
	require.Equal(t, "copied", last.Text)
	require.EqualValues(t, 10, last.Done)
	require.Positive(t, last.Took)
	for _, e := range events {
		require.NotEqual(t, progress.Failed, e.State)
		require.Equal(t, "a/b", e.Task)
	}
}

func TestTaskIsSafeForManyGoroutines(t *testing.T) {
	t.Parallel()
	var rec progress.Recorder
	task := progress.Start(&rec, "x", "x", 0, progress.Items)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { task.Add(1) })
	}
	wg.Wait()
	task.End(errors.New("boom"))
	events := rec.Events()
	last := events[len(events)-1]
	require.Equal(t, progress.Failed, last.State)
	require.Equal(t, "boom", last.Error)
	require.EqualValues(t, 50, last.Done)
}
