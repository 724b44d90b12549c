//go:build integration

package envs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
)

// keyed is a place with a Secret of given values, and one of the release that
// somebody else fills.
func keyed(t *testing.T) (*places, *kubernetes.Clientset) {
	t.Helper()
	p := newPlacesOf(t, strings.NewReplacer("      - {namespace: elsewhere, name: theirs}\n", "", ", {namespace: elsewhere, name: theirs}", "").Replace(withSecrets)+"noise: noise.yaml\n", "staging")
	p.env = map[string]string{"OURS": "one"}
	p.ours(t, "of a file")
	p.filled(t, "one")
	p.write(t, map[string]string{"noise.yaml": `fields: [{name: filled, reason: another fills it, kinds: [core/Secret], paths: {data/by: '', data/from-variable: ''}}]`})
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	typed, err := kubernetes.NewForConfig(p.clients["staging"].Config)
	require.NoError(t, err)
	return p, typed
}

// filled writes the release's own Secret, with a note that changes it.
func (p *places) filled(t *testing.T, note string) {
	t.Helper()
	p.write(t, map[string]string{"ours/all.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: filled, namespace: ours, annotations: {note: " + note + "}}\ntype: Opaque\n"})
}

func (p *places) planned(t *testing.T) SitePlan {
	t.Helper()
	plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.NoError(t, err)
	return plan
}

func (p *places) carried(t *testing.T, plan SitePlan) error {
	t.Helper()
	_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{Plan: throughAFile(t, plan)})
	return err
}

// lineOf is what a plan says of the release's own Secret.
func lineOf(t *testing.T, plan SitePlan) apply.Proposed {
	t.Helper()
	for _, s := range plan.Sets {
		for _, o := range s.Objects {
			if o.Object.Kind == "Secret" {
				return o
			}
		}
	}
	require.Fail(t, "the plan has no Secret")
	return apply.Proposed{}
}

// The first promotion makes the key of the hashes of Secrets, at random, and no
// later one another. It is no drift, and no part of what a release may take away.
func TestIntegrationTheKeyOfHashesIsMadeOnce(t *testing.T) {
	p, typed := keyed(t)
	secrets := typed.CoreV1().Secrets("kfdev-system")
	first := p.planned(t)
	require.Empty(t, first.Key)
	require.Equal(t, apply.Created, first.Secrets[0].Change)
	require.Empty(t, first.Secrets[0].After)
	require.Empty(t, lineOf(t, first).After)
	list, err := secrets.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, list.Items, "a plan makes nothing")

	require.NoError(t, p.carried(t, first))
	key, err := secrets.Get(t.Context(), seed.HashKeyName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Len(t, key.Data["key"], 32)
	require.True(t, *key.Immutable)
	second := p.planned(t)
	require.False(t, second.Changed())
	require.Equal(t, string(key.UID), second.Key)
	require.Contains(t, second.Secrets[0].After, "hmac-sha256:")
	require.Equal(t, second.Secrets[0].Before, second.Secrets[0].After)

	file, err := os.ReadFile(filepath.Join(p.dir, "kfdev.yaml"))
	require.NoError(t, err)
	p.project(t, strings.Replace(string(file), "ours: {folder: ours}", "", 1))
	_, err = p.lock(t, LockOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	again, err := secrets.Get(t.Context(), seed.HashKeyName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, key, again)
	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Full: true})
	require.NoError(t, err)
	require.Empty(t, found.Findings)
}

// A plan without a key says less of Secrets, and binds to that: to what is done
// to which version of them.
func TestIntegrationAPlanWithoutAKeyIsBinding(t *testing.T) {
	p, typed := keyed(t)
	_, err := p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	key := typed.CoreV1().Secrets("kfdev-system")
	secrets := typed.CoreV1().Secrets("ours")
	write := func(name, field, value string) {
		_, err := secrets.Patch(t.Context(), name, types.MergePatchType, []byte(`{"stringData":{"`+field+`":"`+value+`"}}`), metav1.PatchOptions{FieldManager: "filler"})
		require.NoError(t, err)
	}
	write("filled", "by", "another")
	p.filled(t, "two")
	_, err = p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.env["OURS"] = "two"

	// As an environment is that an earlier kfdev promoted to.
	require.NoError(t, key.Delete(t.Context(), seed.HashKeyName, metav1.DeleteOptions{}))
	plan := p.planned(t)
	require.Empty(t, plan.Key)
	require.Equal(t, apply.Configured, plan.Secrets[0].Change)
	require.Empty(t, plan.Secrets[0].Before+plan.Secrets[0].After)
	require.Equal(t, apply.Configured, lineOf(t, plan).Change)
	require.Empty(t, lineOf(t, plan).Before+lineOf(t, plan).After)
	require.Equal(t, "a value that is not shown", lineOf(t, plan).Fields[0].From)

	for _, moved := range []string{"given", "filled"} {
		before := plan
		write(moved, "from-variable", "by hand")
		err := p.carried(t, before)
		require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
		require.ErrorContains(t, err, "Secret/ours/"+moved)
		_, err = key.Get(t.Context(), seed.HashKeyName, metav1.GetOptions{})
		require.Error(t, err, "a promotion that is refused makes no key")
		plan = p.planned(t)
	}
	require.NoError(t, p.carried(t, plan))
	got, err := secrets.Get(t.Context(), "given", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "two", string(got.Data["from-variable"]))
	got, err = secrets.Get(t.Context(), "filled", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "two", got.Annotations["note"])
	require.Equal(t, "another", string(got.Data["by"]))
	require.False(t, p.planned(t).Changed())

	// Hashes of another key, and a plan of an earlier form, say nothing.
	p.env["OURS"] = "three"
	plan = p.planned(t)
	old := plan
	old.Version = 0
	err = p.carried(t, old)
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "it has the form 0")
	require.NoError(t, key.Delete(t.Context(), seed.HashKeyName, metav1.DeleteOptions{}))
	err = p.carried(t, plan)
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "of a key that is not the cluster's")

	// One that is no key is not taken for one.
	_, err = key.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: seed.HashKeyName}, StringData: map[string]string{"key": "short"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
	require.ErrorContains(t, err, "it is to hold 32 bytes")
}
