package images_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
)

func TestParseRef(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("ab", 32)
	for _, good := range []string{
		"quay.io/argoproj/argoexec@" + digest,
		"127.0.0.1:5000/app@" + digest,
		"busybox@" + digest,
	} {
		ref, err := images.ParseRef(good)
		require.NoError(t, err, good)
		require.Equal(t, good, ref.String())
	}
	for _, bad := range []string{
		"", "busybox", "@" + digest, "quay.io/a/b:v1@" + digest, "a/b:v1", "a@sha256:short", "a@md5:" + strings.Repeat("ab", 16),
		"busybox:1.36@" + digest,
	} {
		_, err := images.ParseRef(bad)
		require.Error(t, err, bad)
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("quay.io/argoproj/argoexec@sha256:" + strings.Repeat("ab", 32))
	f.Add("a:5000/b:v1@sha256:" + strings.Repeat("ab", 32))
	f.Fuzz(func(t *testing.T, s string) {
		if ref, err := images.ParseRef(s); err == nil {
			require.Equal(t, s, ref.String())
		}
	})
}
