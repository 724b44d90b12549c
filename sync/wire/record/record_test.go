package record

import (
	"bytes"
	"crypto/rand"
	"io"
	mrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// encodeAll returns the records of payloads, one after the other, without an
// end.
func encodeAll(tb testing.TB, payloads ...[]byte) []byte {
	tb.Helper()
	e, err := newEncoder()
	require.NoError(tb, err)
	defer e.close()
	var out []byte
	for _, p := range payloads {
		record, err := e.encode(p)
		require.NoError(tb, err)
		out = append(out, record...)
	}
	return out
}

// decodeAll returns the payloads of records up to the first error.
func decodeAll(r io.Reader) ([][]byte, error) {
	d := newDecoder(r)
	defer d.close()
	var buf [MaxPayload]byte
	var out [][]byte
	for {
		payload, err := d.decode(&buf)
		if err != nil {
			return out, err
		}
		out = append(out, bytes.Clone(payload))
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

func samples() [][]byte {
	text := []byte(strings.Repeat("def train(model, data):\n", 200))
	out := [][]byte{{}, {1}, []byte("hello"), text, text, random(MaxPayload), bytes.Repeat([]byte{7}, MaxPayload), {}, random(worthwhile - 1), random(worthwhile)}
	r := mrand.New(mrand.NewPCG(1, 2))
	for range 200 {
		p := random(r.IntN(MaxPayload))
		clear(p[len(p)/3:])
		out = append(out, p)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	want := samples()
	got, err := decodeAll(bytes.NewReader(append(encodeAll(t, want...), craft(uint64(len(want)), flagEnd, 0, nil)...)))
	require.Equal(t, io.EOF, err)
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, bytes.Equal(want[i], got[i]), "payload %d", i)
	}
}

func TestRepeatedContentCostsLittle(t *testing.T) {
	t.Parallel()
	content := random(4 << 10)
	once, twice := encodeAll(t, content), encodeAll(t, content, content)
	require.Less(t, len(once), len(content)+64)
	require.Less(t, len(twice)-len(once), 100)
}

func TestIncompressibleContentGrowsLittle(t *testing.T) {
	t.Parallel()
	payload := random(MaxPayload)
	require.Less(t, len(encodeAll(t, payload)), MaxPayload+64)
}

func TestAnyFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	payloads := [][]byte{[]byte("first"), []byte(strings.Repeat("second ", 40)), []byte("third")}
	whole := encodeAll(t, payloads...)
	for i := range len(whole) * 8 {
		broken := bytes.Clone(whole)
		broken[i/8] ^= 1 << (i % 8)
		got, err := decodeAll(bytes.NewReader(broken))
		require.ErrorIs(t, err, ErrCorrupt, "bit %d", i)
		require.Less(t, len(got), len(payloads))
		for j := range got {
			require.Equal(t, payloads[j], got[j])
		}
	}
}

func TestLostRepeatedAndSwappedRecordsAreNoticed(t *testing.T) {
	t.Parallel()
	a := encodeAll(t, []byte("a"))
	ab := encodeAll(t, []byte("a"), []byte("b"))
	b := ab[len(a):]
	for name, stream := range map[string][]byte{"lost": b, "twice": append(bytes.Clone(a), a...), "swapped": append(bytes.Clone(b), a...)} {
		_, err := decodeAll(bytes.NewReader(stream))
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
}

func TestCutAnywhereIsNoCleanEnd(t *testing.T) {
	t.Parallel()
	whole := encodeAll(t, []byte("first"), []byte(strings.Repeat("second ", 40)))
	for n := range len(whole) + 1 {
		_, err := decodeAll(bytes.NewReader(whole[:n]))
		require.Equal(t, io.ErrUnexpectedEOF, err, "after %d bytes", n)
	}
}

// craft makes a record with right checksums of anything.
func craft(number uint64, flags byte, raw int, wire []byte) []byte {
	e := &encoder{sums: newChecksums(), number: number}
	out := make([]byte, headerSize, headerSize+len(wire))
	out[0] = flags
	putUint24(out[1:], len(wire))
	putUint24(out[5:], raw)
	sum := e.sums.header(number, out[:8])
	out[8], out[9], out[10], out[11] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	sum = e.sums.payload(wire)
	out[12], out[13], out[14], out[15] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	return append(out, wire...)
}

func TestRecordsThatAreRefused(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat("x", 1000))
	compressed := encodeAll(t, text)[headerSize:]
	for name, record := range map[string][]byte{
		"unknown flag":       craft(0, 4, 1, []byte{1}),
		"end with payload":   craft(0, flagEnd, 1, []byte{1}),
		"end and compressed": craft(0, flagEnd|flagCompressed, 0, nil),
		"too long":           craft(0, 0, MaxPayload+1, make([]byte, MaxPayload+1)),
		"too long raw":       craft(0, 1, MaxPayload+1, compressed),
		"lengths differ":     craft(0, 0, 2, []byte{1}),
		"compressed nothing": craft(0, 1, 0, nil),
		"no zstd":            craft(0, 1, 100, text),
		"more than it says":  craft(0, 1, len(text)+1, compressed),
		"bytes left":         craft(0, 1, len(text), append(bytes.Clone(compressed), 0)),
	} {
		_, err := decodeAll(bytes.NewReader(record))
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
}

// A window larger than ours would make the decoder take as much memory.
func TestLargeWindowIsRefused(t *testing.T) {
	t.Parallel()
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xb8 /* 8 GiB */, 0x01, 0, 0}
	_, err := decodeAll(bytes.NewReader(craft(0, flagCompressed, 10, frame)))
	require.ErrorIs(t, err, ErrCorrupt)
}

func FuzzDecode(f *testing.F) {
	f.Add(encodeAll(f, samples()[:6]...))
	f.Add(craft(0, flagCompressed, 10, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 1, 0, 0}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		payloads, err := decodeAll(bytes.NewReader(stream))
		require.Error(t, err)
		for _, p := range payloads {
			require.LessOrEqual(t, len(p), MaxPayload)
		}
	})
}

// FuzzCompressed gets past the checksums.
func FuzzCompressed(f *testing.F) {
	f.Add(100, encodeAll(f, []byte(strings.Repeat("abc", 100)))[headerSize:], []byte{1, 2})
	f.Fuzz(func(t *testing.T, raw int, first, second []byte) {
		if raw < 0 || raw > MaxPayload || len(first) > maxWire || len(second) > maxWire {
			return
		}
		stream := append(craft(0, flagCompressed, raw, first), craft(1, flagCompressed, raw, second)...)
		_, err := decodeAll(bytes.NewReader(stream))
		require.Error(t, err)
	})
}

func BenchmarkEncode(b *testing.B) {
	for name, payload := range map[string][]byte{
		"text4K":    []byte(strings.Repeat("def train(model, data): return model.fit(data)\n", 87)),
		"random4K":  random(4 << 10),
		"random64K": random(MaxPayload),
		"small":     random(100),
	} {
		b.Run(name, func(b *testing.B) {
			e, err := newEncoder()
			require.NoError(b, err)
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				_, _ = e.encode(payload)
			}
		})
	}
}
