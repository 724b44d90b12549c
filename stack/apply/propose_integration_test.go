//go:build integration

package apply_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// counting counts requests for single objects.
type counting struct {
	next  http.RoundTripper
	lists chan string
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.lists <- r.Method + " " + r.URL.Path
	return c.next.RoundTrip(r)
}

// WrappedRoundTripper leads to the connections that Close of a client drops.
func (c *counting) WrappedRoundTripper() http.RoundTripper { return c.next }

func TestIntegrationPropose(t *testing.T) {
	t.Parallel()
	config := apiserver.Run(t, false)
	client, err := kube.Connect(config)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	a := apply.New(client, &open{}, progress.Discard)
	in := func(name string, texts ...string) apply.Set {
		set := apply.Set{Name: name, Namespace: "default"}
		for _, text := range texts {
			set.Objects = append(set.Objects, object(t, text))
		}
		return set
	}
	carry := func(t *testing.T, set apply.Set) {
		t.Helper()
		_, err := a.Carry(t.Context(), set, propose(t, a, set), apply.CarryOptions{})
		require.NoError(t, err)
	}

	t.Run("the server refuses what makes an object where one is", func(t *testing.T) {
		// What every create of kfdev rests on: for kinds of all sorts.
		for _, text := range []string{
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: once}, data: {a: b}}",
			"{apiVersion: v1, kind: Service, metadata: {name: once}, spec: {ports: [{port: 1}]}}",
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: once}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}",
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: once}, rules: []}",
			"{apiVersion: v1, kind: Namespace, metadata: {name: once}}",
			fmt.Sprintf(crdText, "once"),
		} {
			o := object(t, text)
			mapping, err := client.Mapper.Mapping(t.Context(), o.GroupVersionKind())
			require.NoError(t, err)
			namespace := ""
			if mapping.Namespaced {
				namespace = "default"
			}
			send := func(version, label string) (*unstructured.Unstructured, bool, error) {
				c := o.DeepCopy()
				c.SetResourceVersion(version)
				c.SetLabels(map[string]string{"try": label})
				data, err := c.MarshalJSON()
				require.NoError(t, err)
				return client.Apply(t.Context(), kube.Apply{Mapping: mapping, Namespace: namespace, Name: o.GetName(), Manager: apply.Manager, Content: data})
			}
			made, created, err := send("1", "first")
			require.NoError(t, err, o.GetKind())
			require.True(t, created)
			_, _, err = send("1", "second")
			require.True(t, apierrors.IsConflict(err), "%s: %v", o.GetKind(), err)
			_, created, err = send("1", "first")
			require.True(t, apierrors.IsConflict(err) || err == nil && !created, "%s: an apply that changes nothing is let through, and says so", o.GetKind())
			now, err := client.Dynamic.Resource(mapping.Resource).Namespace(namespace).Get(t.Context(), o.GetName(), metav1.GetOptions{})
			require.NoError(t, err)
			require.Equal(t, "first", now.GetLabels()["try"])
			require.Equal(t, made.GetUID(), now.GetUID())
			require.Equal(t, metav1.ManagedFieldsOperationApply, made.GetManagedFields()[0].Operation, "owned as applied from the first moment")
		}
	})

	t.Run("what the server would refuse", func(t *testing.T) {
		deployment := `{apiVersion: apps/v1, kind: Deployment, metadata: {name: fixed}, spec: {selector: {matchLabels: {a: %[1]s}}, template: {metadata: {labels: {a: %[1]s}}, spec: {containers: [{name: c, image: i}]}}}}`
		carry(t, in("refuse", fmt.Sprintf(deployment, "b"), fmt.Sprintf(crdText, "stored")))
		later := strings.ReplaceAll(fmt.Sprintf(crdText, "stored"), "name: v1,", "name: v2,")
		p := propose(t, a, in("refuse", fmt.Sprintf(deployment, "c"), later))
		require.Contains(t, line(t, p, "Deployment/default/fixed").Blocked, "spec.selector")
		require.Contains(t, line(t, p, "Deployment/default/fixed").Blocked, "immutable")
		require.Contains(t, line(t, p, "CustomResourceDefinition/things.stored.example.com").Blocked, "objects are stored as v1")
		_, err := a.Carry(t.Context(), in("refuse", fmt.Sprintf(deployment, "c"), later), p, apply.CarryOptions{})
		require.Equal(t, fault.Gate, fault.KindOf(err))
		p = propose(t, a, in("refuse", fmt.Sprintf(deployment, "b"), "{apiVersion: v1, kind: ConfigMap, metadata: {name: odd}, spec: {}}", fmt.Sprintf(crdText, "stored")))
		require.Contains(t, line(t, p, "ConfigMap/default/odd").Blocked, "spec", "a field that the kind does not have")
	})

	t.Run("webhooks that cannot be asked", func(t *testing.T) {
		set := in("hooked", `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hooked}
webhooks:
- {name: hooked.example.com, admissionReviewVersions: [v1], sideEffects: None, failurePolicy: Fail,
   clientConfig: {url: 'https://127.0.0.1:1/'}, namespaceSelector: {matchLabels: {hooked: 'yes'}},
   rules: [{apiGroups: [''], apiVersions: [v1], resources: [configmaps], operations: [CREATE, UPDATE]}]}
`, "{apiVersion: v1, kind: Namespace, metadata: {name: hooked, labels: {hooked: 'yes'}}}")
		carry(t, set)
		config := in("guarded", "{apiVersion: v1, kind: ConfigMap, metadata: {name: guarded, namespace: hooked}}")
		require.Eventually(t, func() bool {
			return strings.Contains(line(t, propose(t, a, config), "ConfigMap/hooked/guarded").Unchecked, "a webhook cannot be asked")
		}, 30*time.Second, 100*time.Millisecond, "the server takes a moment to heed a new webhook")
	})

	t.Run("nothing to do costs no request of any object", func(t *testing.T) {
		set := apply.Set{Name: "quiet", Namespace: "default"}
		for n := range 50 {
			set.Objects = append(set.Objects, object(t, fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: quiet-%d}, data: {a: b}}", n)))
		}
		carry(t, set)
		asked := make(chan string, 1000)
		watched := rest.CopyConfig(config)
		watched.Wrap(transport.WrapperFunc(func(next http.RoundTripper) http.RoundTripper { return &counting{next: next, lists: asked} }))
		c, err := kube.Connect(watched)
		require.NoError(t, err)
		t.Cleanup(c.Close)
		p := propose(t, apply.New(c, &open{}, progress.Discard), set)
		require.False(t, p.Changed())
		require.LessOrEqual(t, len(asked), 4, "discovery, the inventory and one list")
	})

	t.Run("secrets show only as keyed hashes", func(t *testing.T) {
		const marked = "bWFya2VkLXNlY3JldA=="
		secret := func(value string) apply.Set {
			return in("secret", "{apiVersion: v1, kind: Secret, metadata: {name: keys, annotations: {note: marked-note}}, data: {password: "+value+"}}")
		}
		_, err := a.Propose(t.Context(), secret(marked), apply.ProposeOptions{})
		require.ErrorContains(t, err, "there is no key")
		bare, err := a.Propose(t.Context(), secret(marked), apply.ProposeOptions{Seeing: apply.Seeing{Keyless: true}})
		require.NoError(t, err)
		require.Equal(t, apply.Created, bare.Objects[0].Change)
		require.Empty(t, bare.Objects[0].After)
		seeing := apply.Seeing{SecretKey: []byte("key")}
		p, err := a.Propose(t.Context(), secret(marked), apply.ProposeOptions{Seeing: seeing})
		require.NoError(t, err)
		_, err = a.Carry(t.Context(), secret(marked), p, apply.CarryOptions{Seeing: seeing})
		require.NoError(t, err)
		for _, value := range []string{"b3RoZXI=", "not base64"} {
			p, err = a.Propose(t.Context(), secret(value), apply.ProposeOptions{Seeing: seeing})
			require.NoError(t, err)
			data, err := json.Marshal(p)
			require.NoError(t, err)
			for _, hidden := range []string{marked, "marked-secret", "b3RoZXI=", "not base64", "marked-note"} {
				require.NotContains(t, string(data), hidden)
			}
		}
		require.NotEmpty(t, line(t, p, "Secret/default/keys").Blocked)
		bare, err = a.Propose(t.Context(), secret("b3RoZXI="), apply.ProposeOptions{Seeing: apply.Seeing{Keyless: true}})
		require.NoError(t, err)
		without := line(t, bare, "Secret/default/keys")
		require.Equal(t, apply.Configured, without.Change)
		require.Empty(t, without.Before+without.After)
		require.Equal(t, []apply.FieldChange{{Path: "data/password", From: "a value that is not shown", To: "a value that is not shown"}}, without.Fields)
		_, err = client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace("default").
			Patch(t.Context(), "keys", types.MergePatchType, []byte(`{"data":{"more":"bW9yZQ=="}}`), metav1.PatchOptions{FieldManager: "another"})
		require.NoError(t, err)
		_, err = a.Carry(t.Context(), secret("b3RoZXI="), bare, apply.CarryOptions{Seeing: seeing})
		require.ErrorContains(t, err, "another has written to it since")
		other, err := a.Propose(t.Context(), secret("b3RoZXI="), apply.ProposeOptions{Seeing: apply.Seeing{SecretKey: []byte("another")}})
		require.NoError(t, err)
		require.Equal(t, "data/password", line(t, other, "Secret/default/keys").Fields[0].Path)
		again, err := a.Propose(t.Context(), secret("b3RoZXI="), apply.ProposeOptions{Seeing: seeing})
		require.NoError(t, err)
		require.NotEqual(t, line(t, again, "Secret/default/keys").Fields, line(t, other, "Secret/default/keys").Fields)
	})

	t.Run("an object that is being deleted is made anew", func(t *testing.T) {
		set := in("dying", "{apiVersion: v1, kind: ConfigMap, metadata: {name: dying}, data: {a: b}}")
		carry(t, set)
		configMaps := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("default")
		held, err := configMaps.Get(t.Context(), "dying", metav1.GetOptions{})
		require.NoError(t, err)
		held.SetFinalizers([]string{"example.com/hold"})
		_, err = configMaps.Update(t.Context(), held, metav1.UpdateOptions{FieldManager: "holder"})
		require.NoError(t, err)
		require.NoError(t, configMaps.Delete(t.Context(), "dying", metav1.DeleteOptions{}))
		p := propose(t, a, set)
		require.Equal(t, apply.Created, line(t, p, "ConfigMap/default/dying").Change)
		ended := make(chan error, 1)
		go func() {
			_, err := a.Carry(t.Context(), set, p, apply.CarryOptions{})
			ended <- err
		}()
		held, err = configMaps.Get(t.Context(), "dying", metav1.GetOptions{})
		require.NoError(t, err)
		held.SetFinalizers(nil)
		_, err = configMaps.Update(t.Context(), held, metav1.UpdateOptions{FieldManager: "holder"})
		require.NoError(t, err)
		require.NoError(t, <-ended)
		now, err := configMaps.Get(t.Context(), "dying", metav1.GetOptions{})
		require.NoError(t, err)
		require.NotEqual(t, held.GetUID(), now.GetUID())
	})
}
