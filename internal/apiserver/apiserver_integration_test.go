//go:build integration

package apiserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
)

func TestIntegrationARealServer(t *testing.T) {
	t.Parallel()
	client, err := kube.Connect(apiserver.Run(t, true))
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.Healthy(t.Context()))

	mapping, err := client.Mapper.Mapping(t.Context(), schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"})
	require.NoError(t, err)
	require.Equal(t, "deployments", mapping.Resource.Resource)
	require.True(t, mapping.Namespaced && mapping.Status)
	_, err = client.Mapper.Mapping(t.Context(), schema.GroupVersionKind{Group: "kubeflow.org", Version: "v1", Kind: "TFJob"})
	require.ErrorContains(t, err, "the cluster serves no kubeflow.org/v1 TFJob")

	// The controllers make a service account in every namespace.
	accounts := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace(metav1.NamespaceDefault)
	require.NoError(t, kube.Until(t.Context(), accounts, "default", func(o *unstructured.Unstructured) (bool, error) { return o != nil, nil }))
}

func TestIntegrationAServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	programs, err := apiserver.Build(t.Context())
	require.NoError(t, err)
	programs.Kubernetes = "/bin/false"
	_, err = apiserver.Start(t.Context(), apiserver.Options{Programs: programs, Dir: t.TempDir()})
	require.ErrorContains(t, err, "kube-apiserver ended")
}
