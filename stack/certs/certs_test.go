package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/stack/certs"
)

func request(now time.Time) certs.Request {
	return certs.Request{Authority: "an-authority", DNSNames: []string{"hook.ns.svc", "hook.ns.svc.cluster.local"}, Now: now}
}

func TestAClientTrustsIt(t *testing.T) {
	t.Parallel()
	p, err := certs.Renew(certs.Pair{}, request(time.Now()))
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(p.Serving, p.ServingKey)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(p.Authority))
	for name, good := range map[string]bool{"hook.ns.svc": true, "other.ns.svc": false} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}}}
		response, err := client.Get(server.URL)
		if !good {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		client.CloseIdleConnections()
	}
}

// What an operator that looks after its own certificate checks before it
// believes a Secret.
func TestAnOperatorBelievesIt(t *testing.T) {
	t.Parallel()
	p, err := certs.Renew(certs.Pair{}, request(time.Now()))
	require.NoError(t, err)
	block, rest := pem.Decode(p.AuthorityKey)
	require.Empty(t, rest)
	_, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(p.Authority))
	for name, certificate := range map[string][]byte{"an-authority": p.Authority, "hook.ns.svc": p.Serving} {
		block, rest := pem.Decode(certificate)
		require.Empty(t, rest)
		c, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		_, err = c.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: time.Now().Add(90 * 24 * time.Hour)})
		require.NoError(t, err)
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	now := time.Now()
	first, err := certs.Renew(certs.Pair{}, request(now))
	require.NoError(t, err)
	other, err := certs.Renew(certs.Pair{}, request(now))
	require.NoError(t, err)

	type outcome struct{ authority, serving bool } // kept
	for name, tc := range map[string]struct {
		old  certs.Pair
		r    certs.Request
		want outcome
	}{
		"still good":        {first, request(now.Add(24 * time.Hour)), outcome{true, true}},
		"nearly over":       {first, request(now.Add((5*365 - 60) * 24 * time.Hour)), outcome{true, false}},
		"authority over":    {first, request(now.Add(9*365*24*time.Hour + 300*24*time.Hour)), outcome{false, false}},
		"not yet":           {first, request(now.Add(-48 * time.Hour)), outcome{false, false}},
		"another name":      {first, certs.Request{Authority: "an-authority", DNSNames: []string{"new.ns.svc"}, Now: now}, outcome{true, false}},
		"another authority": {first, certs.Request{Authority: "b", DNSNames: []string{"hook.ns.svc"}, Now: now}, outcome{false, false}},
		"a foreign leaf":    {certs.Pair{first.Authority, first.AuthorityKey, other.Serving, other.ServingKey}, request(now), outcome{true, false}},
		"a foreign key":     {certs.Pair{first.Authority, other.AuthorityKey, first.Serving, first.ServingKey}, request(now), outcome{false, false}},
		"no key":            {certs.Pair{Authority: first.Authority, AuthorityKey: first.AuthorityKey, Serving: first.Serving}, request(now), outcome{true, false}},
		"rubbish":           {certs.Pair{[]byte("a"), []byte("b"), []byte("c"), []byte("d")}, request(now), outcome{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := certs.Renew(tc.old, tc.r)
			require.NoError(t, err)
			require.NoError(t, certs.Check(got, tc.r))
			require.Equal(t, tc.want, outcome{string(got.Authority) == string(tc.old.Authority), string(got.Serving) == string(tc.old.Serving)})
		})
	}
	_, err = certs.Renew(first, certs.Request{Authority: "a", Now: now})
	require.Error(t, err)
}

func TestInject(t *testing.T) {
	t.Parallel()
	webhook := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
		"metadata": map[string]any{"name": "v"}, "webhooks": []any{map[string]any{"name": "a"}, map[string]any{"name": "b", "clientConfig": map[string]any{"url": "x"}}}}}
	crd := &unstructured.Unstructured{Object: map[string]any{"kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "c"},
		"spec": map[string]any{"conversion": map[string]any{"strategy": "Webhook"}}}}
	plain := &unstructured.Unstructured{Object: map[string]any{"kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "plain"}}}
	api := &unstructured.Unstructured{Object: map[string]any{"kind": "APIService", "metadata": map[string]any{"name": "s"}}}
	all := []*unstructured.Unstructured{webhook, crd, plain, api}

	out, err := certs.Inject(all, []string{"ValidatingWebhookConfiguration/v", "CustomResourceDefinition/c", "APIService/s"}, []byte("PEM"))
	require.NoError(t, err)
	want := base64.StdEncoding.EncodeToString([]byte("PEM"))
	hooks, _, err := unstructured.NestedSlice(out[0].Object, "webhooks")
	require.NoError(t, err)
	for _, h := range hooks {
		got, _, _ := unstructured.NestedString(h.(map[string]any), "clientConfig", "caBundle")
		require.Equal(t, want, got)
	}
	got, _, _ := unstructured.NestedString(out[1].Object, "spec", "conversion", "webhook", "clientConfig", "caBundle")
	require.Equal(t, want, got)
	got, _, _ = unstructured.NestedString(out[3].Object, "spec", "caBundle")
	require.Equal(t, want, got)
	require.Same(t, plain, out[2])
	_, found, _ := unstructured.NestedString(crd.Object, "spec", "conversion", "webhook", "clientConfig", "caBundle")
	require.False(t, found, "the given objects must stay as they are")

	for name, want := range map[string]string{"Deployment/x": "there is no", "CustomResourceDefinition/plain": "no conversion webhook"} {
		_, err := certs.Inject(all, []string{name}, nil)
		require.ErrorContains(t, err, want)
	}
}
