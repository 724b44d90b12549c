//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// provisioner is the workload of the smallest stack.
const (
	provisionerNamespace = "local-path-storage"
	provisioner          = "local-path-provisioner"
)

// sitePlan is what kfdev plan -o json says.
type sitePlan struct {
	Release, InForce string
	Images           []struct{ From, To string }
	Sets             []struct {
		Set     string
		Objects []struct{ Change string }
	}
}

// team is a profile of the project, and podDefault what it has in a file.
const (
	team = `
profiles:
  - name: vision
    owner: ana@example.com
    contributors: [{user: bob@example.com, role: edit}, {user: eve@example.com, role: view}]
    quota: {cpu: 2, memory: 2Gi, pods: "10"}
    objects: [teams/*.yaml]
`
	podDefault = `apiVersion: kubeflow.org/v1alpha1
kind: PodDefault
metadata: {name: token}
spec: {desc: a token, selector: {matchLabels: {token: "true"}}, env: [{name: A, value: B}]}
`
)

type driftReport struct {
	Findings []struct {
		Class, Path string
		Object      struct{ Kind, Name string }
	}
}

type parityReport struct {
	Same        bool
	Budget      struct{ Declared, Unknown, Undeclared int }
	Environment []struct{ Dimension, Item string }
}

// TestPromotion takes a small stack from dev to staging to production, each a
// cluster of its own with a registry of its own.
func TestPromotion(t *testing.T) {
	sweep(t)
	t.Cleanup(func() { sweepAfter(t) })
	b := newBench(t)
	b.program = ownProgram(t, b.program)
	require.NoError(t, os.WriteFile(b.kubeconfig, []byte(othersKubeconfig), 0o600))
	b.run(t, 0, "init", b.project, "--origin", "source")
	file := filepath.Join(b.project, "kfdev.yaml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	head, _, found := strings.Cut(string(text), "\nsync:\n")
	require.True(t, found)
	head = strings.Replace(head, "preset: core", "preset: tiny\n  components: {profile-controller: {}}", 1)
	head += team
	require.NoError(t, os.MkdirAll(filepath.Join(b.project, "teams"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(b.project, "teams", "vision.yaml"), []byte(podDefault), 0o600))
	require.NoError(t, os.WriteFile(file, []byte(head), 0o600))
	b.run(t, 0, "lock")
	b.run(t, 0, "up")
	staging, prod := newPlace(t, b, "staging"), newPlace(t, b, "prod")
	require.NoError(t, os.WriteFile(file, []byte(head+`
environments:
  staging:
    cluster: {context: staging} # not ours
    registry: {push: "`+staging.push+`", pull: "`+staging.pull+`"}
    after: [dev]
  prod:
    cluster: {context: prod}
    registry: {push: "`+prod.push+`", pull: "`+prod.pull+`"}
    after: [staging]
differences:
  - id: revisions
    paths: [apps/Deployment/local-path-storage:local-path-provisioner/spec/revisionHistoryLimit]
    allow: {type: integer, min: 1, max: 10, optional: true}
    values: {prod: 3}
    default: 2
    reason: more to go back to
    owner: e2e
  - id: vision-owner
    paths: [kubeflow.org/Profile/vision/spec/owner/name]
    allow: {pattern: ".+@example.com"}
    values: {prod: zoe@example.com}
    default: ana@example.com
    reason: production has an owner of its own
    owner: e2e
`), 0o600))

	// Not before dev has shown it. Dev only warns of what is in no lock.
	refused := b.try(t, "promote", "staging")
	require.Equal(t, 8, refused.code, refused.stderr)
	require.Contains(t, refused.stderr, "dev: ")
	b.run(t, 0, "up")
	b.run(t, 0, "verify")
	binding, err := b.clients(t).AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(t.Context(), "kfdev-locked-images", metav1.GetOptions{})
	require.NoError(t, err)
	require.NotContains(t, binding.Spec.ValidationActions, admissionv1.Deny)
	_, err = b.clients(t).CoreV1().Pods(provisionerNamespace).Create(t.Context(), foreignPod(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.NoError(t, err)

	plan := decode[sitePlan](t, b, 6, "plan", "staging")
	t.Logf("as people see it:\n%s", b.try(t, "plan", "staging").stdout)
	require.Empty(t, plan.InForce)
	require.NotEmpty(t, plan.Images)
	// It is killed in the midst of its proof. The next one goes on, and takes away
	// what the tests had made.
	b.killed(t, "verify/profile/let its owner work in it", 0, "promote", "staging")
	left := forgotten(t, staging.clients(t))
	require.NotEmpty(t, left)
	b.run(t, 0, "promote", "staging")
	nothingLeft(t, staging.clients(t), left)
	require.Equal(t, plan.Release, decode[sitePlan](t, b, 0, "plan", "staging").InForce)
	start := time.Now()
	again := b.run(t, 0, "promote", "staging")
	t.Logf("a promotion with nothing to do, with its smoke tests: %v\n%s", time.Since(start).Round(10*time.Millisecond), again)
	t.Log(b.run(t, 0, "verify", "staging"))
	b.run(t, 0, "verify", "profile-controller", "--publish", "staging")
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(written), "# not ours", "comments survive")
	require.Contains(t, string(written), "id: ", "the cluster is remembered")

	// A sidecar is added by hand. A server-side dry run of the release calls that
	// unchanged; drift names the path.
	deployments := staging.clients(t).AppsV1().Deployments(provisionerNamespace)
	before, err := deployments.Get(t.Context(), provisioner, metav1.GetOptions{})
	require.NoError(t, err)
	image := before.Spec.Template.Spec.Containers[0].Image
	_, err = deployments.Patch(t.Context(), provisioner, types.StrategicMergePatchType,
		[]byte(`{"spec":{"template":{"spec":{"containers":[{"name":"evil","image":"`+image+`","command":["/bin/sleep","1"]}]}}}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	require.NoError(t, err)
	for _, set := range decode[sitePlan](t, b, 0, "plan", "staging").Sets {
		for _, o := range set.Objects {
			require.Equal(t, "unchanged", o.Change, set.Set)
		}
	}
	report := decode[driftReport](t, b, 6, "drift", "staging")
	require.NotEmpty(t, report.Findings)
	require.Equal(t, "spec/template/spec/containers[name=evil]", report.Findings[0].Path)
	t.Logf("as people see it:\n%s", b.try(t, "drift", "staging").stdout)
	refused = b.try(t, "promote", "prod")
	require.Equal(t, 8, refused.code, refused.stderr)
	require.Contains(t, refused.stderr, "containers[name=evil]")
	b.run(t, 0, "drift", "staging", "--fix")
	b.run(t, 0, "drift", "staging")

	// The same bytes in production, with the one difference that is declared.
	b.run(t, 0, "promote", "prod", "--progress", "plain")
	there, err := prod.clients(t).AppsV1().Deployments(provisionerNamespace).Get(t.Context(), provisioner, metav1.GetOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 3, *there.Spec.RevisionHistoryLimit)
	_, digest, _ := strings.Cut(there.Spec.Template.Spec.Containers[0].Image, "@")
	require.True(t, strings.HasSuffix(image, "@"+digest), "%s and %s", image, there.Spec.Template.Spec.Containers[0].Image)
	require.True(t, strings.HasPrefix(there.Spec.Template.Spec.Containers[0].Image, prod.pull+"/"))
	require.Equal(t, plan.Release, decode[sitePlan](t, b, 0, "plan", "prod").InForce, "one digest everywhere")

	teams, err := prod.clients(t).CoreV1().Namespaces().Get(t.Context(), "vision", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "zoe@example.com", teams.Annotations["owner"])
	rights, err := prod.clients(t).RbacV1().RoleBindings("vision").Get(t.Context(), "namespaceAdmin", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "zoe@example.com", rights.Subjects[0].Name)

	// The two are the same, but for what is declared; a class that one has is not.
	parity := decode[parityReport](t, b, 0, "diff", "staging", "prod")
	require.True(t, parity.Same)
	require.Equal(t, 2, parity.Budget.Declared, "a number and an owner; that the namespace names the owner follows")
	_, err = prod.clients(t).StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "slow"}, Provisioner: "example.com/disk",
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	parity = decode[parityReport](t, b, 6, "diff", "staging", "prod")
	require.Equal(t, "storage-classes", parity.Environment[0].Dimension)
	require.Equal(t, "slow", parity.Environment[0].Item)
	t.Logf("as people see it:\n%s", b.try(t, "diff", "staging", "prod").stdout)
	b.declares(t, file)

	// With kfdev gone and the registry down, what no release brought is denied.
	docker(t, "rm", "-f", registryOf("prod"))
	require.NoError(t, os.Remove(b.program))
	_, err = prod.clients(t).CoreV1().Pods(provisionerNamespace).Create(t.Context(), foreignPod(), metav1.CreateOptions{})
	require.ErrorContains(t, err, "denied")
	require.ErrorContains(t, err, "docker.io/library/busybox:latest")
}

// declares has kfdev write down what is undeclared, and answers for it: then it is
// declared.
func (b *bench) declares(t *testing.T, file string) {
	t.Helper()
	b.run(t, 6, "diff", "staging", "prod", "--suggest")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), "id: storage-classes-slow")
	require.Contains(t, b.try(t, "diff", "staging", "prod").stderr, "a reason is missing")
	answered := strings.NewReplacer(`reason: ""`, "reason: disks of tape", `owner: ""`, "owner: ops").Replace(string(text))
	require.NoError(t, os.WriteFile(file, []byte(answered), 0o600))
	b.run(t, 0, "diff", "staging", "prod")
}

// ownProgram is a copy of the program, which a test may delete.
func ownProgram(t *testing.T, program string) string {
	t.Helper()
	content, err := os.ReadFile(program)
	require.NoError(t, err)
	own := filepath.Join(t.TempDir(), "kfdev")
	require.NoError(t, os.WriteFile(own, content, 0o755)) //nolint:gosec // it is run
	return own
}

// foreignPod runs an image that no release has brought.
func foreignPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "docker.io/library/busybox:latest"}}},
	}
}
