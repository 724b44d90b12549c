//go:build integration

package policy_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/policy"
)

// open lets every webhook in at once.
type open struct{}

func (open) Served(context.Context, string, []types.NamespacedName) error { return nil }

// cluster is a server with clients of two kinds, and what it warned of.
type cluster struct {
	*kube.Client
	typed   *kubernetes.Clientset
	applier *apply.Applier

	mu       sync.Mutex
	warnings []string
}

// HandleWarningHeader gathers what the server warns of.
func (c *cluster) HandleWarningHeader(_ int, _ string, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.warnings = append(c.warnings, text)
}

func (c *cluster) warned() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := strings.Join(c.warnings, "\n")
	c.warnings = nil
	return all
}

func start(tb testing.TB) *cluster {
	tb.Helper()
	return connect(tb, apiserver.Run(tb, false))
}

func connect(tb testing.TB, config *rest.Config) *cluster {
	tb.Helper()
	client, err := kube.Connect(config)
	require.NoError(tb, err)
	tb.Cleanup(client.Close)
	c := &cluster{Client: client, applier: apply.New(client, open{}, progress.Discard)}
	config = rest.CopyConfig(config)
	config.QPS, config.WarningHandler = -1, c
	c.typed, err = kubernetes.NewForConfig(config)
	require.NoError(tb, err)
	return c
}

func (c *cluster) namespace(tb testing.TB, names ...string) {
	tb.Helper()
	for _, name := range names {
		_, err := c.typed.CoreV1().Namespaces().Create(tb.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		require.NoError(tb, err)
	}
}

func (c *cluster) apply(tb testing.TB, o policy.Options) {
	tb.Helper()
	objects, err := policy.Objects(o)
	require.NoError(tb, err)
	_, err = c.applier.Apply(tb.Context(), apply.Set{Name: "policy", Objects: objects})
	require.NoError(tb, err)
}

// pod returns a pod of one container.
func pod(image string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}}
}

func image(n int) string { return "registry.example/app@" + digest(n) }

func (c *cluster) create(tb testing.TB, namespace string, p *corev1.Pod) (*corev1.Pod, error) {
	tb.Helper()
	return c.typed.CoreV1().Pods(namespace).Create(tb.Context(), p.DeepCopy(), metav1.CreateOptions{})
}

// await tries until a policy that was just written is at work: the server
// reads it a moment later, and there is nothing to watch.
func (c *cluster) await(tb testing.TB, done func() bool) {
	tb.Helper()
	require.Eventually(tb, done, 20*time.Second, 50*time.Millisecond)
}

func denied(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), policy.Name)
}

func (c *cluster) lock(tb testing.TB, o policy.Options) {
	tb.Helper()
	c.apply(tb, o)
	c.await(tb, func() bool {
		_, err := c.create(tb, o.Namespaces[0], pod("busybox:latest"))
		return denied(err) || o.Warn && strings.Contains(c.warned(), "busybox")
	})
}

func TestIntegrationOnlyWhatIsLockedRuns(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.namespace(t, "stack", "profile", "other", apply.SystemNamespace)
	before, err := c.create(t, "stack", pod("busybox:before"))
	require.NoError(t, err)
	c.lock(t, policy.Options{Namespaces: []string{"stack", "profile"}, Digests: []string{digest(1), digest(2)}})

	withVolume := func(reference string) *corev1.Pod {
		p := pod(image(1))
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: reference}}}}
		return p
	}
	withInit := func(i string) *corev1.Pod {
		p := pod(image(1))
		p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: i}}
		return p
	}
	for name, tc := range map[string]struct {
		namespace string
		pod       *corev1.Pod
		says      string // empty: it is let in
	}{
		"locked":                   {"stack", pod(image(1)), ""},
		"locked, with its tag too": {"stack", pod("registry.example/app:v1@" + digest(2)), ""},
		"locked, in a profile":     {"profile", pod(image(2)), ""},
		"another digest":           {"stack", pod(image(3)), "the image " + image(3) + " is not in the release that is in force here. Add it to the project, then run: kfdev lock, and kfdev promote"},
		"a tag":                    {"stack", pod("registry.example/app:v1"), "registry.example/app:v1 is named by a tag"},
		"no tag":                   {"profile", pod("busybox"), "busybox is named by a tag"},
		"half a digest":            {"stack", pod("busybox@" + digest(1)[:40]), "is named by a tag"},
		"two digests":              {"stack", pod("a@" + digest(3) + "@" + digest(1)), "the image a@"},
		"an init container":        {"stack", withInit("busybox"), "the image busybox"},
		"a locked init container":  {"stack", withInit(image(2)), ""},
		"an image volume":          {"stack", withVolume("busybox:latest"), "the image busybox:latest"},
		"an image volume's digest": {"stack", withVolume(image(3)), image(3)},
		"a locked image volume":    {"stack", withVolume(image(2)), ""},
		"somewhere else":           {"other", pod("busybox"), ""},
		"kfdev's own":              {apply.SystemNamespace, pod("busybox"), ""},
		"Kubernetes' own":          {"kube-system", pod("busybox"), ""},
		"in an emergency":          {"stack", pod(image(3)), `kubectl patch allowedimages kfdev-locked-images --type merge -p '{"spec":{"breakGlass"`},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := c.create(t, tc.namespace, tc.pod)
			if tc.says == "" {
				require.NoError(t, err)
				require.NotEmpty(t, made.UID)
				return
			}
			require.True(t, denied(err), "%v", err)
			require.ErrorContains(t, err, tc.says)
		})
	}

	t.Run("an ephemeral container", func(t *testing.T) {
		p, err := c.create(t, "stack", pod(image(1)))
		require.NoError(t, err)
		ephemeral := func(i string) error {
			q := p.DeepCopy()
			q.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: i}}}
			_, err := c.typed.CoreV1().Pods("stack").UpdateEphemeralContainers(t.Context(), q.Name, q, metav1.UpdateOptions{})
			return err
		}
		require.True(t, denied(ephemeral("busybox:latest")))
		require.True(t, denied(ephemeral(image(3))))
		require.NoError(t, ephemeral(image(2)))
	})

	t.Run("an image is changed", func(t *testing.T) {
		p, err := c.create(t, "stack", pod(image(1)))
		require.NoError(t, err)
		patch := func(p *corev1.Pod, text string) error {
			_, err := c.typed.CoreV1().Pods("stack").Patch(t.Context(), p.Name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{})
			return err
		}
		require.True(t, denied(patch(p, `{"spec":{"containers":[{"name":"c","image":"busybox"}]}}`)))
		require.NoError(t, patch(p, `{"spec":{"containers":[{"name":"c","image":"`+image(2)+`"}]}}`))
		// What ran before the policy stays manageable, but runs nothing else.
		require.NoError(t, patch(before, `{"metadata":{"labels":{"x":"y"}}}`))
		require.True(t, denied(patch(before, `{"spec":{"containers":[{"name":"c","image":"busybox:after"}]}}`)))
		require.NoError(t, c.typed.CoreV1().Pods("stack").Delete(t.Context(), before.Name, metav1.DeleteOptions{}))
	})
}

func TestIntegrationWithoutItsParameterNothingIsLetInAndItCanBeMended(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.namespace(t, "stack", "other", apply.SystemNamespace)
	o := policy.Options{Namespaces: []string{"stack"}, Digests: []string{digest(1)}}
	c.lock(t, o)
	let := func() bool { _, err := c.create(t, "stack", pod(image(1))); return err == nil }
	require.True(t, let())

	require.NoError(t, c.Dynamic.Resource(policy.Resource()).Delete(t.Context(), policy.Name, metav1.DeleteOptions{}))
	c.await(t, func() bool { return !let() })
	for _, namespace := range []string{"other", "kube-system", apply.SystemNamespace} {
		_, err := c.create(t, namespace, pod("busybox"))
		require.NoError(t, err)
	}
	_, found, err := policy.Read(t.Context(), c.Client)
	require.NoError(t, err)
	require.False(t, found)
	c.apply(t, o)
	c.await(t, let)

	// The kind itself goes, and its objects with it.
	crds := c.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	require.NoError(t, crds.Delete(t.Context(), "allowedimages.kfdev.dev", metav1.DeleteOptions{}))
	c.await(t, func() bool { return !let() })
	require.NoError(t, kube.Until(t.Context(), crds, "allowedimages.kfdev.dev", goneOf))
	c.apply(t, o)
	c.await(t, let)
	_, err = c.create(t, "stack", pod(image(2)))
	require.True(t, denied(err))

	// A release's digests come and go as one.
	o.Digests = []string{digest(2)}
	c.apply(t, o)
	c.await(t, func() bool { return !let() })
	_, err = c.create(t, "stack", pod(image(2)))
	require.NoError(t, err)
}

func TestIntegrationDevelopmentOnlyWarns(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.namespace(t, "stack")
	c.lock(t, policy.Options{Namespaces: []string{"stack"}, Digests: []string{digest(1)}, Warn: true})
	_, err := c.create(t, "stack", pod("busybox:v2"))
	require.NoError(t, err)
	require.Contains(t, c.warned(), "the image busybox:v2 is named by a tag")
	_, err = c.create(t, "stack", pod(image(1)))
	require.NoError(t, err)
	require.Empty(t, c.warned())
	require.NoError(t, c.Dynamic.Resource(policy.Resource()).Delete(t.Context(), policy.Name, metav1.DeleteOptions{}))
	c.await(t, func() bool {
		_, err := c.create(t, "stack", pod("busybox:v2"))
		require.NoError(t, err, "with its parameter gone, it does not deny either")
		return c.warned() == ""
	})
}

func TestIntegrationBreakGlass(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.namespace(t, "stack")
	o := policy.Options{Namespaces: []string{"stack"}, Digests: []string{digest(1)}}
	expires := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	e := policy.Entry{Digest: digest(3), Reason: "prod is down", By: "ana", Expires: expires}
	require.ErrorContains(t, policy.Admit(t.Context(), c.Client, e), "no policy of images")
	c.lock(t, o)
	let := func() bool { _, err := c.create(t, "stack", pod(image(3))); return err == nil }
	require.False(t, let())
	require.NoError(t, policy.Admit(t.Context(), c.Client, e))
	c.await(t, let)

	// It stays through a promotion, and shows.
	o.Digests = append(o.Digests, digest(4))
	c.apply(t, o)
	a, found, err := policy.Read(t.Context(), c.Client)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, policy.Allowed{Digests: []string{digest(1), digest(4)}, BreakGlass: []policy.Entry{e}}, a)
	require.True(t, let())
	require.NoError(t, policy.Withdraw(t.Context(), c.Client, e.Digest))
	c.await(t, func() bool { return !let() })

	require.Error(t, policy.Admit(t.Context(), c.Client, policy.Entry{Digest: digest(3), By: "ana", Expires: expires}))
	// The message's way, without kfdev; the server holds to the form.
	raw := func(key, entry string) error {
		_, err := c.Dynamic.Resource(policy.Resource()).Patch(t.Context(), policy.Name, types.MergePatchType,
			[]byte(`{"spec":{"breakGlass":{"`+key+`":`+entry+`}}}`), metav1.PatchOptions{})
		return err
	}
	hex := strings.TrimPrefix(digest(3), "sha256:")
	require.ErrorContains(t, raw(hex, `{"reason":"x","by":"ana"}`), "expires")
	require.ErrorContains(t, raw(hex, `{"reason":"","by":"ana","expires":"2030-01-01T00:00:00Z"}`), "reason")
	require.ErrorContains(t, raw("sha256", `{"reason":"x","by":"ana","expires":"2030-01-01T00:00:00Z"}`), "64 hexadecimal digits")
	require.NoError(t, raw(hex, `{"reason":"x","by":"ana","expires":"2030-01-01T00:00:00Z"}`))
	c.await(t, let)
}

func TestIntegrationTheMostDigests(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.namespace(t, "stack")
	all := digests(policy.MaxDigests)
	c.lock(t, policy.Options{Namespaces: []string{"stack"}, Digests: all})
	p := pod(image(9_999))
	for i := range 99 { // many containers: the cost of each is constant
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", i), Image: image(i)})
	}
	c.await(t, func() bool { _, err := c.create(t, "stack", p); return err == nil })
	p.Spec.Containers[50].Image = image(10_000)
	_, err := c.create(t, "stack", p)
	require.True(t, denied(err))
	// Applied again it is the same, and other digests take its place as a whole.
	c.apply(t, policy.Options{Namespaces: []string{"stack"}, Digests: all})
	for i := range all {
		all[i] = digest(i + 50_000)
	}
	c.apply(t, policy.Options{Namespaces: []string{"stack"}, Digests: all})
	a, _, err := policy.Read(t.Context(), c.Client)
	require.NoError(t, err)
	require.Equal(t, all, a.Digests)
}
