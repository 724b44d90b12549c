//go:build integration

package envs

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/envs/drift"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/policy"
	"github.com/kfdev/kfdev/sync/helper/image"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// foreignDigest is of an image that no release has.
var foreignDigest = "sha256:" + strings.Repeat("e", 64)

// aside is what runs in a cluster beside the release.
type aside struct {
	kubernetes.Interface
	client *kube.Client
}

func (p *places) aside(t *testing.T, place string) aside {
	t.Helper()
	typed, err := kubernetes.NewForConfig(p.clients[place].Config)
	require.NoError(t, err)
	return aside{Interface: typed, client: p.clients[place]}
}

// serve starts a person's server, as a hub does it.
func (a aside) serve(t *testing.T, name, image string) (*corev1.Pod, error) {
	t.Helper()
	return a.CoreV1().Pods("extra").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"hub.jupyter.org/username": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}, metav1.CreateOptions{})
}

// help lets the helper of kfdev sync run beside a pod's container.
func (a aside) help(t *testing.T, pod, image string) error {
	t.Helper()
	o, err := a.CoreV1().Pods("extra").Get(t.Context(), pod, metav1.GetOptions{})
	require.NoError(t, err)
	o.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "kfdev-sync-1", Image: image}}}
	_, err = a.CoreV1().Pods("extra").UpdateEphemeralContainers(t.Context(), pod, o, metav1.UpdateOptions{})
	return err
}

// ofExtra is a pod of the component extra.
func (a aside) ofExtra(t *testing.T) string {
	t.Helper()
	pods, err := a.CoreV1().Pods("extra").List(t.Context(), metav1.ListOptions{LabelSelector: "app=extra"})
	require.NoError(t, err)
	require.NotEmpty(t, pods.Items)
	return pods.Items[0].Name
}

// forget ends all that names an image: a person's server, and what Kubernetes
// keeps of deployments as they were.
func (a aside) forget(t *testing.T, image, server string) {
	t.Helper()
	now := int64(0)
	require.NoError(t, a.CoreV1().Pods("extra").Delete(t.Context(), server, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	sets, err := a.AppsV1().ReplicaSets("extra").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, set := range sets.Items {
		if set.Spec.Template.Spec.Containers[0].Image == image {
			require.NoError(t, a.AppsV1().ReplicaSets("extra").Delete(t.Context(), set.Name, metav1.DeleteOptions{}))
		}
	}
	require.Eventually(t, func() bool {
		pods, err := a.CoreV1().Pods("extra").List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		return !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Spec.Containers[0].Image == image })
	}, waitLimit, waitTick)
}

// runs has a node report what a pod's container runs.
func (a aside) runs(t *testing.T, pod, imageID string) {
	t.Helper()
	require.Eventually(t, func() bool {
		o, err := a.CoreV1().Pods("extra").Get(t.Context(), pod, metav1.GetOptions{})
		require.NoError(t, err)
		o.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", Image: o.Spec.Containers[0].Image, ImageID: imageID}}
		_, err = a.CoreV1().Pods("extra").UpdateStatus(t.Context(), o, metav1.UpdateOptions{})
		return err == nil
	}, waitLimit, waitTick)
}

func (a aside) allowed(t *testing.T) []string {
	t.Helper()
	live, _, err := policy.Read(t.Context(), a.client)
	require.NoError(t, err)
	return live.Digests
}

// What an earlier release brought may run for as long as something names it, and
// no longer; what nothing brought may not.
func TestIntegrationImagesOfAnEarlierReleaseMayStay(t *testing.T) {
	t.Parallel()
	p := newPlaces(t)
	release := func(content string) {
		t.Helper()
		p.recipes["extra/recipe.yaml"] = file("apiVersion: kfdev.dev/v1alpha1\nkind: Recipe\nname: extra\nfrom: base\nlayers: [{files: [{path: /extra, content: " + content + "}]}]\n")
		_, err := p.lock(t, LockOptions{})
		require.NoError(t, err)
		p.upDev(t)
		_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
		require.NoError(t, err)
	}
	release("first")
	containers, _, err := unstructured.NestedSlice(p.get(t, "staging", "Deployment", "extra", "extra"), "spec", "template", "spec", "containers")
	require.NoError(t, err)
	old := containers[0].(map[string]any)["image"].(string)
	digest := old[strings.Index(old, "@")+1:]
	staging := p.aside(t, "staging")
	_, err = staging.serve(t, "ana", old)
	require.NoError(t, err)

	release("second")
	require.Equal(t, []string{digest}, p.ledger(t, "staging").Kept)
	require.Contains(t, staging.allowed(t), digest)
	_, err = staging.serve(t, "ben", old)
	require.NoError(t, err, "it may start again")
	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Full: true})
	require.NoError(t, err)
	require.Empty(t, found.Findings)
	verified, err := p.engine(t).VerifySite(t.Context(), "staging")
	require.NoError(t, err)
	require.Empty(t, verified.Running.Foreigners)
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)

	// Its node says that it runs something else.
	staging.runs(t, "ben", "registry.example/evil@"+foreignDigest)
	closed := func(environment string) {
		t.Helper()
		_, err := p.engine(t).Promote(t.Context(), environment, PromoteOptions{})
		require.Equal(t, fault.Gate, fault.KindOf(err))
		require.ErrorContains(t, err, foreignDigest)
	}
	found, err = p.engine(t).Drift(t.Context(), "staging", DriftOptions{})
	require.NoError(t, err)
	require.Len(t, found.Findings, 1)
	require.Equal(t, drift.ForeignImage, found.Findings[0].Class)
	require.Equal(t, "Pod/extra/ben", found.Findings[0].Object.String())
	closed("prod")
	_, err = p.engine(t).VerifySite(t.Context(), "staging")
	require.Equal(t, fault.Drift, fault.KindOf(err))
	now := int64(0)
	require.NoError(t, staging.CoreV1().Pods("extra").Delete(t.Context(), "ben", metav1.DeleteOptions{GracePeriodSeconds: &now}))

	staging.forget(t, old, "ana")
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	require.Empty(t, p.ledger(t, "staging").Kept)
	require.NotContains(t, staging.allowed(t), digest)
	_, err = staging.serve(t, "ana", old)
	require.ErrorContains(t, err, "denied")
	_, err = p.engine(t).Promote(t.Context(), "prod", PromoteOptions{})
	require.NoError(t, err)

	// What is asked for in dev is only warned of, and closes the gate.
	_, err = p.aside(t, "dev").serve(t, "eve", "registry.example/evil@"+foreignDigest)
	require.NoError(t, err)
	closed("staging")
}

// The helper of kfdev sync may run in dev, beside whatever runs there, and
// nowhere else.
func TestIntegrationTheHelperOfSyncIsNoDrift(t *testing.T) {
	t.Parallel()
	p := newPlacesOf(t, threePlaces, "dev", "staging")
	_, err := p.lock(t, LockOptions{})
	require.NoError(t, err)
	p.upDev(t)
	helper, err := image.New(program.Load)
	require.NoError(t, err, "make generate builds the helpers")
	dev := p.aside(t, "dev")
	require.NoError(t, dev.help(t, dev.ofExtra(t), helper.Ref().String()))
	found, err := p.engine(t).Drift(t.Context(), "dev", DriftOptions{Full: true})
	require.NoError(t, err)
	require.Empty(t, found.Findings)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.NoError(t, err)
	staging := p.aside(t, "staging")
	require.ErrorContains(t, staging.help(t, staging.ofExtra(t), helper.Ref().String()), "denied")

	_, err = dev.serve(t, "eve", image.Repository+"@"+foreignDigest)
	require.NoError(t, err)
	_, err = p.engine(t).Promote(t.Context(), "staging", PromoteOptions{})
	require.Equal(t, fault.Gate, fault.KindOf(err), "it only has the helper's name")
	require.ErrorContains(t, err, foreignDigest)
}
