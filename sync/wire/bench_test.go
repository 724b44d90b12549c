package wire

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/tree"
)

// BenchmarkEdit is one changed file of 4 KiB, from Apply to its outcome.
func BenchmarkEdit(b *testing.B) {
	pod, laptop := newFolder(), newFolder()
	r := pipe(b, pod)
	from := tree.Entry{}
	i := 0
	before := r.Traffic().Sent
	for b.Loop() {
		i++
		laptop.write("f", content4K(i))
		to := laptop.tree.Get("f")
		o, err := r.Apply(b.Context(), []tree.Change{{Path: "f", From: from, To: to}}, laptop)
		require.NoError(b, err)
		require.True(b, o[0].Done)
		from = to
	}
	b.ReportMetric(float64(r.Traffic().Sent-before)/float64(i), "wireB/op")
}

// BenchmarkNotice is one changed file of 4 KiB in the pod, from the endpoint's
// Next to the Remote's.
func BenchmarkNotice(b *testing.B) {
	pod := newFolder()
	r := pipe(b, pod)
	_, err := r.Scan(b.Context())
	require.NoError(b, err)
	data := content4K(1)
	for b.Loop() {
		pod.edit("f", data, true)
		_, err := r.Next(b.Context())
		require.NoError(b, err)
	}
}

// BenchmarkFirstSync is 5,000 files of 4 KiB in one batch.
func BenchmarkFirstSync(b *testing.B) {
	laptop := newFolder()
	for i := range 5000 {
		laptop.write(fmt.Sprintf("pkg%d/module%d.py", i%50, i), content4K(i))
	}
	changes := creations(laptop)
	for b.Loop() {
		pod := newFolder()
		r := pipe(b, pod)
		_, err := r.Apply(b.Context(), changes, laptop)
		require.NoError(b, err)
		require.NoError(b, r.Close())
		b.ReportMetric(float64(r.Traffic().Sent), "wireB/op")
	}
}

// BenchmarkScan is the tree of 100,000 files.
func BenchmarkScan(b *testing.B) {
	pod := newFolder()
	for i := range 100_000 {
		pod.must(pod.tree.Put(fmt.Sprintf("file-%d.txt", i), fileEntry(fmt.Append(nil, i))))
	}
	r := pipe(b, pod)
	for b.Loop() {
		_, err := r.Scan(b.Context())
		require.NoError(b, err)
	}
}
