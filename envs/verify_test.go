package envs

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/kfdev/kfdev/stack/running"
	"github.com/kfdev/kfdev/sync/helper/image"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// The helper of kfdev sync may run beside a container; what only has its name
// may not, and it may not run as anything else.
func TestTheSyncHelperIsNoForeigner(t *testing.T) {
	t.Parallel()
	helper, err := image.New(program.Load)
	require.NoError(t, err, "make generate builds the helpers")
	other, err := v1.NewHash("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	require.NoError(t, err)
	beside := func(digest v1.Hash) corev1.Pod {
		name := image.Repository + "@" + digest.String()
		return corev1.Pod{
			Spec: corev1.PodSpec{EphemeralContainers: []corev1.EphemeralContainer{
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "kfdev-sync-1", Image: name}},
			}},
			Status: corev1.PodStatus{EphemeralContainerStatuses: []corev1.ContainerStatus{{Name: "kfdev-sync-1", Image: name, ImageID: name}}},
		}
	}
	require.Empty(t, compare([]corev1.Pod{beside(helper.Ref().Digest)}, running.Allowed{}).Foreigners)
	for _, digest := range helper.Digests() {
		require.Empty(t, compare([]corev1.Pod{beside(digest)}, running.Allowed{}).Foreigners)
	}
	require.Len(t, compare([]corev1.Pod{beside(other), podOf("main", image.Repository, helper.Ref().Digest)}, running.Allowed{}).Foreigners, 2)
}
