package envs

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kfdev/kfdev/envs/logs"
	"github.com/kfdev/kfdev/internal/fault"
)

func TestLogsAreOfTheComponentsPods(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	read := func(component string) (lines []string, err error) {
		err = b.engine(t).Logs(t.Context(), component, logs.Options{}, func(l logs.Line) error {
			lines = append(lines, l.Pod+"/"+l.Container+" "+l.Text)
			return nil
		})
		return lines, err
	}
	_, err := read("extra")
	require.Equal(t, fault.NotFound, fault.KindOf(err), "there is no cluster")
	_, err = b.up(t)
	require.NoError(t, err)
	_, err = read("extra")
	require.ErrorContains(t, err, "it has no pods")
	_, err = read("other")
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	for _, name := range []string{"extra", "storage"} {
		b.pods = append(b.pods, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: name + "-1", OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "apps/v1", Kind: "Deployment", Name: name, UID: "1"},
			}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
				{Name: "main", ContainerID: "1", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
			}},
		})
	}
	got, err := read("extra")
	require.NoError(t, err)
	require.Equal(t, []string{"extra-1/main extra-1 speaks"}, got)
}
