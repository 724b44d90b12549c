package seed_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/certs"
	"github.com/kfdev/kfdev/stack/seed"
)

func component() stack.Component {
	return stack.Component{
		Name: "app", Namespace: "apps",
		Certificates: []stack.Certificate{{Secret: "hook-cert", Service: "hook", DNSNames: []string{"also.example"}}},
		Secrets:      []stack.Secret{{Name: "login", Namespace: "other", Keys: []stack.SecretKey{{Name: "user", Value: "dev"}, {Name: "password", Bytes: 12}}}},
	}
}

func client() (*kube.Client, dynamic.Interface) {
	fake := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		{Version: "v1", Resource: "secrets"}: "SecretList", {Version: "v1", Resource: "namespaces"}: "NamespaceList",
	})
	return &kube.Client{Dynamic: fake}, fake
}

func data(t *testing.T, client dynamic.Interface, namespace, name string) map[string]string {
	t.Helper()
	o, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	texts, _, err := unstructured.NestedStringMap(o.Object, "data")
	require.NoError(t, err)
	for key, text := range texts {
		raw, err := base64.StdEncoding.DecodeString(text)
		require.NoError(t, err)
		texts[key] = string(raw)
	}
	return texts
}

func TestEnsureMakesAndKeeps(t *testing.T) {
	t.Parallel()
	kubeClient, fake := client()
	now := time.Now()
	s := seed.New(kubeClient, func() time.Time { return now })

	planned, err := s.Plan(t.Context(), component())
	require.NoError(t, err)
	require.Equal(t, 2, planned.Changes.Count(apply.Created))
	require.Equal(t, [][]byte{nil}, planned.Authorities)
	list, err := fake.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, list.Items, "a plan writes nothing")

	made, err := s.Ensure(t.Context(), component())
	require.NoError(t, err)
	require.Equal(t, planned.Changes, made.Changes)
	login := data(t, fake, "other", "login")
	require.Equal(t, "dev", login["user"])
	require.Regexp(t, "^[0-9a-f]{24}$", login["password"])
	cert := data(t, fake, "apps", "hook-cert")
	require.Equal(t, cert[seed.AuthorityFile], string(made.Authorities[0]))
	require.NoError(t, certs.Check(certs.Pair{Authority: []byte(cert["ca.crt"]), AuthorityKey: []byte(cert["ca.key"]), Serving: []byte(cert["tls.crt"]), ServingKey: []byte(cert["tls.key"])},
		certs.Request{Authority: "hook-cert-ca", DNSNames: []string{"hook.apps.svc", "also.example"}, Now: now}))

	again, err := s.Ensure(t.Context(), component())
	require.NoError(t, err)
	require.False(t, again.Changes.Changed())
	require.Equal(t, made.Authorities, again.Authorities)
	require.Equal(t, login, data(t, fake, "other", "login"))

	// A component that asks for one more value gets it, and keeps the others.
	more := component()
	more.Secrets[0].Keys = append(more.Secrets[0].Keys, stack.SecretKey{Name: "token", Bytes: 4})
	grown, err := s.Ensure(t.Context(), more)
	require.NoError(t, err)
	require.Equal(t, 1, grown.Changes.Count(apply.Configured))
	got := data(t, fake, "other", "login")
	require.Regexp(t, "^[0-9a-f]{8}$", got["token"])
	require.Equal(t, login["password"], got["password"])

	// Years later the serving certificate is renewed; who is trusted stays.
	now = now.Add(5 * 365 * 24 * time.Hour)
	renewed, err := s.Ensure(t.Context(), component())
	require.NoError(t, err)
	require.Equal(t, 1, renewed.Changes.Count(apply.Configured))
	require.Equal(t, made.Authorities, renewed.Authorities)
	require.NotEqual(t, cert["tls.crt"], data(t, fake, "apps", "hook-cert")["tls.crt"])
}

// TestTrusted: a certificate that is due is renewed by a plan; until then the
// cluster is to trust what it trusts. One that is good says itself what that is.
func TestTrusted(t *testing.T) {
	t.Parallel()
	kubeClient, fake := client()
	now := time.Now()
	s := seed.New(kubeClient, func() time.Time { return now })
	c := component()
	c.Certificates[0].Inject = []string{"ValidatingWebhookConfiguration/hook"}
	none, err := s.Trusted(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, [][]byte{nil}, none.Authorities)
	made, err := s.Ensure(t.Context(), c)
	require.NoError(t, err)
	hooks := fake.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"})
	_, err = hooks.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": map[string]any{"name": "hook"},
		"webhooks": []any{map[string]any{"name": "a", "clientConfig": map[string]any{"caBundle": base64.StdEncoding.EncodeToString([]byte("another"))}}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	good, err := s.Trusted(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, made.Authorities, good.Authorities)
	now = now.Add(5 * 365 * 24 * time.Hour)
	due, err := s.Trusted(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("another")}, due.Authorities)
}

func TestAnEmptySecretIsFilled(t *testing.T) {
	t.Parallel()
	kubeClient, fake := client()
	_, err := fake.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace("apps").Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "hook-cert", "namespace": "apps"},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	made, err := seed.New(kubeClient, time.Now).Ensure(t.Context(), component())
	require.NoError(t, err)
	require.Equal(t, apply.Configured, made.Changes[0].Change)
	require.NotEmpty(t, data(t, fake, "apps", "hook-cert")["tls.key"])
}

func TestRead(t *testing.T) {
	t.Parallel()
	kubeClient, _ := client()
	s := seed.New(kubeClient, time.Now)
	_, err := s.Ensure(t.Context(), component())
	require.NoError(t, err)
	user, err := s.Read(t.Context(), "other", "login", "user")
	require.NoError(t, err)
	require.Equal(t, "dev", user)
	for _, name := range []string{"login", "none"} {
		_, err = s.Read(t.Context(), "other", name, "gone")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	}
}
