package kube

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientexec "k8s.io/client-go/util/exec"

	"github.com/kfdev/kfdev/internal/kube/kubetest"
)

// processes serves commands as processes of this machine.
func processes() *kubetest.Exec {
	return &kubetest.Exec{Command: func(r kubetest.Request) (*exec.Cmd, error) {
		if r.Args[0] == "absent" {
			return nil, errors.New(`exec: "absent": executable file not found in $PATH`)
		}
		return exec.Command(r.Args[0], r.Args[1:]...), nil //nolint:gosec // the test's own commands
	}}
}

// servers are processes over a WebSocket and over SPDY.
func servers() map[string]*kubetest.Exec {
	both := map[string]*kubetest.Exec{"websocket": processes(), "spdy": processes()}
	both["spdy"].OnlySPDY = true
	return both
}

func TestStreamTakesAWebSocketWhereItCan(t *testing.T) {
	t.Parallel()
	for name, server := range servers() {
		require.NoError(t, connect(t, server).Exec(t.Context(), Exec{Namespace: "ns", Pod: "web", Container: "main", Command: []string{"true", "x"}}))
		seen, sockets := server.Requests()
		require.Equal(t, []kubetest.Request{{Namespace: "ns", Pod: "web", Container: "main", Args: []string{"true", "x"}}}, seen)
		require.Equal(t, name == "websocket", sockets == 1)
	}
}

func start(t *testing.T, client *Client, args ...string) *Stream {
	t.Helper()
	s, err := client.Stream(t.Context(), Exec{Namespace: "ns", Pod: "web", Container: "main", Command: args})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStreamCarriesBothWays(t *testing.T) {
	t.Parallel()
	for name, server := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, server)
			s := start(t, client, "cat")
			sent := bytes.Repeat([]byte("0123456789abcdef"), 40_000) // more than a message
			go func() {
				_, _ = s.Write(sent)
				_ = s.CloseWrite()
			}()
			got, err := io.ReadAll(s)
			require.NoError(t, err)
			require.Len(t, got, len(sent))
			require.True(t, bytes.Equal(sent, got))
		})
	}
}

func TestStreamAnswersBeforeItsInputEnds(t *testing.T) {
	t.Parallel()
	for name, server := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, server)
			s := start(t, client, "cat")
			for range 3 {
				_, err := s.Write([]byte("ping\n"))
				require.NoError(t, err)
				got := make([]byte, 5)
				_, err = io.ReadFull(s, got)
				require.NoError(t, err)
				require.Equal(t, "ping\n", string(got))
			}
			require.NoError(t, s.Close())
			_, err := io.ReadAll(s)
			require.Error(t, err)
		})
	}
}

func TestStreamTellsHowItEnded(t *testing.T) {
	t.Parallel()
	for name, server := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, server)
			s := start(t, client, "sh", "-c", "echo out; echo wrong >&2; exit 7")
			got, err := io.ReadAll(s)
			var exit clientexec.CodeExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 7, exit.Code)
			require.Equal(t, "out\n", string(got))
			require.ErrorContains(t, err, "ns/web")
			require.Equal(t, "wrong", s.Stderr())

			_, err = io.ReadAll(start(t, client, "absent"))
			require.ErrorContains(t, err, "executable file not found")
			require.NotErrorAs(t, err, &exit)
		})
	}
}

func TestStreamIsCut(t *testing.T) {
	t.Parallel()
	for name, server := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, server)
			s := start(t, client, "cat")
			ended := make(chan error, 1)
			go func() {
				_, err := io.ReadAll(s)
				ended <- err
			}()
			require.NoError(t, s.Close())
			require.Error(t, <-ended)
		})
	}
}

func TestStreamIsRefused(t *testing.T) {
	t.Parallel()
	client := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"pods is forbidden","code":403}`, http.StatusForbidden)
	}))
	_, err := client.Stream(t.Context(), Exec{Namespace: "ns", Pod: "web", Command: []string{"true"}})
	require.ErrorContains(t, err, "forbidden")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Stream(ctx, Exec{Namespace: "ns", Pod: "web", Command: []string{"true"}})
	require.ErrorIs(t, err, context.Canceled)
}

func TestExec(t *testing.T) {
	t.Parallel()
	for name, server := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, server)
			var stdout, stderr bytes.Buffer
			run := func(stdin io.Reader, args ...string) error {
				stdout.Reset()
				stderr.Reset()
				return client.Exec(t.Context(), Exec{Namespace: "ns", Pod: "web", Container: "main", Command: args, Stdin: stdin, Stdout: &stdout, Stderr: &stderr})
			}
			require.NoError(t, run(strings.NewReader("text"), "sh", "-c", "cat; echo no >&2"))
			require.Equal(t, "text", stdout.String())
			require.Equal(t, "no\n", stderr.String())
			require.NoError(t, run(nil, "sh", "-c", "cat; echo done"))
			require.Equal(t, "done\n", stdout.String())
			var exit clientexec.CodeExitError
			require.ErrorAs(t, run(nil, "false"), &exit)
			require.Equal(t, 1, exit.Code)

			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.ErrorIs(t, client.Exec(ctx, Exec{Namespace: "ns", Pod: "web", Command: []string{"sleep", "60"}}), context.Canceled)
		})
	}
}

func FuzzOutcome(f *testing.F) {
	f.Add([]byte(`{"status":"Success"}`))
	f.Add([]byte(`{"status":"Failure","message":"x","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}`))
	f.Add([]byte(`{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"999"}]}}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		err := outcome(message)
		require.Error(t, err)
		var exit clientexec.CodeExitError
		if errors.As(err, &exit) && (exit.Code < 0 || exit.Code > 255) {
			t.Fatal(exit.Code)
		}
	})
}

func BenchmarkStreamEcho(b *testing.B) {
	client := connect(b, processes())
	s, err := client.Stream(b.Context(), Exec{Namespace: "ns", Pod: "web", Command: []string{"cat"}})
	require.NoError(b, err)
	defer s.Close() //nolint:errcheck // the benchmark is over
	message, got := bytes.Repeat([]byte("x"), 4096), make([]byte, 4096)
	for b.Loop() {
		_, _ = s.Write(message)
		if _, err := io.ReadFull(s, got); err != nil {
			b.Fatal(err)
		}
	}
}
