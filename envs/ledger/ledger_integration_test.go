//go:build integration

package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
)

const short = 2 * time.Second

func connect(t *testing.T, config *rest.Config) (*kube.Client, *Store) {
	t.Helper()
	client, err := kube.Connect(config)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client, New(client, progress.Discard)
}

func TestIntegrationWhatIsRemembered(t *testing.T) {
	t.Parallel()
	config := apiserver.Run(t, false)
	client, s := connect(t, config)
	_, found, err := s.Read(t.Context())
	require.NoError(t, err)
	require.False(t, found)

	l, err := s.Acquire(t.Context(), "ana", short)
	require.NoError(t, err)
	_, err = l.Update(t.Context(), func(l *Ledger) error {
		l.Begin(entry(1, 0))
		l.Enforce(at(1))
		l.Finish(at(2))
		return nil
	})
	require.NoError(t, err)
	_, err = l.Update(t.Context(), func(*Ledger) error { return errors.New("not this") })
	require.EqualError(t, err, "not this")
	require.NoError(t, l.Release(t.Context()))
	_, err = l.Update(t.Context(), func(l *Ledger) error { l.Failed = "late"; return nil })
	requireFenced(t, err, "released")

	got, found, err := s.Read(t.Context())
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, digest(1), got.Complete.Release)
	require.Empty(t, got.Failed)
	id, err := Identify(t.Context(), client)
	require.NoError(t, err)
	require.Equal(t, id.UID, got.Cluster)
	require.Len(t, id.Authority, 64)
	again, err := Identify(t.Context(), client)
	require.NoError(t, err)
	require.Equal(t, id, again)

	insecure := rest.CopyConfig(config)
	insecure.TLSClientConfig = rest.TLSClientConfig{Insecure: true}
	unchecked, _ := connect(t, insecure)
	id, err = Identify(t.Context(), unchecked)
	require.NoError(t, err)
	require.Empty(t, id.Authority)
	require.Equal(t, got.Cluster, id.UID)
}

func TestIntegrationTwoRace(t *testing.T) {
	t.Parallel()
	config := apiserver.Run(t, false)
	var mu sync.Mutex
	epochs := map[int64]bool{}
	inside, refused := 0, 0
	var all sync.WaitGroup
	for i := range 6 {
		_, s := connect(t, config)
		all.Go(func() {
			l, err := s.Acquire(t.Context(), fmt.Sprint("promoter ", i), short)
			if errors.Is(err, ErrHeld) {
				mu.Lock()
				refused++
				mu.Unlock()
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inside++
			if inside != 1 || epochs[l.Epoch()] {
				t.Errorf("%d hold it, epoch %d", inside, l.Epoch())
			}
			epochs[l.Epoch()] = true
			mu.Unlock()
			for n := range 30 {
				if _, err := l.Update(t.Context(), func(l *Ledger) error { l.Failed = fmt.Sprint(i, " ", n); return nil }); err != nil {
					t.Error(err)
				}
			}
			<-time.After(short)
			mu.Lock()
			inside--
			mu.Unlock()
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.NotEmpty(t, epochs)
	require.Equal(t, 6, refused+len(epochs))
	require.NotZero(t, refused)
}

// child runs TestIntegrationPromoter in a process of its own, which can be
// stopped and killed, and returns what it prints line by line.
func child(t *testing.T, kubeconfig string) (*os.Process, *bufio.Scanner, io.Closer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestIntegrationPromoter$", "-test.v")
	cmd.Env = append(os.Environ(), "KFDEV_TEST_LEDGER="+kubeconfig)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process, bufio.NewScanner(out), out
}

// TestIntegrationPromoter is the other process: it promotes until it is stopped
// or killed, and says what it did.
func TestIntegrationPromoter(t *testing.T) {
	kubeconfig := os.Getenv("KFDEV_TEST_LEDGER")
	if kubeconfig == "" {
		t.Skip("it is run by other tests")
	}
	config, err := kube.Load(kubeconfig, "")
	require.NoError(t, err)
	_, s := connect(t, config)
	l, err := s.Acquire(t.Context(), "child", short)
	require.NoError(t, err)
	_, err = l.Update(t.Context(), func(l *Ledger) error {
		l.Begin(entry(1, 0))
		l.End(Copied, "", "", at(1))
		l.Start(Applied, "core", at(2))
		return nil
	})
	require.NoError(t, err)
	for n := 0; ; n++ {
		_, err := l.Update(t.Context(), func(l *Ledger) error { l.Failed = fmt.Sprint("child was here ", n); return nil })
		if err != nil {
			fmt.Fprintf(os.Stdout, "REFUSED %v\n", err)
			require.ErrorIs(t, err, ErrFenced)
			require.ErrorIs(t, l.Fence(t.Context()), ErrFenced)
			require.NoError(t, l.Release(t.Context()))
			return
		}
		fmt.Fprintln(os.Stdout, "WROTE")
		<-time.After(10 * time.Millisecond)
	}
}

func await(t *testing.T, lines *bufio.Scanner, prefix string) string {
	t.Helper()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			return lines.Text()
		}
	}
	require.FailNow(t, "the other process ended before it said "+prefix)
	return ""
}

func start(t *testing.T) (*apiserver.Server, *Store) {
	t.Helper()
	programs, err := apiserver.Build(t.Context())
	require.NoError(t, err)
	server, err := apiserver.Start(t.Context(), apiserver.Options{Programs: programs, Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	_, s := connect(t, server.Config)
	return server, s
}

func TestIntegrationOneWhoWasStoppedIsFenced(t *testing.T) {
	t.Parallel()
	server, s := start(t)
	process, lines, _ := child(t, server.Kubeconfig)
	await(t, lines, "WROTE")
	require.NoError(t, process.Signal(syscall.SIGSTOP))

	began := time.Now()
	l, err := s.Acquire(t.Context(), "ben", short)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), short)
	var resumed bool
	_, err = l.Update(t.Context(), func(l *Ledger) error {
		resumed = l.Begin(Entry{Release: digest(1), By: "ben", At: at(5)})
		l.End(Applied, "core", "", at(6))
		l.Finish(at(7))
		return nil
	})
	require.NoError(t, err)
	require.True(t, resumed)
	require.NoError(t, process.Signal(syscall.SIGCONT))
	refused := await(t, lines, "REFUSED")
	require.Contains(t, refused, "ben took over")

	got, _, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ben", got.Complete.By)
	require.Empty(t, got.Failed)
	require.NoError(t, l.Release(t.Context()))
}

func TestIntegrationOneWhoWasKilledIsCarriedOn(t *testing.T) {
	t.Parallel()
	server, s := start(t)
	process, lines, _ := child(t, server.Kubeconfig)
	await(t, lines, "WROTE")
	require.NoError(t, process.Kill())

	l, err := s.Acquire(t.Context(), "ben", short)
	require.NoError(t, err)
	got, err := l.Update(t.Context(), func(l *Ledger) error {
		require.True(t, l.Underway)
		require.True(t, l.Begin(entry(1, 3)))
		return nil
	})
	require.NoError(t, err)
	require.True(t, got.Done(Copied, "", ""), "what was done stays done")
	require.False(t, got.Done(Applied, "core", ""))
	require.NoError(t, l.Release(t.Context()))
}

func TestIntegrationEditedByHand(t *testing.T) {
	t.Parallel()
	client, s := connect(t, apiserver.Run(t, false))
	l, err := s.Acquire(t.Context(), "ana", short)
	require.NoError(t, err)
	_, err = l.Update(t.Context(), func(l *Ledger) error { l.Begin(entry(1, 0)); return nil })
	require.NoError(t, err)
	good, err := s.configMaps().Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	patch := func(text string) {
		_, err := s.configMaps().Patch(t.Context(), name, types.MergePatchType, []byte(text), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	for says, text := range map[string]string{
		"invalid character":     `{"data":{"ledger":"garbage"}}`,
		"and nothing else":      `{"data":{"more":"x"}}`,
		"is to hold the key":    `{"data":null}`,
		"about the cluster xyz": `{"data":{"ledger":"{\"format\":\"kfdev.dev/ledger/v1alpha1\",\"cluster\":\"xyz\",\"epoch\":1}\n"}}`,
	} {
		patch(text)
		_, _, err := s.Read(t.Context())
		require.ErrorContains(t, err, says)
		require.Contains(t, fault.Hint(err)[0], "kubectl -n kfdev-system delete configmap ledger")
		_, err = l.Update(t.Context(), func(*Ledger) error { return nil })
		require.ErrorContains(t, err, says)
		good.SetResourceVersion("")
		_, err = s.configMaps().Update(t.Context(), good.DeepCopy(), metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	// A change by hand that is well formed meets a write under way: it is read again.
	n := 0
	_, err = l.Update(t.Context(), func(l *Ledger) error {
		if n++; n == 1 {
			patch(`{"metadata":{"annotations":{"note":"x"}}}`)
		}
		l.Failed = "y"
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, n)

	// The way out: deleted, and begun anew; the epoch still grows.
	epoch := l.Epoch()
	patch(`{"data":{"ledger":"garbage"}}`)
	require.NoError(t, l.Release(t.Context()))
	_, err = s.Acquire(t.Context(), "ben", short)
	require.ErrorContains(t, err, "invalid character")
	require.NoError(t, s.configMaps().Delete(t.Context(), name, metav1.DeleteOptions{}))
	l, err = s.Acquire(t.Context(), "ben", short)
	require.NoError(t, err)
	require.Greater(t, l.Epoch(), epoch)
	require.NoError(t, s.configMaps().Delete(t.Context(), name, metav1.DeleteOptions{}))
	_, err = l.Update(t.Context(), func(*Ledger) error { return nil })
	require.ErrorContains(t, err, "it was deleted while it was in use")
	require.NoError(t, (&served{client}).resource().Delete(t.Context(), name, metav1.DeleteOptions{}))
	<-time.After(short)
	requireFenced(t, l.Fence(context.WithoutCancel(t.Context())), "its lease was deleted")
	require.NoError(t, l.Release(t.Context()))
}
