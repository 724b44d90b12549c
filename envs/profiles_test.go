package envs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
)

// twoTeams has the controller's component as a folder of the project, and two
// profiles, one of which differs.
const twoTeams = `apiVersion: kfdev.dev/v1alpha1
kind: Project
metadata: {name: demo}
origin: source
stack:
  preset: tiny
  components: {profile-controller: {folder: controller}}
profiles:
  - name: vision
    owner: ana@example.com
    contributors: [{user: bob@example.com, role: edit}]
    quota: {cpu: 4}
    images: [registry.example/extra:v1]
    objects: [teams/*.yaml]
  - {name: speech, owner: eve@example.com}
environments:
  staging: {cluster: {context: staging}, registry: registry.staging.example/kfdev, after: [dev]}
  prod: {cluster: {context: prod}, registry: registry.prod.example/kfdev, after: [staging]}
differences:
  - id: vision-owner
    paths: [kubeflow.org/Profile/vision/spec/owner/name]
    allow: {pattern: "[a-z]+@example.com"}
    values: {dev: ana@example.com, staging: ana@example.com, prod: zoe@example.com}
    reason: production has an owner of its own
    owner: ana
  - id: vision-quota
    paths: [kubeflow.org/Profile/vision/spec/resourceQuotaSpec/hard/cpu]
    allow: {type: quantity, min: 1, max: 64}
    values: {dev: 4, staging: 4, prod: 64}
    reason: production is larger
    owner: ana
`

// profileKind is the custom resource, as small as it serves tests.
const profileKind = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: profiles.kubeflow.org}
spec:
  group: kubeflow.org
  names: {kind: Profile, plural: profiles}
  scope: Cluster
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

func (b *bench) write(t *testing.T, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(b.dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
}

// teams is a project with profiles.
func (b *bench) teams(t *testing.T) *bench {
	t.Helper()
	role := "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: kubeflow-%s}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get, list, create]}]\n"
	b.write(t, map[string]string{
		"controller/component.yaml": `apiVersion: kfdev.dev/v1alpha1
kind: Component
name: profile-controller
version: v1
title: for tests
namespace: kubeflow
images: [{name: controller, published: "registry.example/extra:v1", recipe: extra}, {name: pause, published: "registry.example/pause:1", recipe: pause, use: smoke}]
`,
		"controller/kustomization.yaml": "resources: [all.yaml]\n",
		"controller/all.yaml": strings.ReplaceAll(deployment("controller", "registry.example/extra:v1"), "namespace: controller", "namespace: kubeflow") +
			"---\n" + profileKind + strings.ReplaceAll(role, "%s", "admin") + strings.ReplaceAll(role, "%s", "edit"),
		"teams/defaults.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: defaults}\ndata: {a: b}\n",
	})
	return b
}

func TestProfilesAreRenderedForEveryEnvironment(t *testing.T) {
	t.Parallel()
	b := newBench(t, twoTeams).teams(t)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	for name, want := range map[string][2]string{"dev": {"ana@example.com", "4"}, "staging": {"ana@example.com", "4"}, "prod": {"zoe@example.com", "64"}} {
		r := rendered(t, b, name)
		require.Equal(t, profilesPart, r.Components[len(r.Components)-1].Name)
		profile := r.object(t, "Profile", "vision")
		owner, _, err := unstructured.NestedString(profile, "spec", "owner", "name")
		require.NoError(t, err)
		cpu, _, err := unstructured.NestedFieldNoCopy(profile, "spec", "resourceQuotaSpec", "hard", "cpu")
		require.NoError(t, err)
		require.Equal(t, want, [2]string{owner, fmt.Sprint(cpu)}, name)
		// What follows from a difference is none of its own, and needs no entry.
		of := unstructured.Unstructured{Object: r.object(t, "Namespace", "vision")}
		require.Equal(t, want[0], of.GetAnnotations()["owner"])
		defaults := unstructured.Unstructured{Object: r.object(t, "ConfigMap", "defaults")}
		require.Equal(t, "vision", defaults.GetNamespace())
	}
	s, err := b.engine(t).settled(t.Context())
	require.NoError(t, err)
	var places []string
	for _, i := range s.lock.Images {
		for _, r := range i.References {
			places = append(places, r.Object+" "+r.Path)
		}
	}
	require.Contains(t, places, "profile vision images[0]")
}

func TestAProfilesChangeIsAChangeOfTheLock(t *testing.T) {
	t.Parallel()
	b := newBench(t, twoTeams).teams(t)
	_, err := b.lock(t, LockOptions{})
	require.NoError(t, err)
	for name, change := range map[string]func(){
		"a file": func() {
			b.write(t, map[string]string{"teams/defaults.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: defaults}\n"})
		},
		"the quota": func() { b.project(t, strings.Replace(twoTeams, "quota: {cpu: 4}", "quota: {cpu: 5}", 1)) },
	} {
		change()
		_, err := b.engine(t).settled(t.Context())
		require.Equal(t, fault.Drift, fault.KindOf(err), name)
		require.ErrorContains(t, err, "profiles has changed")
		_, err = b.lock(t, LockOptions{})
		require.NoError(t, err)
	}
}

func TestProfilesThatCannotBeAreNamedWithTheirPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, to string
		want     string
	}{
		"no such file":     {"objects: [teams/*.yaml]", "objects: [team/*.yaml]", "kfdev.yaml:14:15: there is no such file in the project"},
		"a taken space":    {"name: speech", "name: storage", "kfdev.yaml:15:12: the component storage has the namespace storage: a team needs another"},
		"no controller":    {"components: {profile-controller: {folder: controller}}", "components: {}", "profiles are served by the component profile-controller, which the stack does not have"},
		"an unknown image": {"registry.example/extra:v1", "registry.example/other:v1", "registry.example/other:v1 has no recipe"},
		"a component's name": {"components: {profile-controller: {folder: controller}}", "components: {profiles: {folder: controller}, profile-controller: {folder: controller}}",
			`"profiles" is what kfdev itself calls a part of the stack`},
		"a wrong quota":  {"quota: {cpu: 4}", "quota: {cpu: lots}", "kfdev.yaml:12:18: "},
		"an unknown key": {"quota: {cpu: 4}", "qouta: {cpu: 4}", `did you mean "quota"?`},
		"what stands twice": {"objects: [teams/*.yaml]", "objects: [teams/*.yaml, teams/defaults.yaml]",
			"teams/defaults.yaml: ConfigMap defaults comes twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(twoTeams, c.from, c.to, 1)
			require.NotEqual(t, twoTeams, text)
			b := newBench(t, text).teams(t)
			e, err := b.newEngine(t)
			if err == nil {
				_, err = e.Lock(t.Context(), LockOptions{})
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}
