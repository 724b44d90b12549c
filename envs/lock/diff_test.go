package lock_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
)

func TestOfAFirstLockAllIsAdded(t *testing.T) {
	t.Parallel()
	changes := lock.Diff(lock.Lock{}, sample())
	require.Greater(t, len(changes), 50)
	for _, c := range changes {
		require.Equal(t, lock.Added, c.Action, "%s", c)
		require.NotContains(t, c.Subject, "  ")
		require.NotEqual(t, "node image ", c.Subject)
	}
	require.Empty(t, lock.Diff(lock.Lock{}, lock.Lock{}))
}

// published is an image of a registry under a tag.
func published(repository, tag, content string) lock.Image {
	return lock.Image{
		Repository: repository, Digest: hash(content), MediaType: manifestType, Size: 9, Origin: images.FromRegistry, StandsFor: repository + ":" + tag,
		Platforms:  []lock.Child{{Platform: "linux/amd64", Digest: hash(content), Size: 9}},
		References: []lock.Reference{{Component: "jupyterhub", Object: "Pod/" + tag, Path: "spec", How: "container"}},
	}
}

func TestOneRepositoryMayGiveSeveralTags(t *testing.T) {
	t.Parallel()
	one := sample()
	one.Images = append(one.Images, published("docker.io/library/alpine", "3.10", "a"))
	both := sample()
	both.Images = append(both.Images, published("docker.io/library/alpine", "3.20", "b"), published("docker.io/library/alpine", "3.10", "a"))
	data, _, err := lock.Encode(both)
	require.NoError(t, err)
	got, _, err := lock.Decode("kfdev.lock", data)
	require.NoError(t, err)
	require.Empty(t, lock.Diff(both, got))
	require.Len(t, got.ImagesOf("jupyterhub"), 3, "two tags, and the one source image that is referenced")
	require.Contains(t, got.Digests(), hash("a"))
	require.Contains(t, got.Digests(), hash("b"))

	var subjects []string
	for _, c := range lock.Diff(one, both) {
		if c.Fact == "digest" {
			subjects = append(subjects, string(c.Action)+" "+c.Subject)
		}
	}
	require.Equal(t, []string{
		"removed image docker.io/library/alpine", "added image docker.io/library/alpine:3.10", "added image docker.io/library/alpine:3.20",
	}, subjects)

	same := sample() // two tags that are one image
	same.Images = append(same.Images, published("docker.io/library/alpine", "3.20", "a"), published("docker.io/library/alpine", "3.10", "a"))
	_, _, err = lock.Encode(same)
	require.NoError(t, err)
	both.Images = append(both.Images, published("docker.io/library/alpine", "3.10", "c"))
	_, _, err = lock.Encode(both)
	require.ErrorContains(t, err, "docker.io/library/alpine:3.10 comes twice", "a tag is one digest")
}
