package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire/record"
)

func FuzzItem(f *testing.F) {
	f.Add(items(f, updateItem(endpoint.Update{Path: "a", Entry: fileEntry([]byte("x")), Content: []byte("x"), Seq: 1, Age: 2}))[messageHeader:])
	f.Add(items(f, outcomeItem(endpoint.Outcome{Err: endpoint.ErrChanged, Seq: 1}))[messageHeader:])
	f.Add(items(f, changeItem(tree.Change{Path: "a", From: tree.Entry{Kind: tree.Symlink, Target: "x"}}, nil))[messageHeader:])
	c, err := newCodec()
	require.NoError(f, err)
	again := func(t *testing.T, from *item) *item {
		t.Helper()
		b, err := c.marshal(from)
		require.NoError(t, err)
		var to item
		require.NoError(t, c.unmarshal(b, &to))
		return &to
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = each(c, b, func(i *item) error {
			if u, err := i.update(); err == nil {
				require.NoError(t, tree.CheckPath(u.Path))
				same, err := again(t, updateItem(u)).update()
				require.NoError(t, err)
				require.Equal(t, u, same)
			}
			if ch, content, err := i.change(); err == nil {
				same, more, err := again(t, changeItem(ch, content)).change()
				require.NoError(t, err)
				require.Equal(t, ch, same)
				require.Equal(t, content, more)
			}
			if o, err := i.outcome(); err == nil {
				_, err := again(t, outcomeItem(o)).outcome()
				require.NoError(t, err)
			}
			if w, err := i.want(); err == nil {
				same, err := again(t, wantItem(w)).want()
				require.NoError(t, err)
				require.Equal(t, w, same)
			}
			return nil
		})
	})
}

func FuzzRequest(f *testing.F) {
	c, err := newCodec()
	require.NoError(f, err)
	seed, err := c.marshal(request{Method: methodRun, Argv: [][]byte{[]byte("ls")}, Dir: []byte("/")})
	require.NoError(f, err)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r request
		if c.unmarshal(b, &r) == nil && r.check() == nil {
			require.LessOrEqual(t, r.Rules, MaxRules)
		}
	})
}

func FuzzResult(f *testing.F) {
	c, err := newCodec()
	require.NoError(f, err)
	seed, err := c.marshal(result{Info: infoOf(newFolder().Info(), features), Usage: &usage{Memory: 1}})
	require.NoError(f, err)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r result
		if c.unmarshal(b, &r) != nil {
			return
		}
		if i, err := r.Info.info(); err == nil {
			require.NotContains(t, strings.Join(append(i.Notes, i.Root, i.Identity, i.CopyOf), ""), "\x1b")
		}
	})
}

func FuzzFailure(f *testing.F) {
	c, err := newCodec()
	require.NoError(f, err)
	seed, err := c.marshal(failureOf(errNoRoot))
	require.NoError(f, err)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		var x failure
		if c.unmarshal(b, &x) == nil && x != (failure{}) {
			require.Error(t, x.err())
			require.NotContains(t, x.err().Error(), "\n")
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add([]byte("\x00\x14\xa2\x01\x01\x04\x50aaaaaaaaaaaaaaaa"))
	c, err := newCodec()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		var h hello
		if h.read(bytes.NewReader(b), c) == nil {
			require.EqualValues(t, Major, h.Major)
			require.Len(t, h.Nonce, nonceSize)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 0, 1}, 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if cut < 0 || cut > len(b) {
			return
		}
		var one, two frames
		err := one.advance(b)
		wrong := two.advance(b[:cut])
		if wrong == nil {
			wrong = two.advance(b[cut:])
		}
		require.Equal(t, err, wrong)
		if err == nil {
			require.Equal(t, one, two)
		}
	})
}

// FuzzAnswer lets a helper answer with any messages.
func FuzzAnswer(f *testing.F) {
	f.Add(uint8(0), append(items(f, &item{Entry: &entryItem{Kind: 1}}), frame(kindEnd, []byte{0xa1, 1, 0xa0})...))
	f.Add(uint8(1), append(items(f, &item{Done: true}), frame(kindEnd, []byte{0xa0})...))
	f.Add(uint8(1), append(frame(kindWants, items(f, wantItem(endpoint.Want{Path: "a", Entry: fileEntry(nil)}))[4:]), frame(kindWantsEnd, nil)...))
	f.Add(uint8(2), append(frame(kindDataLast, []byte("x")), frame(kindContentEnd, nil)...))
	f.Add(uint8(3), append(frame(kindStdout, []byte("x")), frame(kindEnd, []byte{0xa0})...))
	answers := make(chan []byte, 1)
	r := hostileHelper(f, answers, true)
	laptop := newFolder()
	laptop.write("a", []byte{})
	f.Fuzz(func(t *testing.T, which uint8, answer []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		answers <- answer
		switch which % 5 {
		case 0:
			if _, err := r.Scan(ctx); err == nil {
				_, _ = r.Next(ctx)
			}
		case 1:
			o, err := r.Apply(ctx, []tree.Change{{Path: "a", To: fileEntry([]byte{})}}, laptop)
			if err == nil {
				require.Len(t, o, 1)
			}
		case 2:
			_ = r.Fetch(ctx, []endpoint.Want{{Path: "a", Entry: fileEntry([]byte("x"))}}, func(_ int, p endpoint.Piece) error {
				require.LessOrEqual(t, len(p.Data), 1)
				return nil
			})
		case 3:
			_, _ = r.Run(ctx, []string{"x"}, "/", io.Discard, io.Discard)
		case 4:
			_, _, _ = r.Undo(ctx)
		}
		require.NoError(t, r.Err())
	})
}

// FuzzStreams gives a helper any bytes in place of stream frames.
func FuzzStreams(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 1, 0, 0, 1, 0xa0})
	c, err := newCodec()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		laptop, helper := net.Pipe()
		served := make(chan error, 1)
		go func() {
			served <- Serve(context.Background(), helper, func(context.Context, Open) (endpoint.Endpoint, error) { return newFolder(), nil }, Options{})
		}()
		conn, err := record.New(laptop, record.Config{Answers: true})
		require.NoError(t, err)
		_, err = greet(t.Context(), conn, c, Options{}, true)
		require.NoError(t, err)
		_, _ = conn.Write(b)
		require.NoError(t, conn.Close())
		if err := <-served; err != nil && !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrLost) {
			require.NoError(t, fmt.Errorf("an error of another kind: %w", err))
		}
	})
}
