//go:build integration

package envs

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/internal/fault"
)

// strongComponent has a role with rights that a promoter has not.
const strongComponent = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: strong}
rules: [{apiGroups: [""], resources: [groups], verbs: [impersonate]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: strong}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: strong}
subjects: [{kind: ServiceAccount, name: strong, namespace: strong}]
`

// strong is a staging that has of everything that a promotion writes: teams,
// certificates, Secrets, a pull secret, roles.
func strong(t *testing.T) (*places, kubernetes.Interface) {
	t.Helper()
	p := newPlacesOf(t, strings.NewReplacer("components: {", "components: {hooked: {folder: hooked}, strong: {folder: strong}, ", ", after: [dev]", "",
		"registry: registry.staging.example/kfdev", "registry: {push: registry.staging.example/kfdev, pullSecret: {namespace: vault, name: pull}}").Replace(twoTeams), "staging")
	p.hooked(t)
	p.write(t, map[string]string{
		"strong/component.yaml":     "apiVersion: kfdev.dev/v1alpha1\nkind: Component\nname: strong\nversion: v1\ntitle: for tests\nnamespace: strong\n",
		"strong/kustomization.yaml": "resources: [all.yaml]\n",
		"strong/all.yaml":           "apiVersion: v1\nkind: Namespace\nmetadata: {name: strong}\n---\n" + strongComponent,
	})
	p.controller(t, "staging")
	config := rest.CopyConfig(p.clients["staging"].Config)
	config.UserAgent = "test" // what it writes is not kfdev's
	typed, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = typed.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vault"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = typed.CoreV1().Secrets("vault").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson, StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{}}`},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = p.lock(t, LockOptions{})
	require.NoError(t, err)
	return p, typed
}

// promoterRules are those of the documented role.
func promoterRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	text, err := os.ReadFile("../stack/apply/rights/promoter.yaml")
	require.NoError(t, err)
	var role rbacv1.ClusterRole
	require.NoError(t, yaml.Unmarshal(text, &role))
	return role.Rules
}

// withoutOne are the promoter's rules without a verb on one resource: every
// resource that is served, or will be, by its name.
func (p *places) withoutOne(t *testing.T, verb, resource string) []rbacv1.PolicyRule {
	t.Helper()
	kinds, err := p.clients["staging"].Mapper.Kinds(t.Context())
	require.NoError(t, err)
	all := []schema.GroupResource{{Group: "kfdev.dev", Resource: "allowedimages"}, {Group: "kubeflow.org", Resource: "profiles"}}
	for _, k := range kinds {
		all = append(all, k.Resource.GroupResource())
	}
	rules := promoterRules(t)
	wide := rules[0]
	require.Equal(t, []string{"*"}, wide.Resources)
	rules = rules[1:]
	out := schema.ParseGroupResource(resource)
	require.Contains(t, all, out)
	for _, r := range all {
		verbs := wide.Verbs
		if r == out {
			verbs = slices.DeleteFunc(slices.Clone(verbs), func(v string) bool { return v == verb })
		}
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{r.Group}, Resources: []string{r.Resource}, Verbs: verbs})
	}
	if verb != "get" { // whoever writes a policy of a kind that is not served yet has to be able to read everything
		rules = append(rules, rbacv1.PolicyRule{APIGroups: wide.APIGroups, Resources: wide.Resources, Verbs: []string{"get"}})
	}
	return rules
}

// give gives a user rules.
func give(t *testing.T, typed kubernetes.Interface, user string, rules []rbacv1.PolicyRule) {
	t.Helper()
	_, err := typed.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = typed.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// written is everything in a cluster that kfdev ever wrote to, with its version.
func (p *places) written(t *testing.T, place string) map[string]string {
	t.Helper()
	client := p.clients[place]
	kinds, err := client.Mapper.Kinds(t.Context())
	require.NoError(t, err)
	all := map[string]string{}
	for _, k := range kinds {
		if !k.List {
			continue
		}
		list, err := client.Dynamic.Resource(k.Resource).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for _, o := range list.Items {
			if slices.ContainsFunc(o.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool { return strings.HasPrefix(f.Manager, "kfdev") }) {
				all[fmt.Sprintf("%s %s/%s", k.Resource.GroupResource(), o.GetNamespace(), o.GetName())] = o.GetResourceVersion()
			}
		}
	}
	return all
}

// refusesWithout holds that what do does is refused without each verb of the
// promoter's role, with the right in the error, and that nothing was written.
func (p *places) refusesWithout(t *testing.T, typed kubernetes.Interface, name string, wants map[string]string, do func(*Engine) error) {
	t.Helper()
	before, verbs := p.written(t, "staging"), map[string]bool{}
	for _, rule := range promoterRules(t) {
		for _, verb := range rule.Verbs {
			verbs[verb] = true
		}
	}
	for verb := range verbs {
		want, known := wants[verb]
		require.True(t, known, "nothing needs %s", verb)
		if want == "" {
			continue
		}
		user := name + "-without-" + verb
		rules := promoterRules(t)
		for i := range rules {
			rules[i].Verbs = slices.DeleteFunc(rules[i].Verbs, func(v string) bool { return v == verb })
		}
		give(t, typed, user, slices.DeleteFunc(rules, func(r rbacv1.PolicyRule) bool { return len(r.Verbs) == 0 }))
		p.refuses(t, user, want, before, do)
	}
}

func (p *places) refuses(t *testing.T, user, want string, before map[string]string, do func(*Engine) error) {
	t.Helper()
	err := do(p.as(t, user))
	require.Equal(t, fault.Preflight, fault.KindOf(err), "%s: %v", user, err)
	require.ErrorContains(t, err, want, user)
	require.Equal(t, before, p.written(t, "staging"), user)
}

// Without any one verb of the documented role, and without any one right that a
// promotion takes for itself, it is refused before it writes anything, its own
// namespace and lease among it.
func TestIntegrationAPromotionTellsWhatItMayNot(t *testing.T) {
	p, typed := strong(t)
	promote := func(e *Engine) error {
		_, err := e.Promote(t.Context(), "staging", PromoteOptions{})
		return err
	}
	p.refusesWithout(t, typed, "promoter", map[string]string{
		"get": "get namespaces", "list": "leases.coordination.k8s.io in kfdev-system", "watch": "watch leases.coordination.k8s.io in kfdev-system",
		"create": "create namespaces (for kfdev's own namespace)", "update": "update configmaps in kfdev-system (for what the environment remembers)",
		"patch": "patch configmaps in kfdev-system", "delete": "delete configmaps in kfdev-system (for the baseline of drift)",
		"escalate": "impersonate groups (for ClusterRole/strong)", "bind": "impersonate groups (for ClusterRoleBinding/strong)",
		"impersonate": "impersonate users (to prove that profiles hold)",
	}, promote)
	nothing := p.written(t, "staging")
	require.Empty(t, nothing)
	for resource, verbs := range map[string]string{
		"namespaces": "create", "configmaps": "get list create update patch delete",
		"leases.coordination.k8s.io": "get list watch create update", "pods": "list watch create delete",
		"secrets": "get create patch", "serviceaccounts": "list watch patch", "allowedimages.kfdev.dev": "get patch",
		"rolebindings.rbac.authorization.k8s.io": "watch", "replicasets.apps": "list",
	} {
		for verb := range strings.FieldsSeq(verbs) {
			user := "no-" + verb + "-" + resource
			give(t, typed, user, p.withoutOne(t, verb, resource))
			p.refuses(t, user, verb+" "+resource, nothing, promote)
		}
	}
	p.grant(t, "staging", "promoter", "promoter")
	require.NoError(t, promote(p.as(t, "promoter")))
	require.Empty(t, p.warnings("drift"))

	p.drifts(t, typed)
	mend := func(e *Engine) error {
		_, err := e.Drift(t.Context(), "staging", DriftOptions{Fix: true, Delete: []string{"ConfigMap/hooked/foreign"}})
		return err
	}
	p.refusesWithout(t, typed, "mender", map[string]string{
		"get": "get namespaces", "list": "list leases.coordination.k8s.io in kfdev-system", "watch": "watch leases.coordination.k8s.io in kfdev-system",
		"create": "create configmaps in vision", "update": "update leases.coordination.k8s.io in kfdev-system",
		"patch": "patch clusterrolebindings.rbac.authorization.k8s.io, clusterroles.rbac.authorization.k8s.io, validatingwebhookconfigurations.admissionregistration.k8s.io", "delete": "delete configmaps in hooked",
		"escalate": "impersonate groups (for ClusterRole/strong)", "bind": "impersonate groups (for ClusterRoleBinding/strong)",
		"impersonate": "", // nobody is asked as anybody
	}, mend)
	give(t, typed, "mender", slices.DeleteFunc(promoterRules(t), func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Verbs, "impersonate") }))
	p.refuses(t, "mender", "impersonate users (to prove that profiles hold)", p.written(t, "staging"), func(e *Engine) error {
		_, err := e.VerifySite(t.Context(), "staging")
		return err
	})
	fixed, err := p.as(t, "mender").Drift(t.Context(), "staging", DriftOptions{Fix: true, Delete: []string{"ConfigMap/hooked/foreign"}})
	require.NoError(t, err)
	require.Len(t, fixed.Done, 5)
	require.Empty(t, fixed.Findings)
}

// drifts changes by hand what takes every right to mend.
func (p *places) drifts(t *testing.T, typed kubernetes.Interface) {
	t.Helper()
	by := metav1.PatchOptions{FieldManager: "kubectl-edit"}
	_, err := typed.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(t.Context(), "hooked", types.JSONPatchType, []byte(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Fail"}]`), by)
	require.NoError(t, err)
	_, err = typed.RbacV1().ClusterRoles().Patch(t.Context(), "strong", types.MergePatchType, []byte(`{"rules":[]}`), by)
	require.NoError(t, err)
	_, err = typed.RbacV1().ClusterRoleBindings().Patch(t.Context(), "strong", types.MergePatchType, []byte(`{"subjects":[]}`), by)
	require.NoError(t, err)
	require.NoError(t, typed.CoreV1().ConfigMaps("vision").Delete(t.Context(), "defaults", metav1.DeleteOptions{}))
	_, err = typed.CoreV1().ConfigMaps("hooked").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "foreign"}}, metav1.CreateOptions{FieldManager: "kubectl-create"})
	require.NoError(t, err)
}
