package chunk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/chunk"
)

const goldenCuts = "3e453b1f94f654ad8c8fec94f558e5b5203911a0b211460dbffac3cbcfe6af12"

func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
	return data
}

// cut returns the chunks of data after it has seen that they are all of it.
func cut(tb testing.TB, r io.Reader, data []byte) []chunk.Chunk {
	tb.Helper()
	var chunks []chunk.Chunk
	var joined []byte
	require.NoError(tb, chunk.Cut(r, func(c chunk.Chunk, b []byte) error {
		require.Equal(tb, int64(len(joined)), c.Offset)
		require.Len(tb, b, c.Size)
		require.Equal(tb, chunk.ID(sha256.Sum256(b)), c.ID)
		chunks = append(chunks, c)
		joined = append(joined, b...)
		return nil
	}))
	require.True(tb, bytes.Equal(data, joined))
	for i, c := range chunks {
		require.LessOrEqual(tb, c.Size, chunk.MaxSize)
		if i < len(chunks)-1 {
			require.GreaterOrEqual(tb, c.Size, chunk.MinSize)
		}
	}
	return chunks
}

func TestCutIsTheSameHoweverItIsRead(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, chunk.MinSize - 1, chunk.MinSize, chunk.MinSize + 1, chunk.MaxSize, chunk.MaxSize + 1, 5<<20 + 17} {
		data := random(n, 1)
		whole := cut(t, bytes.NewReader(data), data)
		require.Equal(t, whole, cut(t, iotest.HalfReader(bytes.NewReader(data)), data))
		require.Equal(t, whole, cut(t, iotest.DataErrReader(bytes.NewReader(data)), data))
		if n == 0 {
			require.Empty(t, whole)
		}
	}
}

// The cuts are part of the protocol: helpers of one version and laptops of
// another must agree on them.
func TestCutsNeverChange(t *testing.T) {
	t.Parallel()
	data := random(8<<20, 2)
	sum := sha256.New()
	chunks := cut(t, bytes.NewReader(data), data)
	for _, c := range chunks {
		sum.Write(c.ID[:])
	}
	require.Equal(t, goldenCuts, hex.EncodeToString(sum.Sum(nil)))
	average := len(data) / len(chunks)
	require.InDelta(t, chunk.AverageSize, average, chunk.AverageSize/3)
}

func TestAChangeMovesFewBytes(t *testing.T) {
	t.Parallel()
	data := random(8<<20, 3)
	have := map[chunk.ID]bool{}
	for _, c := range cut(t, bytes.NewReader(data), data) {
		have[c.ID] = true
	}
	middle := len(data) / 2
	changed := bytes.Clone(data)
	changed[middle] ^= 1
	for name, other := range map[string][]byte{
		"one byte changed":  changed,
		"one byte inserted": append(append(bytes.Clone(data[:middle]), 'x'), data[middle:]...),
		"one byte removed":  append(bytes.Clone(data[:middle]), data[middle+1:]...),
		"put before":        append([]byte("before"), data...),
	} {
		moved := 0
		for _, c := range cut(t, bytes.NewReader(other), other) {
			if !have[c.ID] {
				moved += c.Size
			}
		}
		require.Positive(t, moved, name)
		require.Less(t, moved, 1<<20, name)
	}
}

func TestZerosAreOneChunkManyTimes(t *testing.T) {
	t.Parallel()
	data := make([]byte, 8<<20)
	ids := map[chunk.ID]bool{}
	for _, c := range cut(t, bytes.NewReader(data), data) {
		ids[c.ID] = true
	}
	require.LessOrEqual(t, len(ids), 2)
}

func TestErrorsEndIt(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	require.ErrorIs(t, chunk.Cut(iotest.ErrReader(boom), func(chunk.Chunk, []byte) error { return nil }), boom)
	calls := 0
	require.ErrorIs(t, chunk.Cut(bytes.NewReader(random(1<<20, 4)), func(chunk.Chunk, []byte) error {
		calls++
		return boom
	}), boom)
	require.Equal(t, 1, calls)
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("seed"), uint16(1))
	f.Add(make([]byte, chunk.MaxSize), uint16(3))
	f.Fuzz(func(t *testing.T, piece []byte, times uint16) {
		data := bytes.Repeat(piece, int(times)%64+1)
		if len(data) > 4<<20 {
			data = data[:4<<20]
		}
		require.Equal(t, cut(t, bytes.NewReader(data), data), cut(t, iotest.HalfReader(bytes.NewReader(data)), data))
	})
}

func BenchmarkCut(b *testing.B) {
	data := random(64<<20, 5)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := chunk.Cut(bytes.NewReader(data), func(chunk.Chunk, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
