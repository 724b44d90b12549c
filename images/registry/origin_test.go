package registry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

type noKeys struct{}

func (noKeys) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

func TestOriginPassesTheSuite(t *testing.T) {
	t.Parallel()
	for name, peer := range peers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The suite names the repository before a server is there, so the
			// server is reached as a mirror of that name's host.
			origintest.Run(t, "registry.example/team/app", func(t *testing.T, f origintest.Fixture) origintest.Subject {
				t.Helper()
				p := serve(t, peer(t))
				p.fill(t, f)
				cfg := config(t)
				cfg.Mirrors = map[string][]string{"registry.example": {p.addr}}
				cfg.Transport = offline{cfg.Transport}
				cfg.Retry.First = time.Millisecond
				return origintest.Subject{Origin: registry.NewOrigin(cfg), Kind: images.FromRegistry, Damage: p.setDamage,
					AnyRepository: name == "go-containerregistry"}
			})
		})
	}
}

// offline answers for every host but loopback as a registry that has nothing.
type offline struct{ inner http.RoundTripper }

func (o offline) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(r.URL.Host, "127.0.0.1:") {
		return o.inner.RoundTrip(r)
	}
	status, body := http.StatusOK, "{}"
	if r.URL.Path != "/v2/" {
		status, body = http.StatusNotFound, `{"errors":[{"code":"NAME_UNKNOWN","message":"`+r.URL.Path+`"}]}`
	}
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status), Request: r, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// filled returns a served peer that holds the fixture under its own address.
func filled(t *testing.T, peer string) (*proxy, origintest.Fixture) {
	t.Helper()
	p := serve(t, peers()[peer](t))
	f := origintest.NewFixture(t, p.addr+"/team/app")
	p.fill(t, f)
	return p, f
}

func readAll(ctx context.Context, o images.Origin, repository string, desc v1.Descriptor) ([]byte, error) {
	content, err := o.Blob(ctx, repository, desc)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(content)
	return got, errors.Join(err, content.Close())
}

func TestPassingFailuresAreWaitedOut(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status, failures int
		retryAfter       string
		pauses           int
		atLeast          time.Duration
		fails            bool
	}{
		"a limit that says how long":  {status: 429, failures: 2, retryAfter: "7", pauses: 2, atLeast: 7 * time.Second},
		"a limit that does not":       {status: 429, failures: 1, pauses: 1, atLeast: 250 * time.Millisecond},
		"a broken server":             {status: 500, failures: 3, pauses: 3},
		"a gateway":                   {status: 503, failures: 5, pauses: 5},
		"a server that stays broken":  {status: 502, failures: 100, pauses: 5, fails: true},
		"a limit for the day":         {status: 429, failures: 100, retryAfter: "3600", pauses: 0, fails: true},
		"a failure that does not end": {status: 403, failures: 100, pauses: 0, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, f := filled(t, "go-containerregistry")
			left := tc.failures
			p.meddleWith(func(w http.ResponseWriter, r *http.Request, _ int) bool {
				if left == 0 || !strings.Contains(r.URL.Path, "manifests") {
					return false
				}
				left--
				if tc.retryAfter != "" {
					w.Header().Set("Retry-After", tc.retryAfter)
				}
				w.WriteHeader(tc.status)
				return true
			})
			var clock tick
			var rec progress.Recorder
			cfg := config(t)
			cfg.Retry, cfg.Sink = cfg.Retry.WithSleep(clock.sleep), &rec
			_, err := registry.NewOrigin(cfg).Manifest(t.Context(), f.Index)
			require.Len(t, clock.all(), tc.pauses)
			require.Len(t, rec.Events(), tc.pauses, "every pause is told")
			for _, d := range clock.all() {
				require.GreaterOrEqual(t, d, tc.atLeast)
			}
			if !tc.fails {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, strconv.Itoa(tc.status))
			if tc.status != 502 {
				require.NotEmpty(t, fault.Hint(err))
			}
			if tc.retryAfter != "" {
				require.ErrorContains(t, err, "1h0m0s")
			}
		})
	}
}

func TestPausesGrowAndAreCapped(t *testing.T) {
	t.Parallel()
	p, f := filled(t, "go-containerregistry")
	p.meddleWith(func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	var clock tick
	cfg := config(t)
	cfg.Retry = registry.Retry{Attempts: 9, First: time.Second, Longest: 10 * time.Second}.WithSleep(clock.sleep)
	_, err := registry.NewOrigin(cfg).Manifest(t.Context(), f.Index)
	require.Error(t, err)
	pauses := clock.all()
	require.NotEmpty(t, pauses)
	for i, d := range pauses {
		most := min(time.Second<<(i%8), 10*time.Second)
		require.LessOrEqual(t, d, most)
		require.GreaterOrEqual(t, d, most/2)
	}
}

// cut answers blob requests with the right headers and too few bytes.
func cut(f origintest.Fixture, ignoreRange bool, at func(n int) int) func(http.ResponseWriter, *http.Request, int) bool {
	var requests atomic.Int32 // a request may come while the one before it is still being broken off
	whole := f.Blobs[f.Layer.Digest]
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, f.Layer.Digest.String()) {
			return false
		}
		from := 0
		if rng := r.Header.Get("Range"); rng != "" && !ignoreRange {
			first, _, _ := strings.Cut(strings.TrimPrefix(rng, "bytes="), "-")
			from, _ = strconv.Atoi(first)
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(len(whole)-1)+"/"+strconv.Itoa(len(whole)))
		}
		rest := whole[from:]
		w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		end := at(int(requests.Add(1)))
		_, _ = w.Write(rest[:min(end, len(rest))])
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's always is one
		if end < len(rest) {
			panic(http.ErrAbortHandler)
		}
		return true
	}
}

func TestBrokenDownloadsGoOn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ignoreRange bool
		at          func(n int) int
		fails       bool
		ranges      int
	}{
		"cut three times":         {at: func(n int) int { return 300_000 }, ranges: 3},
		"cut at the last byte":    {at: func(n int) int { return 1<<20 - 1 }, ranges: 1},
		"cut, and no ranges":      {ignoreRange: true, at: func(n int) int { return n * 300_000 }, ranges: 3},
		"nothing twice, then all": {at: func(n int) int { return max(0, n-2) << 20 }, ranges: 0},
		"nothing ever":            {at: func(n int) int { return 0 }, fails: true},
		"drop by drop":            {at: func(n int) int { return 1 }, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, f := filled(t, "go-containerregistry")
			p.meddleWith(cut(f, tc.ignoreRange, tc.at))
			var clock tick
			cfg := config(t)
			cfg.Retry = cfg.Retry.WithSleep(clock.sleep)
			got, err := readAll(t.Context(), registry.NewOrigin(cfg), f.Repository, f.Layer)
			if tc.fails {
				require.ErrorContains(t, err, "broke")
				var passing interface{ Temporary() bool }
				require.ErrorAs(t, err, &passing)
				return
			}
			require.NoError(t, err)
			require.Equal(t, f.Blobs[f.Layer.Digest], got)
			require.Len(t, p.requests(" bytes="), tc.ranges)
		})
	}
}

func TestStalledDownloadGoesOn(t *testing.T) {
	t.Parallel()
	p, f := filled(t, "go-containerregistry")
	stalled := false
	p.meddleWith(func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if stalled || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, f.Layer.Digest.String()) {
			return false
		}
		stalled = true
		w.Header().Set("Content-Length", strconv.FormatInt(f.Layer.Size, 10))
		_, _ = w.Write(f.Blobs[f.Layer.Digest][:1000])
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's always is one
		<-r.Context().Done()
		return true
	})
	cfg := config(t)
	cfg.Retry.Stall = 100 * time.Millisecond
	got, err := readAll(t.Context(), registry.NewOrigin(cfg), f.Repository, f.Layer)
	require.NoError(t, err)
	require.Equal(t, f.Blobs[f.Layer.Digest], got)
	require.Len(t, p.requests("bytes=1000-"), 1)
}

func TestMirrorsComeFirst(t *testing.T) {
	t.Parallel()
	near, f := filled(t, "go-containerregistry")
	empty := serve(t, peers()["go-containerregistry"](t))
	repository := "registry.example/team/app"
	cfg := config(t)
	cfg.Mirrors = map[string][]string{"*": {empty.addr, near.addr}}
	cfg.Transport = offline{cfg.Transport}
	o := registry.NewOrigin(cfg)
	_, err := o.Manifest(t.Context(), images.Ref{Repository: repository, Digest: f.Index.Digest})
	require.NoError(t, err)
	require.NotEmpty(t, empty.requests("manifests"))
	got, err := readAll(t.Context(), o, repository, f.Config)
	require.NoError(t, err)
	require.Equal(t, f.Blobs[f.Config.Digest], got)

	near.setDamage(f.Index.Digest, func(b []byte) []byte { return append([]byte{' '}, b...) })
	_, err = o.Manifest(t.Context(), images.Ref{Repository: repository, Digest: f.Index.Digest})
	require.Equal(t, fault.NotFound, fault.KindOf(err), "the registry's own verdict counts: %v", err)
	require.ErrorContains(t, err, near.addr)
}

func TestFailuresSayWhatToDo(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Retry.Attempts = 1
	o := registry.NewOrigin(cfg)
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	_, err := o.Manifest(t.Context(), images.Ref{Repository: "127.0.0.1:1/x", Digest: digest})
	require.ErrorContains(t, err, "refused")
	require.NotEmpty(t, fault.Hint(err))
	_, err = o.Manifest(t.Context(), images.Ref{Repository: "Not A Name", Digest: digest})
	require.Equal(t, fault.Usage, fault.KindOf(err))
}

func TestSecretsOfARedirectAreNotTold(t *testing.T) {
	t.Parallel()
	p, f := filled(t, "go-containerregistry")
	p.meddleWith(func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		http.Redirect(w, r, "http://127.0.0.1:1/cdn?X-Signature=s3cret", http.StatusTemporaryRedirect)
		return true
	})
	var rec progress.Recorder
	cfg := config(t)
	cfg.Sink, cfg.Retry.Attempts = &rec, 2
	cfg.Retry = cfg.Retry.WithSleep((&tick{}).sleep)
	_, err := readAll(t.Context(), registry.NewOrigin(cfg), f.Repository, f.Layer)
	require.ErrorContains(t, err, "127.0.0.1:1/cdn")
	require.NotContains(t, err.Error(), "s3cret")
	for _, e := range rec.Events() {
		require.NotContains(t, e.Text, "s3cret")
	}
}
