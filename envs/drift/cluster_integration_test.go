//go:build integration

package drift_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/noise"
	"github.com/kfdev/kfdev/stack/running"
)

// open lets every webhook in at once.
type open struct{}

func (open) fence(context.Context) error { return nil }

func (open) Served(context.Context, string, []types.NamespacedName) error { return nil }

func load(tb testing.TB, name string) []*unstructured.Unstructured {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + name)
	require.NoError(tb, err)
	var out []*unstructured.Unstructured
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		out = append(out, object(tb, string(document)))
	}
	return out
}

func object(tb testing.TB, text string) *unstructured.Unstructured {
	tb.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(tb, err)
	o := &unstructured.Unstructured{}
	require.NoError(tb, o.UnmarshalJSON(data))
	return o
}

// cluster is an environment that the release has been applied to.
type cluster struct {
	client   *kube.Client
	applier  *apply.Applier
	detector *drift.Detector
	wanted   drift.Wanted
}

func environment(tb testing.TB, controllers bool) *cluster {
	tb.Helper()
	client, err := kube.Connect(apiserver.Run(tb, controllers))
	require.NoError(tb, err)
	tb.Cleanup(client.Close)
	return &cluster{client: client, applier: apply.New(client, open{}, progress.Discard), detector: drift.New(client, noise.Default(), progress.Discard)}
}

func (c *cluster) apply(tb testing.TB) {
	tb.Helper()
	for _, set := range c.wanted.Sets {
		_, err := c.applier.Apply(tb.Context(), set)
		require.NoError(tb, err)
	}
}

func (c *cluster) resource(tb testing.TB, apiVersion, kind, namespace string) dynamic.ResourceInterface {
	tb.Helper()
	m, err := c.client.Mapper.Mapping(tb.Context(), apply.Object{APIVersion: apiVersion, Kind: kind}.GroupVersionKind())
	require.NoError(tb, err)
	return c.client.Dynamic.Resource(m.Resource).Namespace(namespace)
}

// target is an object that a case changes.
type target struct {
	c                                 *cluster
	apiVersion, kind, namespace, name string
}

func (x target) patch(tb testing.TB, how types.PatchType, manager, text string, subresources ...string) {
	tb.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(tb, err)
	options := metav1.PatchOptions{FieldManager: manager}
	if how == types.ApplyPatchType {
		force := true
		options.Force = &force
	}
	_, err = x.c.resource(tb, x.apiVersion, x.kind, x.namespace).Patch(tb.Context(), x.name, how, data, options, subresources...)
	require.NoError(tb, err)
}

// edit changes the object as kubectl edit does.
func (x target) edit(tb testing.TB, text string) {
	tb.Helper()
	how := types.StrategicMergePatchType
	if x.kind == "Widget" || x.kind == "Profile" || x.kind == "CustomResourceDefinition" {
		how = types.MergePatchType
	}
	x.patch(tb, how, "kubectl-edit", text)
}

// json changes it by a JSON patch.
func (x target) json(tb testing.TB, text string) {
	tb.Helper()
	x.patch(tb, types.JSONPatchType, "kubectl-patch", text)
}

// as applies a part of it under another name, by force.
func (x target) as(tb testing.TB, manager, text string) {
	tb.Helper()
	o := object(tb, "{apiVersion: "+x.apiVersion+", kind: "+x.kind+", "+text[1:])
	o.SetName(x.name)
	data, err := yaml.Marshal(o.Object)
	require.NoError(tb, err)
	x.patch(tb, types.ApplyPatchType, manager, string(data))
}

func (x target) delete(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, x.c.resource(tb, x.apiVersion, x.kind, x.namespace).Delete(tb.Context(), x.name, metav1.DeleteOptions{}))
}

func (c *cluster) create(tb testing.TB, text string) {
	tb.Helper()
	o := object(tb, text)
	_, err := c.resource(tb, o.GetAPIVersion(), o.GetKind(), o.GetNamespace()).Create(tb.Context(), o, metav1.CreateOptions{FieldManager: "kubectl-create"})
	require.NoError(tb, err)
}

func (c *cluster) scan(tb testing.TB, full bool) drift.Report {
	tb.Helper()
	report, err := c.detector.Scan(tb.Context(), c.wanted, drift.Options{Full: full})
	require.NoError(tb, err)
	return report
}

// lines names findings by class, object and path.
func lines(findings []drift.Finding) []string {
	out := []string{}
	for _, f := range findings {
		line := string(f.Class) + " " + f.Object.String()
		if f.Path != "" {
			line += " " + f.Path
		}
		out = append(out, line)
	}
	return out
}

func texts(findings []drift.Finding) (out []string) {
	for _, f := range findings {
		out = append(out, f.String())
	}
	return out
}

// allowed are the images of testdata/base.yaml.
func allowed() running.Allowed {
	out := running.Allowed{}
	for _, digit := range "12345" {
		out.Add("image", v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(string(digit), 64)})
	}
	return out
}

const (
	waitFor = 30 * time.Second
	tick    = 200 * time.Millisecond
)
