package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kfdev/kfdev/internal/fault"
)

const groups = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{"metadata":{"name":"apps"},"versions":[{"version":"v1","resources":[
 {"resource":"deployments","responseKind":{"group":"apps","version":"v1","kind":"Deployment"},"scope":"Namespaced","subresources":[{"subresource":"scale"},{"subresource":"status"}]},
 {"resource":"nothing","scope":"Cluster"}]}]}]}`

const core = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{"versions":[{"version":"v1","resources":[
 {"resource":"namespaces","responseKind":{"kind":"Namespace"},"scope":"Cluster"}]}]}]}`

func connect(tb testing.TB, handler http.Handler) *Client {
	tb.Helper()
	server := httptest.NewServer(handler)
	tb.Cleanup(server.Close)
	client, err := Connect(&rest.Config{Host: server.URL})
	require.NoError(tb, err)
	tb.Cleanup(client.Close)
	return client
}

func TestMappings(t *testing.T) {
	t.Parallel()
	asked := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/api", func(w http.ResponseWriter, _ *http.Request) { asked++; _, _ = io.WriteString(w, core) })
	mux.HandleFunc("/apis", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != aggregated {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		_, _ = io.WriteString(w, groups)
	})
	client := connect(t, mux)
	deployment := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	for range 2 {
		m, err := client.Mapper.Mapping(t.Context(), deployment)
		require.NoError(t, err)
		require.Equal(t, Mapping{Kind: deployment, Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Namespaced: true, Status: true}, m)
	}
	m, err := client.Mapper.Mapping(t.Context(), schema.GroupVersionKind{Version: "v1", Kind: "Namespace"})
	require.NoError(t, err)
	require.False(t, m.Namespaced || m.Status)
	require.Equal(t, 1, asked, "what is known is not asked for again")

	thing := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Thing"}
	_, err = client.Mapper.Mapping(t.Context(), thing)
	var unknown *UnknownKindError
	require.ErrorAs(t, err, &unknown)
	require.NoError(t, client.Mapper.Learn(&unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"group": "example.com", "scope": "Namespaced", "names": map[string]any{"kind": "Thing", "plural": "things"},
		"versions": []any{
			map[string]any{"name": "v1", "served": true, "subresources": map[string]any{"status": map[string]any{}}},
			map[string]any{"name": "v1alpha1", "served": false},
		},
	}}}))
	m, err = client.Mapper.Mapping(t.Context(), thing)
	require.NoError(t, err)
	require.Equal(t, Mapping{Kind: thing, Resource: thing.GroupVersion().WithResource("things"), Namespaced: true, Status: true}, m)
	thing.Version = "v1alpha1"
	_, err = client.Mapper.Mapping(t.Context(), thing)
	require.ErrorAs(t, err, &unknown)
	require.Error(t, client.Mapper.Learn(&unstructured.Unstructured{Object: map[string]any{}}))
}

func TestAnOldServerIsNamed(t *testing.T) {
	t.Parallel()
	client := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"kind":"APIVersions"}`) }))
	_, err := client.Mapper.Mapping(t.Context(), schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	require.ErrorContains(t, err, "Kubernetes 1.27 or later is needed")
}

func TestLogsAndFailures(t *testing.T) {
	t.Parallel()
	var asked string
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/namespaces/ns/pods/p/log", func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		_, _ = io.WriteString(w, "a line\n")
	})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "etcd failed", http.StatusInternalServerError)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status"}, Reason: metav1.StatusReasonNotFound, Message: "no such pod", Code: 404})
	})
	client := connect(t, mux)
	log, err := client.Logs(t.Context(), "ns", "p", LogOptions{Container: "c", Tail: 5, Previous: true, Follow: true})
	require.NoError(t, err)
	data, err := io.ReadAll(log)
	require.NoError(t, errors.Join(err, log.Close()))
	require.Equal(t, "a line\n", string(data))
	require.Equal(t, "container=c&follow=true&previous=true&tailLines=5", asked)

	_, err = client.Logs(t.Context(), "ns", "gone", LogOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	require.ErrorContains(t, err, "no such pod")
	require.ErrorContains(t, client.Healthy(t.Context()), "etcd failed")
}

func TestLoad(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte(`{apiVersion: v1, kind: Config, current-context: a,
clusters: [{name: one, cluster: {server: "https://one.example"}}, {name: two, cluster: {server: "https://two.example"}}],
contexts: [{name: a, context: {cluster: one, user: u}}, {name: b, context: {cluster: two, user: u}}], users: [{name: u, user: {token: t}}]}`), 0o600))
	for context, host := range map[string]string{"": "https://one.example", "a": "https://one.example", "b": "https://two.example"} {
		config, err := Load(file, context)
		require.NoError(t, err)
		require.Equal(t, host, config.Host)
	}
	_, err := Load(file, "c")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = Load(file+".gone", "")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	_, err = Load(file, "")
	require.Equal(t, fault.Failure, fault.KindOf(err))
	require.Error(t, err)
}

func TestChoose(t *testing.T) {
	t.Parallel()
	yes, no, port, name := true, false, int32(8080), "http"
	target := func(n string) discovery.Endpoint {
		return discovery.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: n}}
	}
	ready, unready, unsaid, external := target("ready"), target("unready"), target("unsaid"), discovery.Endpoint{}
	ready.Conditions.Ready, unready.Conditions.Ready, external.Conditions.Ready = &yes, &no, &yes
	slice := &discovery.EndpointSlice{Ports: []discovery.EndpointPort{{Name: &name, Port: &port}}, Endpoints: []discovery.Endpoint{external, unready, ready, unsaid}}
	to, ok := choose(slice, "http")
	require.True(t, ok)
	require.Equal(t, backend{"ready", 8080}, to)
	_, ok = choose(slice, "grpc")
	require.False(t, ok)
	slice.Endpoints = []discovery.Endpoint{unready, unsaid}
	to, ok = choose(slice, "http")
	require.True(t, ok)
	require.Equal(t, "unsaid", to.pod)
	slice.Ports[0].Name = nil
	_, ok = choose(slice, "")
	require.True(t, ok)
}

func TestFollowBeginsAgainWhenAWatchEnds(t *testing.T) {
	t.Parallel()
	resource := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{resource: "ConfigMapList"})
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a", "namespace": "ns"}}}
	watches := 0
	client.PrependWatchReactor("configmaps", func(clienttesting.Action) (bool, watch.Interface, error) {
		watches++
		w := watch.NewFakeWithChanSize(2, false)
		switch watches {
		case 1:
			w.Stop() // the server ends it
		case 2:
			expired := apierrors.NewResourceExpired("too old").Status()
			w.Error(&expired)
		default:
			w.Action(watch.Bookmark, object)
			w.Add(object)
		}
		return true, w, nil
	})
	lists := 0
	err := Until(t.Context(), client.Resource(resource).Namespace("ns"), "a", func(o *unstructured.Unstructured) (bool, error) {
		lists++
		return o != nil, nil
	})
	require.NoError(t, err)
	require.Equal(t, 3, watches)
	require.Equal(t, 4, lists)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = Until(ctx, client.Resource(resource).Namespace("ns"), "b", func(*unstructured.Unstructured) (bool, error) { return false, nil })
	require.ErrorIs(t, err, context.Canceled)
}
