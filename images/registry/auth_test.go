package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/origintest"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/fault"
)

const (
	user     = "ann"
	password = "s3cret"
)

// basicAuth lets only the user in.
func basicAuth(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("Www-Authenticate", `Basic realm="peer"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// tokenAuth gives tokens at /token, each good for a number of requests.
func tokenAuth(inner http.Handler, uses int32, issued *atomic.Int32) http.Handler {
	var left atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			left.Store(uses)
			_ = json.NewEncoder(w).Encode(map[string]string{"token": fmt.Sprintf("t%d", issued.Add(1))})
			return
		}
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", issued.Load()) || left.Add(-1) < 0 {
			w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="peer",scope="repository:team/app:pull,push"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

type keys struct{}

func (keys) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: user, Password: password}, nil
}

func TestCredentialsOpenEveryDoor(t *testing.T) {
	t.Parallel()
	for name, guard := range map[string]func(http.Handler, *atomic.Int32) http.Handler{
		"basic":                       func(h http.Handler, _ *atomic.Int32) http.Handler { return basicAuth(h) },
		"tokens":                      func(h http.Handler, n *atomic.Int32) http.Handler { return tokenAuth(h, 1000, n) },
		"tokens that run out quickly": func(h http.Handler, n *atomic.Int32) http.Handler { return tokenAuth(h, 3, n) },
	} {
		for peerName, peer := range peers() {
			t.Run(name+"/"+peerName, func(t *testing.T) {
				t.Parallel()
				var issued atomic.Int32
				p := serve(t, guard(peer(t), &issued))
				f := origintest.NewFixture(t, p.addr+"/team/app")
				cfg := config(t)
				cfg.Keychain = keys{}
				if name != "tokens that run out quickly" { // a body is sent once: only reads get a fresh token
					target := registry.NewTarget(cfg, registry.MirrorLayout(p.addr))
					_, err := (&images.Copier{From: origintest.NewMemory().Fill(f), To: target}).Copy(t.Context(), f.Index)
					require.NoError(t, err)
				} else {
					p.inner = peer(t)
					p.fill(t, f)
					p.inner = guard(p.inner, &issued)
				}
				to := origintest.NewMemory()
				done, err := (&images.Copier{From: registry.NewOrigin(cfg), To: to, Parallel: 1}).Copy(t.Context(), f.Index)
				require.NoError(t, err)
				require.Equal(t, len(f.Blobs), done.Blobs)

				_, err = registry.NewOrigin(config(t)).Manifest(t.Context(), f.Index)
				require.Error(t, err)
				require.Contains(t, strings.Join(fault.Hint(err), " "), "docker login "+p.addr)
				require.NotContains(t, err.Error(), password)
			})
		}
	}
}

func TestCredentialsComeFromDockersFileAndHelpers(t *testing.T) {
	p := serve(t, peers()["go-containerregistry"](t))
	f := origintest.NewFixture(t, p.addr+"/team/app")
	p.fill(t, f)
	p.inner = basicAuth(p.inner)
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	helper := fmt.Sprintf("#!/bin/sh\nread host\n[ \"$host\" = %q ] && echo '{\"Username\":%q,\"Secret\":%q}' && exit\necho credentials not found in native keychain; exit 1\n", p.addr, user, password)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker-credential-kfdevtest"), []byte(helper), 0o755)) //nolint:gosec // it must run
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	for name, tc := range map[string]struct {
		content string
		fails   string
	}{
		"in the file":       {content: fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, p.addr, auth)},
		"a helper":          {content: fmt.Sprintf(`{"credHelpers":{%q:"kfdevtest"}}`, p.addr)},
		"a store":           {content: `{"credsStore":"kfdevtest"}`},
		"none":              {content: `{}`, fails: "401"},
		"a file not JSON":   {content: `{`, fails: "credentials"},
		"a helper not here": {content: fmt.Sprintf(`{"credHelpers":{%q:"gone"}}`, p.addr), fails: "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(tc.content), 0o600))
			_, err := registry.NewOrigin(registry.Config{Transport: transport(t)}).Manifest(t.Context(), f.Index)
			if tc.fails != "" {
				require.ErrorContains(t, err, tc.fails)
				return
			}
			require.NoError(t, err)
		})
	}
}
