package profiles_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/profiles"
)

const team = `
name: team-a
owner: ana@example.com
contributors: [{user: Bob@example.com, role: edit}, {user: eve, role: view}]
quota: {cpu: 8, memory: 32Gi, pods: "20"}
`

func read(t *testing.T, text string) profiles.Profile {
	t.Helper()
	var p profiles.Profile
	require.NoError(t, yaml.Unmarshal([]byte(text), &p))
	return p
}

func TestObjectsAreThoseOfKubeflow(t *testing.T) {
	t.Parallel()
	p := read(t, team)
	require.Empty(t, profiles.Check([]profiles.Profile{p}))
	objects := profiles.Objects(p)
	require.Len(t, objects, 4)
	of := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		of[o.GetKind()+" "+o.GetName()] = o
	}
	require.Equal(t, "ana@example.com", of["Namespace team-a"].GetAnnotations()["owner"])
	require.Equal(t, map[string]any{
		"owner":             map[string]any{"kind": "User", "name": "ana@example.com"},
		"resourceQuotaSpec": map[string]any{"hard": map[string]any{"cpu": "8", "memory": "32Gi", "pods": "20"}},
	}, of["Profile team-a"].Object["spec"])
	// The name that Kubeflow's access management gives to this very binding.
	edit := of["RoleBinding user-bob-40example-com-clusterrole-edit"]
	require.NotNil(t, edit)
	require.Equal(t, "team-a", edit.GetNamespace())
	require.Equal(t, map[string]string{"user": "Bob@example.com", "role": "edit"}, edit.GetAnnotations())
	require.Equal(t, "kubeflow-view", of["RoleBinding user-eve-clusterrole-view"].Object["roleRef"].(map[string]any)["name"])
}

func TestWhatIsWrongIsSaidWithItsPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"no name":              {`{owner: a}`, "[0 name] a name is missing"},
		"a name":               {`{name: Team, owner: a}`, `[0 name] "Team" cannot be a namespace`},
		"the stack's":          {`{name: kubeflow, owner: a}`, "own namespace"},
		"the cluster's":        {`{name: kube-public, owner: a}`, "own namespace"},
		"no owner":             {`{name: a}`, "[0 owner] an owner is missing"},
		"the owner twice":      {`{name: a, owner: x, contributors: [{user: x, role: edit}]}`, "[0 contributors 0 user] \"x\" is the owner already"},
		"a contributor twice":  {`{name: a, owner: x, contributors: [{user: y, role: edit}, {user: Y, role: edit}]}`, "[0 contributors 1 user]"},
		"a role":               {`{name: a, owner: x, contributors: [{user: y, role: admin}]}`, `[0 contributors 0 role] "admin" is no role: edit or view`},
		"a resource":           {`{name: a, owner: x, quota: {"a b": 1}}`, "[0 quota a b]"},
		"an image":             {`{name: a, owner: x, images: ["UPPER:1"]}`, "[0 images 0]"},
		"a digest":             {`{name: a, owner: x, images: ["r.example.com/i@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}`, "names a digest: name the tag"},
		"files from elsewhere": {`{name: a, owner: x, objects: [../x.yaml]}`, "[0 objects 0]"},
		"an absolute file":     {`{name: a, owner: x, objects: [/x.yaml]}`, "[0 objects 0]"},
		"a pattern":            {`{name: a, owner: x, objects: ["[x"]}`, "[0 objects 0]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problems := profiles.Check([]profiles.Profile{read(t, c.text)})
			require.Len(t, problems, 1)
			require.Contains(t, fmt.Sprint(problems[0].At, " ", problems[0].Text), c.want)
		})
	}
	p := read(t, team)
	problems := profiles.Check([]profiles.Profile{p, p})
	require.Len(t, problems, 1)
	require.Equal(t, []any{1, "name"}, problems[0].At)

	require.Error(t, yaml.Unmarshal([]byte(`{quota: {cpu: lots}}`), &p))
	require.Error(t, yaml.Unmarshal([]byte(`{quota: {cpu: "-1"}}`), &p))
}

func TestObjectsOfFilesAreInTheNamespace(t *testing.T) {
	t.Parallel()
	objects, err := profiles.Decode([]byte(`
apiVersion: kubeflow.org/v1alpha1
kind: PodDefault
metadata: {name: gpu}
spec: {desc: d, weight: 3}
---
# nothing
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: team-a}
`), "team-a")
	require.NoError(t, err)
	require.Len(t, objects, 2)
	for _, o := range objects {
		require.Equal(t, "team-a", o.GetNamespace())
	}
	require.Equal(t, int64(3), objects[0].Object["spec"].(map[string]any)["weight"])

	for name, c := range map[string]struct{ text, want string }{
		"another namespace": {"{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: other}}", "document 1: ConfigMap c is in the namespace other"},
		"no namespace":      {"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: c}}", "is in no namespace"},
		"a Secret":          {"{apiVersion: v1, kind: Secret, metadata: {name: c}}", "never stand in a project"},
		"no name":           {"{apiVersion: v1, kind: ConfigMap}", "needs apiVersion, kind and metadata.name"},
		"no YAML":           {"{", "document 1"},
		"no object":         {"[1]", "document 1"},
		"the second":        {"{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n---\n{kind: x}", "document 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := profiles.Decode([]byte(c.text), "team-a")
			require.ErrorContains(t, err, c.want)
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := profiles.Decode(data, "team")
		for _, o := range objects {
			require.True(t, err != nil || o.GetNamespace() == "team" && o.GetName() != "")
		}
	})
}
