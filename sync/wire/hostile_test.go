package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/yamux"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire/record"
)

// rawEnd greets the other side and returns the bare streams.
func rawEnd(tb testing.TB, rw io.ReadWriteCloser, caller bool) *mux {
	tb.Helper()
	c, err := newCodec()
	require.NoError(tb, err)
	conn, err := record.New(rw, record.Config{Answers: caller})
	require.NoError(tb, err)
	_, err = greet(context.Background(), conn, c, Options{}, caller)
	require.NoError(tb, err)
	m, err := newMux(conn, c, caller)
	require.NoError(tb, err)
	tb.Cleanup(m.close)
	return m
}

// hostileHelper opens a folder as asked and answers every other call with the
// bytes that it is told. Then it ends the call, or waits for the laptop to.
func hostileHelper(tb testing.TB, answers <-chan []byte, end bool) *Remote {
	tb.Helper()
	a, b := net.Pipe()
	type dialed struct {
		r   *Remote
		err error
	}
	done := make(chan dialed, 1)
	go func() {
		r, err := Dial(context.Background(), a, Open{Root: "/data"}, Options{})
		done <- dialed{r, err}
	}()
	m := rawEnd(tb, b, false)
	first, err := m.accept()
	require.NoError(tb, err)
	_, _, err = first.receive()
	require.NoError(tb, err)
	require.NoError(tb, first.finish(kindEnd, result{Info: &info{Identity: "x"}}))
	first.close()
	go func() {
		for {
			c, err := m.accept()
			if err != nil {
				return
			}
			go func() {
				defer c.close()
				if _, _, err := c.receive(); err != nil {
					return
				}
				_, _ = c.stream.Write(<-answers)
				if !end {
					_, _ = io.Copy(io.Discard, c.r)
				}
			}()
		}
	}()
	d := <-done
	require.NoError(tb, d.err)
	tb.Cleanup(func() { _ = d.r.Close() })
	return d.r
}

// frame makes a message.
func frame(k kind, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	b[0] = byte(k)
	return append(b, payload...)
}

// items makes a message of items.
func items(tb testing.TB, list ...any) []byte {
	tb.Helper()
	c, err := newCodec()
	require.NoError(tb, err)
	var b []byte
	for _, v := range list {
		one, err := c.marshal(v)
		require.NoError(tb, err)
		b = append(b, one...)
	}
	return frame(kindItems, b)
}

func TestWhatAHelperMayNotSay(t *testing.T) {
	t.Parallel()
	dir := &entryItem{Kind: uint8(tree.Dir)}
	file := entryOf(fileEntry([]byte("x")))
	end := frame(kindEnd, []byte{0xa1, 1, 0xa1, 2, 0x61, 'x'}) // {1: {2: "x"}}
	root := &item{Entry: dir}
	lists := map[string][]byte{
		"escape":             items(t, root, &item{Path: "..", Entry: dir}),
		"absolute":           items(t, root, &item{Path: "/etc", Entry: dir}),
		"NUL":                items(t, root, &item{Path: "a\x00b", Entry: dir}),
		"no folder":          items(t, root, &item{Path: "a/b", Entry: dir}),
		"kind":               items(t, root, &item{Path: "a", Entry: &entryItem{Kind: 9}}),
		"digest":             items(t, root, &item{Path: "a", Entry: &entryItem{Kind: 2, Digest: "short"}}),
		"negative":           items(t, root, &item{Path: "a", Entry: &entryItem{Kind: 2, Size: -1, Digest: file.Digest}}),
		"folder with bytes":  items(t, root, &item{Path: "a", Entry: &entryItem{Kind: 1, Size: 1}}),
		"empty link":         items(t, root, &item{Path: "a", Entry: &entryItem{Kind: 3}}),
		"link with NUL":      items(t, root, &item{Path: "a", Entry: &entryItem{Kind: 3, Target: "\x00"}}),
		"nothing":            items(t, root, &item{Path: "a"}),
		"unknown key":        frame(kindItems, []byte{0xa1, 0x18, 99, 1}),
		"key twice":          frame(kindItems, []byte{0xa2, 1, 0x41, 'a', 1, 0x41, 'b'}),
		"indefinite":         frame(kindItems, []byte{0xbf, 1, 0x41, 'a', 0xff}),
		"tag":                frame(kindItems, []byte{0xc1, 0xa0}),
		"no CBOR":            frame(kindItems, []byte{0xff}),
		"half an item":       frame(kindItems, []byte{0xa1, 1}),
		"long":               frame(kindItems, make([]byte, maxMessage+1)),
		"unknown kind":       frame(99, nil),
		"another kind":       frame(kindWants, nil),
		"end with nothing":   frame(kindEnd, nil),
		"info with escape":   frame(kindEnd, []byte{0xa1, 1, 0xa1, 2, 0x61, 0x1b}),
		"no info":            frame(kindEnd, []byte{0xa0}),
		"failure of nothing": frame(kindError, []byte{0xa0}),
	}
	answers := make(chan []byte)
	r := hostileHelper(t, answers, false)
	for name, answer := range lists {
		go func() { answers <- append(bytes.Clone(answer), end...) }()
		_, err := r.Scan(t.Context())
		require.ErrorIs(t, err, ErrProtocol, name)
	}
	right := append(items(t, root, &item{Path: "a", Entry: file}), end...)
	go func() { answers <- right }()
	scanned, err := r.Scan(t.Context())
	require.NoError(t, err, "all of this would be right")
	require.Equal(t, 1, scanned.Len())
	require.NoError(t, r.Err())

	laptop := newFolder()
	laptop.write("secret", []byte("x"))
	laptop.write("a", []byte("x"))
	change := tree.Change{Path: "a", From: fileEntry([]byte("old")), To: fileEntry([]byte("x"))}
	want := func(i *item) []byte {
		return append(frame(kindWants, items(t, i)[messageHeader:]), frame(kindWantsEnd, nil)...)
	}
	for name, answer := range map[string][]byte{
		"too few":           end,
		"too many":          append(items(t, &item{Done: true}, &item{Done: true}), end...),
		"neither":           append(items(t, &item{}), end...),
		"with a path":       append(items(t, &item{Path: "a", Done: true}), end...),
		"content of a dir":  want(&item{Path: "a", Entry: dir}),
		"content beyond":    want(&item{Path: "../../home/.ssh/id", Entry: file}),
		"end without wants": frame(kindWantsEnd, nil),
		"half a chunk":      frame(kindHave, make([]byte, 33)),
		"too many chunks":   bytes.Repeat(frame(kindHave, make([]byte, maxPiece)), maxHave*32/maxPiece+1),
		"wants without end": bytes.Repeat(want(&item{Path: "a", Entry: file}), 10*batchWants),
		"pieces":            frame(kindData, []byte("x")),
	} {
		go func() { answers <- answer }()
		_, err := r.Apply(t.Context(), []tree.Change{change}, laptop)
		require.ErrorIs(t, err, ErrProtocol, name)
	}

	for name, answer := range map[string][]byte{
		"too much":     frame(kindDataLast, []byte("xy")),
		"chunk":        frame(kindChunk, make([]byte, len(chunk.ID{}))),
		"short chunk":  frame(kindChunk, nil),
		"no reason":    frame(kindMissing, []byte{0xa0}),
		"end at once":  frame(kindContentEnd, nil),
		"no end":       append(frame(kindDataLast, []byte("x")), frame(kindLast, nil)...),
		"another kind": items(t, root),
	} {
		go func() { answers <- answer }()
		err := r.Fetch(t.Context(), []endpoint.Want{{Path: "a", Entry: fileEntry([]byte("x"))}}, func(int, endpoint.Piece) error { return nil })
		require.ErrorIs(t, err, ErrProtocol, name)
	}
}

func TestHelperMayNotCallTheLaptop(t *testing.T) {
	t.Parallel()
	for name, frames := range map[string][]byte{
		"open":    {0, typeWindow, 0, flagSYN, 0, 0, 0, 2, 0, 0, 0, 0},
		"ping":    {0, 2, 0, flagSYN, 0, 0, 0, 0, 0, 0, 0, 1},
		"go away": {0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"version": {1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0},
	} {
		a, b := net.Pipe()
		dialed := make(chan error, 1)
		go func() {
			_, err := Dial(context.Background(), a, Open{Root: "/data"}, Options{})
			dialed <- err
		}()
		c, err := newCodec()
		require.NoError(t, err)
		conn, err := record.New(b, record.Config{})
		require.NoError(t, err)
		_, err = greet(t.Context(), conn, c, Options{}, false)
		require.NoError(t, err)
		_, _ = conn.Write(frames)
		conn.Flush()
		require.ErrorIs(t, <-dialed, ErrProtocol, name)
		_ = conn.Close()
	}
}

func TestWhatALaptopMayNotSay(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	served := make(chan error, 1)
	pod := newFolder()
	go func() {
		served <- Serve(context.Background(), b, func(context.Context, Open) (endpoint.Endpoint, error) { return pod, nil }, Options{})
	}()
	m := rawEnd(t, a, true)
	ask := func(parts ...[]byte) error {
		c, err := m.call(t.Context())
		require.NoError(t, err)
		defer c.close()
		_, _ = c.w.Write(bytes.Join(parts, nil))
		_ = c.flush()
		_, err = c.answer(kindEnd)
		return err
	}
	req := func(r request) []byte {
		b, err := m.codec.marshal(r)
		require.NoError(t, err)
		return frame(kindRequest, b)
	}
	dir := &entryItem{Kind: 1}
	end := frame(kindEnd, []byte{0xa0})
	require.ErrorIs(t, ask(req(request{Method: methodScan})), ErrProtocol, "before open")
	for name, parts := range map[string][][]byte{
		"relative":     {req(request{Method: methodOpen, Root: []byte("data")})},
		"rules":        {req(request{Method: methodOpen, Root: []byte("/data"), Rules: MaxRules + 1})},
		"wrong rules":  {req(request{Method: methodOpen, Root: []byte("/data"), Rules: 1}), frame(kindRules, []byte("ab"))},
		"no rules":     {req(request{Method: methodOpen, Root: []byte("/data"), Rules: 1}), end},
		"caps":         {req(request{Method: methodOpen, Root: []byte("/data"), Caps: &caps{Paths: -1}})},
		"no request":   {end},
		"empty":        {frame(kindRequest, nil)},
		"text":         {frame(kindRequest, []byte("hello"))},
		"trailing":     {frame(kindRequest, append(req(request{Method: methodOpen, Root: []byte("/data")})[4:], 0))},
		"nothing runs": {req(request{Method: methodRun})},
	} {
		require.ErrorIs(t, ask(parts...), ErrProtocol, name)
	}
	require.NoError(t, ask(req(request{Method: methodOpen, Root: []byte("/data")})))
	apply := req(request{Method: methodApply})
	for name, parts := range map[string][][]byte{
		"again":          {req(request{Method: methodOpen, Root: []byte("/data")})},
		"method":         {req(request{Method: 99})},
		"no command":     {req(request{Method: methodRun})},
		"escape":         {apply, items(t, &item{Path: "../x", Entry: dir}), end},
		"from":           {apply, items(t, &item{Path: "x", From: &entryItem{Kind: 7}}), end},
		"outcome":        {apply, items(t, &item{Path: "x", Done: true}), end},
		"wrong content":  {apply, items(t, &item{Path: "x", Entry: entryOf(fileEntry([]byte("xy"))), Content: []byte("x")}), end},
		"content of dir": {apply, items(t, &item{Path: "x", Entry: dir, Content: []byte("x")}), end},
		"other message":  {apply, frame(kindWants, nil)},
		"fetch other":    {req(request{Method: methodFetch}), end},
		"sync and more":  {req(request{Method: methodFetch}), frame(kindWantsEnd, nil)},
	} {
		require.ErrorIs(t, ask(parts...), ErrProtocol, name)
	}
	require.Zero(t, pod.applied)
	require.NoError(t, ask(req(request{Method: methodSync})), "and all is well")
	m.close()
	require.NoError(t, <-served)
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- Serve(context.Background(), b, func(context.Context, Open) (endpoint.Endpoint, error) { return newFolder(), nil }, Options{})
	}()
	m := rawEnd(t, a, true)
	var streams []*yamux.Stream
	for range 2 * maxStreams {
		s, err := m.session.OpenStream()
		if err != nil {
			break
		}
		if _, err := s.Write(frame(99, nil)); err != nil { // answered and ended at once; this end stays
			break
		}
		streams = append(streams, s)
	}
	require.NotEmpty(t, streams)
	require.ErrorIs(t, <-served, ErrProtocol)
}

func TestGreetings(t *testing.T) {
	t.Parallel()
	c, err := newCodec()
	require.NoError(t, err)
	nonce := bytes.Repeat([]byte{1}, nonceSize)
	for name, tc := range map[string]struct {
		hello any
		want  error
	}{
		"other major":     {map[int]any{1: Major + 1, 9: "unheard of"}, ErrVersion},
		"no major":        {map[int]any{4: nonce}, ErrVersion},
		"short nonce":     {hello{Major: Major, Nonce: nonce[1:]}, ErrProtocol},
		"unknown key":     {map[int]any{1: Major, 4: nonce, 9: 1}, ErrProtocol},
		"no CBOR":         {cbor.RawMessage{0xff}, ErrProtocol},
		"text for number": {map[int]any{1: "one"}, ErrProtocol},
	} {
		a, b := net.Pipe()
		conn, err := record.New(b, record.Config{})
		require.NoError(t, err)
		body, ok := tc.hello.(cbor.RawMessage)
		if !ok {
			body, err = c.marshal(tc.hello)
			require.NoError(t, err)
		}
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...))
		conn.Flush()
		_, err = Dial(t.Context(), a, Open{Root: "/data"}, Options{})
		require.ErrorIs(t, err, tc.want, name)
		_ = conn.Close()
	}
}

func TestNoHelper(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	go func() {
		_, _ = b.Write([]byte("sh: 1: kfdev-sync-helper: Permission denied\n"))
		_ = b.Close()
	}()
	_, err := Dial(t.Context(), a, Open{Root: "/data"}, Options{})
	require.ErrorIs(t, err, ErrNoPeer)
	require.ErrorContains(t, err, "Permission denied")

	a, b = net.Pipe()
	defer func() { _ = b.Close() }()
	_, err = Dial(t.Context(), a, Open{Root: "/data"}, Options{Greeting: 20 * time.Millisecond})
	require.ErrorIs(t, err, ErrNoPeer)

	a, c := net.Pipe()
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = Dial(ctx, a, Open{Root: "/data"}, Options{})
	require.ErrorIs(t, err, context.DeadlineExceeded)

	a, d := net.Pipe()
	defer func() { _ = d.Close() }()
	err = Serve(t.Context(), a, nil, Options{Greeting: 20 * time.Millisecond})
	require.ErrorIs(t, err, ErrNoPeer)
}
