package watch

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// From the moment before a file is closed to Next's return.
func BenchmarkSave(b *testing.B) {
	root := b.TempDir()
	for i := range 5000 {
		require.NoError(b, os.MkdirAll(fmt.Sprintf("%s/%d", root, i%500), 0o755))
		require.NoError(b, os.WriteFile(fmt.Sprintf("%s/%d/%d", root, i%500, i), nil, 0o644))
	}
	w, err := New(root, Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, w.Close()) }()
	var took, heard []time.Duration
	for i := 0; b.Loop(); i++ {
		<-time.After(30 * time.Millisecond) // quiet
		f, err := os.OpenFile(fmt.Sprintf("%s/%d/%d", root, i%500, i%5000), os.O_WRONLY|os.O_TRUNC, 0)
		require.NoError(b, err)
		_, err = f.WriteString("content")
		require.NoError(b, err)
		begin := time.Now()
		require.NoError(b, f.Close())
		batch, err := w.Next(b.Context())
		took = append(took, time.Since(begin))
		heard = append(heard, time.Since(batch.First))
		require.NoError(b, err)
		require.Len(b, batch.Paths, 1)
	}
	slices.Sort(took)
	slices.Sort(heard)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "close-p50-µs")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds()), "close-p95-µs")
	b.ReportMetric(float64(heard[len(heard)/2].Microseconds()), "read-p50-µs")
}

// 100,000 files in 10,000 folders: how long until they are watched, and what it
// takes of memory.
func BenchmarkNew100k(b *testing.B) {
	root := b.TempDir()
	for i := range 10_000 {
		dir := fmt.Sprintf("%s/%d/%d", root, i%100, i/100)
		require.NoError(b, os.MkdirAll(dir, 0o755))
		for j := range 10 {
			require.NoError(b, os.WriteFile(fmt.Sprintf("%s/file%d", dir, j), nil, 0o644))
		}
	}
	for _, poll := range []time.Duration{0, time.Hour} {
		b.Run(fmt.Sprintf("poll=%v", poll > 0), func(b *testing.B) {
			var before, after runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				w, err := New(root, Options{Poll: poll})
				require.NoError(b, err)
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				require.Equal(b, poll > 0, w.Polling())
				require.NoError(b, w.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		})
	}
}
