package folder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/watch"
)

// said is a watcher that says what a test says.
type said struct{ batches chan watch.Batch }

func (s said) Next(ctx context.Context) (watch.Batch, error) {
	select {
	case b := <-s.batches:
		return b, nil
	case <-ctx.Done():
		return watch.Batch{}, ctx.Err()
	}
}
func (said) SetSkip(func(string, bool) bool) error { return nil }
func (said) Polling() bool                         { return false }
func (said) Notes() []string                       { return nil }
func (said) Close() error                          { return nil }

func newSaid() said { return said{batches: make(chan watch.Batch)} }

func (s said) open(string, watch.Options) (watcher, error) { return s, nil }

// content4K is the content of file i in its version.
func content4K(i, version int) []byte {
	data := make([]byte, 4<<10)
	for j := range data {
		data[j] = "abcdefghijklmnop"[(i>>(j%20)+version*j+j/16)&15]
	}
	return data
}

func filePath(i int) string { return fmt.Sprintf("dir%03d/file%05d.py", i/100, i) }

// plant makes n files of 4 KB.
func plant(tb testing.TB, root string, n int) {
	tb.Helper()
	for i := range n {
		full := filepath.Join(root, filePath(i))
		if i%100 == 0 {
			require.NoError(tb, os.MkdirAll(filepath.Dir(full), 0o755))
		}
		require.NoError(tb, os.WriteFile(full, content4K(i, 0), 0o644))
	}
}

func openBench(tb testing.TB, o Options) *Folder {
	tb.Helper()
	f, err := Open(tb.Context(), o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, f.Close()) })
	return f
}

// BenchmarkSaveToNext is one 4 KB file saved in a tree of 5,000, from the
// watcher's word to Next's.
func BenchmarkSaveToNext(b *testing.B) {
	root := b.TempDir()
	plant(b, root, 5000)
	w := newSaid()
	f := openBench(b, Options{Root: root, watch: w.open})
	_, err := f.Scan(b.Context())
	require.NoError(b, err)
	version := 0
	for b.Loop() {
		b.StopTimer()
		version++
		path := filePath(version * 37 % 5000)
		require.NoError(b, os.WriteFile(filepath.Join(root, path), content4K(0, version), 0o644))
		b.StartTimer()
		w.batches <- watch.Batch{Paths: []string{path}, First: time.Now()}
		if _, err := f.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSaveToNextWatching is the same with the system's own word.
func BenchmarkSaveToNextWatching(b *testing.B) {
	root := b.TempDir()
	plant(b, root, 5000)
	f := openBench(b, Options{Root: root})
	_, err := f.Scan(b.Context())
	require.NoError(b, err)
	version := 0
	for b.Loop() {
		version++
		if err := os.WriteFile(filepath.Join(root, filePath(version*37%5000)), content4K(0, version), 0o644); err != nil {
			b.Fatal(err)
		}
		if _, err := f.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApplyOne is one 4 KB file that replaces another in a tree of 5,000.
func BenchmarkApplyOne(b *testing.B) {
	root := b.TempDir()
	plant(b, root, 5000)
	f := openBench(b, Options{Root: root, watch: newSaid().open})
	_, err := f.Scan(b.Context())
	require.NoError(b, err)
	now := content4K(0, 0)
	version := 0
	for b.Loop() {
		b.StopTimer()
		version++
		to := content4K(0, version)
		from := endpointtest.NewMemory()
		from.Write(b, filePath(0), to, false)
		c := tree.Change{Path: filePath(0), From: endpointtest.FileEntry(now, false), To: endpointtest.FileEntry(to, false)}
		now = to
		b.StartTimer()
		outcomes, err := f.Apply(b.Context(), []tree.Change{c}, from)
		if err != nil || outcomes[0].Err != nil {
			b.Fatal(err, outcomes)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	for _, n := range []int{5000, 100_000} {
		root := b.TempDir()
		plant(b, root, n)
		b.Run(fmt.Sprintf("%d/cold", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				require.NoError(b, os.RemoveAll(filepath.Join(root, endpoint.StateDir)))
				b.StartTimer()
				scanOnce(b, root, n)
			}
		})
		b.Run(fmt.Sprintf("%d/warm", n), func(b *testing.B) {
			for b.Loop() {
				scanOnce(b, root, n)
			}
		})
	}
}

// scanOnce is what a session does when it starts, without the watcher.
func scanOnce(b *testing.B, root string, n int) {
	b.Helper()
	f, err := Open(b.Context(), Options{Root: root, watch: newSaid().open})
	require.NoError(b, err)
	t, err := f.Scan(b.Context())
	require.NoError(b, err)
	require.Greater(b, t.Len(), n)
	b.StopTimer()
	require.NoError(b, f.Close())
	b.StartTimer()
}

func BenchmarkApply5000(b *testing.B) {
	from := endpointtest.NewMemory()
	changes := []tree.Change{}
	for i := range 5000 {
		if i%100 == 0 {
			changes = append(changes, tree.Change{Path: tree.Parent(filePath(i)), To: tree.Entry{Kind: tree.Dir}})
		}
		data := content4K(i, 0)
		from.Write(b, filePath(i), data, false)
		changes = append(changes, tree.Change{Path: filePath(i), To: endpointtest.FileEntry(data, false)})
	}
	for b.Loop() {
		b.StopTimer()
		root := b.TempDir()
		f, err := Open(b.Context(), Options{Root: root, watch: newSaid().open})
		require.NoError(b, err)
		_, err = f.Scan(b.Context())
		require.NoError(b, err)
		b.StartTimer()
		outcomes, err := f.Apply(b.Context(), changes, from)
		b.StopTimer()
		require.NoError(b, err)
		for _, o := range outcomes {
			require.NoError(b, o.Err)
		}
		require.NoError(b, f.Close())
		b.StartTimer()
	}
}

// BenchmarkCopy5000 is BenchmarkApply5000 from another folder.
func BenchmarkCopy5000(b *testing.B) {
	here := b.TempDir()
	plant(b, here, 5000)
	from := openBench(b, Options{Root: here, watch: newSaid().open})
	t, err := from.Scan(b.Context())
	require.NoError(b, err)
	changes := []tree.Change{}
	require.NoError(b, t.WalkBelow("", func(path string, e tree.Entry) error {
		if path != "" {
			changes = append(changes, tree.Change{Path: path, To: e})
		}
		return nil
	}))
	for b.Loop() {
		b.StopTimer()
		to, err := Open(b.Context(), Options{Root: b.TempDir(), watch: newSaid().open})
		require.NoError(b, err)
		_, err = to.Scan(b.Context())
		require.NoError(b, err)
		b.StartTimer()
		outcomes, err := to.Apply(b.Context(), changes, from)
		b.StopTimer()
		require.NoError(b, err)
		for _, o := range outcomes {
			require.NoError(b, o.Err)
		}
		require.NoError(b, to.Close())
		b.StartTimer()
	}
}

// BenchmarkLarge is one byte changed in 256 MB, from one folder to another.
func BenchmarkLarge(b *testing.B) {
	const size = 256 << 20
	here, there := b.TempDir(), b.TempDir()
	data := make([]byte, size)
	for i := 0; i < size; i += 8 {
		x := uint64(i) * 0x9e3779b97f4a7c15
		x ^= x >> 29
		for j := range 8 {
			data[i+j] = byte(x >> (8 * j))
		}
	}
	for _, root := range []string{here, there} {
		require.NoError(b, os.WriteFile(filepath.Join(root, "large"), data, 0o644))
	}
	from := openBench(b, Options{Root: here})
	to := openBench(b, Options{Root: there, watch: newSaid().open, TrashBatches: 2})
	t, err := from.Scan(b.Context())
	require.NoError(b, err)
	_, err = to.Scan(b.Context())
	require.NoError(b, err)
	now, version := t.Get("large"), 0
	var sent int
	for b.Loop() {
		version++
		file, err := os.OpenFile(filepath.Join(here, "large"), os.O_WRONLY, 0)
		require.NoError(b, err)
		_, err = file.WriteAt([]byte{byte(version)}, size/2)
		require.NoError(b, err)
		require.NoError(b, file.Close())
		updates, err := from.Next(b.Context())
		require.NoError(b, err)
		c := tree.Change{Path: "large", From: now, To: updates[len(updates)-1].Entry}
		counted := &counting{Fetcher: from}
		outcomes, err := to.Apply(b.Context(), []tree.Change{c}, counted)
		require.NoError(b, err)
		require.NoError(b, outcomes[0].Err)
		now, sent = c.To, counted.bytes
	}
	require.Less(b, sent, 4*chunk.MaxSize)
	b.ReportMetric(float64(sent), "sent-B/op")
}

// counting counts the bytes that are sent.
type counting struct {
	endpoint.Fetcher
	bytes int
}

func (c *counting) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	return c.Fetcher.Fetch(ctx, wants, func(i int, p endpoint.Piece) error {
		c.bytes += len(p.Data)
		return put(i, p)
	})
}

// BenchmarkPlain5000 is what the file system alone takes for the files of
// BenchmarkApply5000.
func BenchmarkPlain5000(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		root := b.TempDir()
		b.StartTimer()
		plant(b, root, 5000)
	}
}
