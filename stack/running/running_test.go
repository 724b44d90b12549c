package running_test

import (
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/stack/running"
)

func hash(digit string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(digit, 64)}
}

// pods reads a cluster's list as kubectl writes it. In it, digests of one
// repeated digit stand for: 1 the index, 2 the child, 3 the configuration of
// an image that is locked; 4 the configuration of a control plane image; f
// what nobody locked.
func pods(tb testing.TB) []corev1.Pod {
	tb.Helper()
	raw, err := os.ReadFile("testdata/pods.yaml")
	require.NoError(tb, err)
	text := string(raw)
	for _, digit := range []string{"1", "2", "3", "4", "f"} {
		text = strings.ReplaceAll(text, "${"+digit+"}", strings.Repeat(digit, 64))
	}
	var list corev1.PodList
	require.NoError(tb, yaml.UnmarshalStrict([]byte(text), &list))
	return list.Items
}

func allowed() running.Allowed {
	a := running.Allowed{}
	a.Add("app", hash("1"), hash("2"), hash("3"), v1.Hash{})
	a.Add("kube-apiserver", hash("4"))
	return a
}

func TestCompareNamesEveryForeigner(t *testing.T) {
	t.Parallel()
	report := running.Compare(pods(t), allowed())
	var lines []string
	for _, f := range report.Foreigners {
		lines = append(lines, strings.ReplaceAll(f.String(), strings.Repeat("f", 64), "f…"))
	}
	require.Equal(t, []string{
		"container busy of pod kube-system/kube-evil: runs sha256:f… (from registry.k8s.io/kube-evil:v1), which is not in the lock",
		"container unknown of pod team/foreign: its runtime reports \"docker.io/library/odd:v1\", which names no digest",
		"ephemeral container debugger of pod team/foreign: runs sha256:f… (from busybox), which is not in the lock",
		"image volume model of pod team/foreign: asks for quay.io/models/x:v1, which is not pinned to a digest",
		"init container setup of pod team/foreign: runs sha256:f… (from docker.io/library/alpine:3.10), which is not in the lock",
		"sidecar mesh of pod team/foreign: runs sha256:f… (from docker.io/istio/proxyv2:1.30.1), which is not in the lock",
		"container main of pod team/gone: runs sha256:f… (from quay.io/x/y:v1), which is not in the lock",
		"container a of pod team/pending: asks for quay.io/x/y:v1, which is not pinned to a digest",
		"container b of pod team/pending: asks for quay.io/x/y@sha256:f…, which is not in the lock",
	}, lines)
	require.Equal(t, 6, report.Pods)
	require.Equal(t, 1, report.Waiting)
	require.Equal(t, 16, report.Containers)
	for _, f := range report.Foreigners {
		require.NotEqual(t, "good", f.Pod)
	}
}

func TestNothingIsAllowedByAnEmptyLock(t *testing.T) {
	t.Parallel()
	report := running.Compare(pods(t), running.Allowed{})
	require.Len(t, report.Foreigners, report.Containers)
	require.Empty(t, running.Compare(nil, running.Allowed{}).Foreigners)
}

func TestDigest(t *testing.T) {
	t.Parallel()
	hex := strings.Repeat("ab", 32)
	for _, id := range []string{
		"sha256:" + hex,
		hex,
		"docker.io/library/busybox@sha256:" + hex,
		"kfdev.internal/argoexec@sha256:" + hex,
		"docker-pullable://quay.io/a/b@sha256:" + hex,
		"docker://sha256:" + hex,
		"quay.io/a/b:v1@sha256:" + hex,
		"127.0.0.1:5000/a/b@sha256:" + hex,
	} {
		got, ok := running.Digest(id)
		require.True(t, ok, id)
		require.Equal(t, "sha256:"+hex, got.String())
	}
	for _, id := range []string{
		"", "docker.io/library/busybox:1.36", "sha256:" + hex[:63], "sha512:" + hex + hex, hex[:63] + "g", hex + "0", "x@", "://", strings.ToUpper(hex),
	} {
		_, ok := running.Digest(id)
		require.False(t, ok, id)
	}
}

func FuzzDigest(f *testing.F) {
	f.Add("docker.io/library/busybox@sha256:" + strings.Repeat("ab", 32))
	f.Fuzz(func(t *testing.T, id string) {
		if d, ok := running.Digest(id); ok {
			require.Contains(t, id, d.Hex)
			require.Len(t, d.Hex, 64)
		}
	})
}
