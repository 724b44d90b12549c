//go:build integration

package apply_test

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// roles makes users with roles.
type roles struct {
	t      *testing.T
	config *rest.Config
	admin  *kube.Client
}

func (r roles) file(name string) *unstructured.Unstructured {
	data, err := os.ReadFile("rights/" + name + ".yaml")
	require.NoError(r.t, err)
	return object(r.t, string(data))
}

// user returns a client of a user who has a role and nothing else.
func (r roles) user(name string, role *unstructured.Unstructured) *kube.Client {
	role = role.DeepCopy()
	role.SetName(name)
	group := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	_, err := r.admin.Dynamic.Resource(group.WithResource("clusterroles")).Create(r.t.Context(), role, metav1.CreateOptions{})
	require.NoError(r.t, err)
	_, err = r.admin.Dynamic.Resource(group.WithResource("clusterrolebindings")).Create(r.t.Context(), object(r.t,
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: "+name+"}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "+name+"}, subjects: [{kind: User, name: "+name+"}]}"), metav1.CreateOptions{})
	require.NoError(r.t, err)
	config := rest.CopyConfig(r.config)
	config.Impersonate.UserName = name
	client, err := kube.Connect(config)
	require.NoError(r.t, err)
	r.t.Cleanup(client.Close)
	return client
}

// without returns a role that lacks a verb.
func without(role *unstructured.Unstructured, verb string) *unstructured.Unstructured {
	role = role.DeepCopy()
	rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
	for _, rule := range rules {
		fields := rule.(map[string]any)
		fields["verbs"] = slices.DeleteFunc(fields["verbs"].([]any), func(v any) bool { return v == verb })
	}
	rules = slices.DeleteFunc(rules, func(rule any) bool { return len(rule.(map[string]any)["verbs"].([]any)) == 0 })
	_ = unstructured.SetNestedSlice(role.Object, rules, "rules")
	return role
}

func TestIntegrationRights(t *testing.T) {
	t.Parallel()
	config := apiserver.Run(t, false)
	admin, err := kube.Connect(config)
	require.NoError(t, err)
	t.Cleanup(admin.Close)
	r := roles{t, config, admin}
	applier := func(c *kube.Client) *apply.Applier { return apply.New(c, &open{}, progress.Discard) }
	strong := func(set apply.Set) apply.Set { // with rights that the promoter does not hold itself
		set.Objects = append(set.Objects,
			object(t, "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: impersonator}, rules: [{apiGroups: [''], resources: [groups], verbs: [impersonate]}]}"),
			object(t, "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: impersonator}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: impersonator}, subjects: [{kind: ServiceAccount, name: account, namespace: rights}]}"))
		return set
	}
	set := strong(thirty(t, "rights", 0))
	promoter := applier(r.user("promoter", r.file("promoter")))

	t.Run("a promoter without a verb", func(t *testing.T) {
		for verb, want := range map[string]string{
			"create": "create configmaps in rights", "patch": "patch deployments.apps in rights", "get": "get services in rights", "list": "list roles.rbac.authorization.k8s.io", "watch": "watch customresourcedefinitions.apiextensions.k8s.io",
			"escalate": "impersonate groups (for ClusterRole/impersonator)", "bind": "impersonate groups (for ClusterRoleBinding/impersonator)",
		} {
			p := propose(t, promoter, set)
			weak := applier(r.user("no-"+verb, without(r.file("promoter"), verb)))
			missing, err := weak.Rights(t.Context(), []apply.Planned{{Set: set, Proposal: p}})
			require.NoError(t, err)
			var all []string
			for _, m := range missing {
				all = append(all, m.String())
			}
			require.Contains(t, all, want, verb)
			require.Equal(t, fault.Preflight, fault.KindOf(apply.Refuse(missing)))
		}
		_, err := admin.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(t.Context(), "rights", metav1.GetOptions{})
		require.Error(t, err, "nothing was written")
	})

	t.Run("a promoter", func(t *testing.T) {
		for generation := range 2 {
			set := strong(thirty(t, "rights", generation))
			p := propose(t, promoter, set)
			require.NoError(t, p.Problems())
			missing, err := promoter.Rights(t.Context(), []apply.Planned{{Set: set, Proposal: p}})
			require.NoError(t, err)
			require.NoError(t, apply.Refuse(missing))
			_, err = promoter.Carry(t.Context(), set, p, apply.CarryOptions{})
			require.NoError(t, err)
			p = propose(t, promoter, set)
			require.False(t, p.Changed())
		}
		p := propose(t, promoter, strong(thirty(t, "rights", 2)))
		weak := applier(r.user("no-delete", without(r.file("promoter"), "delete")))
		missing, err := weak.Rights(t.Context(), []apply.Planned{{Set: strong(thirty(t, "rights", 2)), Proposal: p}})
		require.NoError(t, err)
		require.Equal(t, "[delete configmaps in rights]", "["+join(missing)+"]")
	})

	t.Run("who holds the rules need not escalate", func(t *testing.T) {
		role := without(without(r.file("promoter"), "escalate"), "bind")
		rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
		rules = append(rules, map[string]any{"apiGroups": []any{""}, "resources": []any{"groups"}, "verbs": []any{"impersonate"}})
		require.NoError(t, unstructured.SetNestedSlice(role.Object, rules, "rules"))
		weak := applier(r.user("holder", role))
		fresh := apply.Set{Name: "fresh", Namespace: "default", Objects: strong(apply.Set{}).Objects}
		for _, o := range fresh.Objects {
			o.SetName("fresh-" + o.GetName())
		}
		require.NoError(t, unstructured.SetNestedField(fresh.Objects[1].Object, "fresh-impersonator", "roleRef", "name"))
		p := propose(t, weak, fresh)
		missing, err := weak.Rights(t.Context(), []apply.Planned{{Set: fresh, Proposal: p}})
		require.NoError(t, err)
		require.Empty(t, missing)
		_, err = weak.Carry(context.Background(), fresh, p, apply.CarryOptions{})
		require.NoError(t, err)
		bind := apply.Missing{Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: "fresh-impersonator", Why: "for a test"}
		missing, err = weak.Rights(t.Context(), nil, bind)
		require.NoError(t, err)
		require.Empty(t, missing, "nor bind")
		missing, err = applier(r.user("no-bind-at-all", without(r.file("promoter"), "bind"))).Rights(t.Context(), nil, bind)
		require.NoError(t, err)
		require.Equal(t, "impersonate groups (for a test)", join(missing))
	})

	t.Run("a reader", func(t *testing.T) {
		role := r.file("reader")
		rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
		rules = append(rules, map[string]any{"apiGroups": []any{"rights.example.com"}, "resources": []any{"*"}, "verbs": []any{"get", "list", "watch"}})
		require.NoError(t, unstructured.SetNestedSlice(role.Object, rules, "rules"))
		reader := applier(r.user("reader", role))
		p := propose(t, reader, strong(thirty(t, "rights", 1)))
		require.False(t, p.Changed())
		p = propose(t, reader, strong(thirty(t, "rights", 2)))
		config := line(t, p, "ConfigMap/rights/config-0")
		require.Equal(t, apply.Configured, config.Change)
		require.Contains(t, config.Unchecked, "no rights to ask")
		require.Equal(t, []apply.FieldChange{{Path: "data/key", From: "of 1", To: "of 2"}}, config.Fields)
		_, err := reader.Carry(t.Context(), strong(thirty(t, "rights", 2)), p, apply.CarryOptions{})
		require.Error(t, err)
		_, err = promoter.Carry(t.Context(), strong(thirty(t, "rights", 2)), through(t, p), apply.CarryOptions{})
		require.NoError(t, err, "a promoter may carry what a reader planned")

		secrets := apply.Set{Name: "hidden", Namespace: "default", Objects: []*unstructured.Unstructured{object(t, "{apiVersion: v1, kind: Secret, metadata: {name: hidden}}")}}
		require.Contains(t, line(t, propose(t, reader, secrets), "Secret/default/hidden").Unchecked, "it may not be read")
	})
}

func join(missing []apply.Missing) string {
	var text string
	for n, m := range missing {
		if n > 0 {
			text += "; "
		}
		text += m.String()
	}
	return text
}
