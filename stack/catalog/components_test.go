package catalog_test

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/catalog"
	"github.com/kfdev/kfdev/stack/imageref"
	"github.com/kfdev/kfdev/stack/render"
)

func rendered(t *testing.T, name string) (stack.Component, []*unstructured.Unstructured) {
	t.Helper()
	c, err := catalog.Component(catalog.Files(), name)
	require.NoError(t, err)
	r, err := render.Render(c, nil, nil)
	require.NoError(t, err)
	return c, r.Objects
}

// Every image that the manifests of a component name is declared with its
// published reference and a recipe, every one that is declared is named
// somewhere, and once pinned no tag is left, hidden places included.
func TestEveryImageIsDeclaredAndCanBePinned(t *testing.T) {
	t.Parallel()
	names, err := catalog.Names(catalog.Files())
	require.NoError(t, err)
	require.Subset(t, names, []string{"storage", "training-operator", "jupyterhub", "argo-workflows"})
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, objects := rendered(t, name)
			refs := map[string]images.Ref{}
			for _, image := range c.Images {
				require.NotEmpty(t, image.Recipe, image.Name)
				if image.Use != stack.InManifests {
					continue
				}
				hash, _, err := v1.SHA256(strings.NewReader(image.Name))
				require.NoError(t, err)
				refs[image.Published] = images.Ref{Repository: images.SourceHost + "/" + image.Recipe, Digest: hash}
			}
			found, err := imageref.Find(objects, c.Rules)
			require.NoError(t, err)
			seen := map[string]bool{}
			for _, f := range found {
				seen[f.Image] = true
			}
			for published := range refs {
				require.True(t, seen[published], "%s is declared, and no manifest names it", published)
			}
			require.NoError(t, imageref.Pin(objects, refs, c.Rules))
			left, err := imageref.Unpinned(objects, c.Rules)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// The images that the operators put into other people's pods are in their
// arguments and environment, where only the rules find them.
func TestHiddenImagesArePinnedInTheirPlace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ component, image, deployment, want string }{
		{"training-operator", "pytorch-init", "training-operator", `"--pytorch-init-container-image=kfdev.internal/`},
		{"argo-workflows", "executor", "workflow-controller", `"--executor-image","kfdev.internal/`},
		{"jupyterhub", "notebook", "hub", `{"name":"NOTEBOOK_IMAGE","value":"kfdev.internal/`},
	} {
		t.Run(tc.image, func(t *testing.T) {
			t.Parallel()
			c, objects := rendered(t, tc.component)
			refs := map[string]images.Ref{}
			want := ""
			for _, image := range c.Images {
				hash, _, err := v1.SHA256(strings.NewReader(image.Name))
				require.NoError(t, err)
				refs[image.Published] = images.Ref{Repository: "kfdev.internal/" + image.Recipe, Digest: hash}
				if image.Name == tc.image {
					want = tc.want + image.Recipe + "@" + hash.String() + `"`
				}
			}
			require.NoError(t, imageref.Pin(objects, refs, c.Rules))
			data, err := object(t, objects, "Deployment", tc.deployment).MarshalJSON()
			require.NoError(t, err)
			require.Contains(t, string(data), want)
		})
	}
}

func object(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == kind && o.GetName() == name {
			return o
		}
	}
	require.Fail(t, "no such object", "%s/%s", kind, name)
	return nil
}

// All five webhooks of the operator lead to its Service, which its certificate
// is issued for, and every kind of job that has a webhook is served.
func TestTheOperatorServesEveryWebhook(t *testing.T) {
	t.Parallel()
	c, objects := rendered(t, "training-operator")
	require.Len(t, c.Certificates, 1)
	deployment, err := object(t, objects, "Deployment", "training-operator").MarshalJSON()
	require.NoError(t, err)
	hooks, _, err := unstructured.NestedSlice(object(t, objects, "ValidatingWebhookConfiguration", "validator.training-operator.kubeflow.org").Object, "webhooks")
	require.NoError(t, err)
	require.Len(t, hooks, 5)
	for _, hook := range hooks {
		h, ok := hook.(map[string]any)
		require.True(t, ok)
		service, _, err := unstructured.NestedStringMap(h, "clientConfig", "service")
		require.NoError(t, err)
		require.Equal(t, c.Namespace, service["namespace"])
		require.Equal(t, c.Certificates[0].Service, service["name"])
		kind := strings.TrimPrefix(service["path"], "/validate-kubeflow-org-v1-")
		require.Contains(t, string(deployment), `"--enable-scheme=`+kind+`"`)
		object(t, objects, "CustomResourceDefinition", kind+"s.kubeflow.org")
	}
	require.Contains(t, string(deployment), `"secretName":"`+c.Certificates[0].Secret+`"`)
}

// Every key that JupyterHub's pods take from a Secret is one that the
// component has made.
func TestJupyterHubHasItsSecrets(t *testing.T) {
	t.Parallel()
	c, objects := rendered(t, "jupyterhub")
	made := map[string]bool{}
	for _, s := range c.Secrets {
		for _, k := range s.Keys {
			made[s.Name+"/"+k.Name] = true
		}
	}
	taken := map[string]bool{}
	for _, name := range []string{"hub", "proxy"} {
		containers, _, err := unstructured.NestedSlice(object(t, objects, "Deployment", name).Object, "spec", "template", "spec", "containers")
		require.NoError(t, err)
		for _, each := range containers {
			container, ok := each.(map[string]any)
			require.True(t, ok)
			env, _, err := unstructured.NestedSlice(container, "env")
			require.NoError(t, err)
			for _, e := range env {
				variable, ok := e.(map[string]any)
				require.True(t, ok)
				ref, found, err := unstructured.NestedStringMap(variable, "valueFrom", "secretKeyRef")
				require.NoError(t, err)
				if found {
					require.True(t, made[ref["name"]+"/"+ref["key"]], "%v", ref)
					taken[ref["name"]+"/"+ref["key"]] = true
				}
			}
		}
	}
	require.Equal(t, made, taken)
	require.True(t, made[c.Open.Secret+"/"+c.Open.UserKey])
	require.True(t, made[c.Open.Secret+"/"+c.Open.PasswordKey])
}
