package registry

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/docker/dockertest"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

func archive(config string) docker.Archive {
	return docker.Archive{Name: "kfdev.internal/registry:test", Config: config, Write: func(context.Context, io.Writer) error { return nil }}
}

func listen(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, port := listen(t)
	require.NoError(t, l.Close())
	return port
}

func TestEnsureStartsOnceAndConverges(t *testing.T) {
	t.Parallel()
	d := dockertest.New(t.Cleanup)
	options := Options{Port: freePort(t), Image: archive("sha256:a"), Network: "kind"}
	r := New(d, options, progress.Discard)
	_, err := r.Get(t.Context())
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	first, err := r.Ensure(t.Context())
	require.NoError(t, err)
	require.True(t, first.Running)
	require.True(t, first.Empty)
	require.Equal(t, options.Port, int(first.Addr.Port()))
	response, err := http.Get("http://" + first.Addr.String() + "/v2/")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	second, err := r.Ensure(t.Context())
	require.NoError(t, err)
	require.Equal(t, first.ID, second.ID, "a second time changes nothing")
	require.False(t, second.Empty)
	require.Equal(t, 1, d.Loads())

	c, err := d.Container(t.Context(), DefaultName)
	require.NoError(t, err)
	require.NotContains(t, c.Networks, "kind", "there is no such network yet")
	require.False(t, second.Connected)
	d.AddNetwork("kind")
	third, err := r.Ensure(t.Context())
	require.NoError(t, err)
	require.True(t, third.Connected)
	seen, err := r.Get(t.Context())
	require.NoError(t, err)
	require.True(t, seen.Connected)
	c, err = d.Container(t.Context(), DefaultName)
	require.NoError(t, err)
	require.Contains(t, c.Networks, "kind")

	require.NoError(t, r.Stop(t.Context()))
	again, err := r.Ensure(t.Context())
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	require.Equal(t, first.Addr, again.Addr)

	require.NoError(t, r.Remove(t.Context()))
	require.NoError(t, r.Remove(t.Context()))
	_, err = r.Get(t.Context())
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestATakenPortGivesWayAndIsSaid(t *testing.T) {
	t.Parallel()
	_, taken := listen(t)
	recorder := &progress.Recorder{}
	r := New(dockertest.New(t.Cleanup), Options{Port: taken, Image: archive("sha256:a")}, recorder)
	state, err := r.Ensure(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, taken, int(state.Addr.Port()))
	said := false
	for _, e := range recorder.Events() {
		said = said || e.State == progress.Warning
	}
	require.True(t, said)
}

func TestAPortTakenWhileStoppedGivesWayAndTheVolumeStays(t *testing.T) {
	t.Parallel()
	d := dockertest.New(t.Cleanup)
	r := New(d, Options{Port: freePort(t), Image: archive("sha256:a")}, progress.Discard)
	first, err := r.Ensure(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.Stop(t.Context()))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", first.Addr.String())
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // a test's listener
	second, err := r.Ensure(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first.Addr, second.Addr)
	require.False(t, second.Empty)
}

func TestAnotherProgramTakesThePlaceAndKeepsThePort(t *testing.T) {
	t.Parallel()
	d := dockertest.New(t.Cleanup)
	options := Options{Port: freePort(t), Image: archive("sha256:a")}
	first, err := New(d, options, progress.Discard).Ensure(t.Context())
	require.NoError(t, err)
	options.Image = archive("sha256:b")
	second, err := New(d, options, progress.Discard).Ensure(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, "sha256:b", second.Image)
	require.Equal(t, first.Addr, second.Addr)
	require.False(t, second.Empty, "the content stays")
}

func TestALostVolumeIsTold(t *testing.T) {
	t.Parallel()
	d := dockertest.New(t.Cleanup)
	r := New(d, Options{Port: freePort(t), Image: archive("sha256:a")}, progress.Discard)
	_, err := r.Ensure(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.RemoveVolume(t.Context(), DefaultName))
	state, err := r.Ensure(t.Context())
	require.NoError(t, err)
	require.True(t, state.Empty)
	require.True(t, state.Running)
}

// silent starts containers that never answer; whoever waits gives up.
type silent struct {
	*dockertest.Fake
	giveUp context.CancelFunc
}

func (s silent) Start(context.Context, string) error {
	s.giveUp()
	return nil
}

func (silent) Logs(context.Context, string, int) (string, error) { return "disk full", nil }

func TestARegistryThatDoesNotAnswerHasLastWords(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := New(silent{dockertest.New(t.Cleanup), cancel}, Options{Port: freePort(t), Image: archive("sha256:a")}, progress.Discard)
	_, err := r.Ensure(ctx)
	require.ErrorContains(t, err, "disk full")
	require.Equal(t, fault.Canceled, fault.KindOf(err))
}

func TestNodesReachItBesideAProxy(t *testing.T) {
	t.Parallel()
	require.Equal(t, "http://kfdev-registry.svc:5000", New(nil, Options{}, progress.Discard).NodeURL())
}
