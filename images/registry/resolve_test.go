package registry_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/fault"
)

func platforms(t *testing.T, names ...string) []v1.Platform {
	t.Helper()
	var all []v1.Platform
	for _, n := range names {
		p, err := v1.ParsePlatform(n)
		require.NoError(t, err)
		all = append(all, *p)
	}
	return all
}

func TestResolveKeepsAnIndex(t *testing.T) {
	t.Parallel()
	for name := range peers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, f := filled(t, name)
			o := registry.NewOrigin(config(t))
			for _, image := range []string{f.Repository + ":v1", f.Index.String(), f.Repository + ":gone@" + f.Index.Digest.String()} {
				r, err := o.Resolve(t.Context(), image, platforms(t, "linux/arm64", "linux/amd64"))
				require.NoError(t, err, image)
				require.Equal(t, f.Index, r.Ref)
				require.Equal(t, types.OCIImageIndex, r.MediaType)
				require.Len(t, r.Children, 2)
				require.Equal(t, f.Children["linux/arm64"], r.Children[0].Ref)
				require.Equal(t, f.Children["linux/amd64"], r.Children[1].Ref)
				require.Equal(t, f.Config.Digest, r.Children[1].Config)
				closure, err := images.Walk(t.Context(), o, f.Index, nil)
				require.NoError(t, err)
				require.Equal(t, closure.Size(), r.Size, "what two children share counts once")
			}
			require.Empty(t, p.requests("/blobs/"), "no content is read")
		})
	}
}

func TestResolveNamesThePlatformThatIsMissing(t *testing.T) {
	t.Parallel()
	p, f := filled(t, "go-containerregistry")
	o := registry.NewOrigin(config(t))
	_, err := o.Resolve(t.Context(), f.Repository+":v1", platforms(t, "linux/amd64", "linux/s390x", "linux/ppc64le"))
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, "linux/s390x, linux/ppc64le")
	require.ErrorContains(t, err, "linux/arm64", "says what there is")
	require.NotEmpty(t, fault.Hint(err))

	p.setDamage(f.Children["linux/arm64"].Digest, func([]byte) []byte { return nil })
	_, err = o.Resolve(t.Context(), f.Repository+":v1", platforms(t, "linux/amd64", "linux/arm64"))
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, "linux/arm64")
	_, err = o.Resolve(t.Context(), f.Repository+":v1", platforms(t, "linux/amd64"))
	require.NoError(t, err)
}

func TestResolveOfASingleImage(t *testing.T) {
	t.Parallel()
	p, f := filled(t, "distribution")
	p.tag(t, f, f.Children["linux/arm64"].Digest, "single")
	o := registry.NewOrigin(config(t))
	r, err := o.Resolve(t.Context(), f.Repository+":single", platforms(t, "linux/arm64"))
	require.NoError(t, err)
	require.Equal(t, f.Children["linux/arm64"], r.Ref)
	require.Equal(t, r.Ref, r.Children[0].Ref)
	require.Equal(t, r.Size, r.Children[0].Size)
	_, err = o.Resolve(t.Context(), f.Repository+":single", platforms(t, "linux/amd64"))
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, "linux/amd64")
}

func TestResolveOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	_, f := filled(t, "distribution")
	o := registry.NewOrigin(config(t))
	for _, image := range []string{f.Repository + ":gone", f.Repository, f.Repository + "-gone:v1"} {
		_, err := o.Resolve(t.Context(), image, platforms(t, "linux/amd64"))
		require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
		require.ErrorContains(t, err, image)
	}
	_, err := o.Resolve(t.Context(), "Not A Name", nil)
	require.Equal(t, fault.Usage, fault.KindOf(err))
}

func TestResolveNormalizesAsDockerDoes(t *testing.T) {
	t.Parallel()
	p, f := filled(t, "go-containerregistry")
	cfg := config(t)
	cfg.Mirrors = map[string][]string{"docker.io": {p.addr}}
	cfg.Transport = offline{cfg.Transport}
	r, err := registry.NewOrigin(cfg).Resolve(t.Context(), "team/app:v1", platforms(t, "linux/amd64"))
	require.NoError(t, err)
	require.Equal(t, "docker.io/team/app:v1", r.Name)
	require.Equal(t, images.Ref{Repository: "docker.io/team/app", Digest: f.Index.Digest}, r.Ref)
	_, err = registry.NewOrigin(cfg).Resolve(t.Context(), "busybox", platforms(t, "linux/amd64"))
	require.Error(t, err)
	require.NotEmpty(t, p.requests("/v2/library/busybox/manifests/latest"))
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	good := serve(t, peers()["go-containerregistry"](t))
	locked := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Www-Authenticate", `Bearer realm="http://example.com/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	limited := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }))
	portal := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections, says nothing
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()

	cfg := config(t)
	cfg.Mirrors = map[string][]string{"far.example": {good.addr}}
	cfg.Transport = refusing{cfg.Transport}
	o := registry.NewOrigin(cfg)
	within := 400 * time.Millisecond
	require.NoError(t, o.Answers(t.Context(), []string{good.addr + "/x", locked.addr + "/y", limited.addr + "/z", good.addr + "/w"}, 5*time.Second))
	require.NoError(t, o.Answers(t.Context(), []string{"far.example/x"}, 5*time.Second), "a mirror that answers will do")
	require.NoError(t, o.Answers(t.Context(), nil, within))

	start := time.Now()
	err = o.Answers(t.Context(), []string{silent.Addr().String() + "/x", good.addr + "/x", "gone.example/x", portal.addr + "/x"}, within)
	require.Less(t, time.Since(start), 5*time.Second)
	require.ErrorContains(t, err, silent.Addr().String())
	require.ErrorContains(t, err, "gone.example")
	require.ErrorContains(t, err, portal.addr)
	require.NotContains(t, err.Error(), good.addr)

	for _, addr := range []string{good.addr, locked.addr} {
		require.NoError(t, registry.NewTarget(cfg, registry.MirrorLayout(addr)).Answers(t.Context(), "x", 5*time.Second))
	}
	for _, addr := range []string{silent.Addr().String(), portal.addr} {
		err = registry.NewTarget(cfg, registry.MirrorLayout(addr)).Answers(t.Context(), "x", within)
		require.ErrorContains(t, err, addr+" does not answer")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, o.Answers(ctx, []string{good.addr + "/x"}, within), context.Canceled)
}

// refusing knows loopback only.
type refusing struct{ inner http.RoundTripper }

func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Host, "127.0.0.1:") {
		return r.inner.RoundTrip(req)
	}
	return nil, &net.DNSError{Err: "no such host", Name: req.URL.Host, IsNotFound: true}
}
