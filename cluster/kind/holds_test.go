package kind

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/internal/docker/dockertest"
	"github.com/kfdev/kfdev/internal/progress"
)

// What crictl v1.36.0 writes, shortened: an image that was imported with a
// name, one that was pulled by digest, and a warning before them.
const crictlSays = `time="2026-11-22T10:00:00Z" level=warning msg="runtime connect using default endpoints"
{
  "images":  [
    {
      "id":  "sha256:98970e1621efd09ad9eb0b0bf545e9962936c499c5957b7c5de8179213dc6a2b",
      "repoTags":  ["registry.k8s.io/pause:3.10.1"],
      "repoDigests":  ["registry.k8s.io/pause@sha256:342d2cc5f1ccc5e65c2ebe499bdf52e992c9b47b271a41e33d5917af99dd3f0d"],
      "size":  "41149043",
      "uid":  {"value":  "8737"},
      "username":  "",
      "pinned":  true
    },
    {
      "id":  "sha256:aae037a9e2ffacbba11842bb8e5af3b716b1166337d21b6bf9bc15bd638d4419",
      "repoTags":  ["docker.io/kindest/kindnetd:v20260101"],
      "repoDigests":  [],
      "size":  "1"
    }
  ]
}
`

// asked is a daemon whose containers answer one command.
type asked struct {
	*dockertest.Fake
	answer  string
	command []string
}

func (a *asked) Exec(_ context.Context, _ string, command ...string) (string, error) {
	a.command = command
	return a.answer, nil
}

func TestANewNodeSaysWhatItHolds(t *testing.T) {
	t.Parallel()
	d := &asked{Fake: dockertest.New(t.Cleanup), answer: crictlSays}
	held, err := New(d, t.TempDir(), progress.Discard).holds(t.Context(), "node")
	require.NoError(t, err)
	require.Equal(t, "crictl", d.command[0])
	require.Equal(t, []cluster.Held{
		{Name: "docker.io/kindest/kindnetd:v20260101", Digests: []string{"sha256:aae037a9e2ffacbba11842bb8e5af3b716b1166337d21b6bf9bc15bd638d4419"}},
		{Name: "registry.k8s.io/pause:3.10.1", Digests: []string{
			"sha256:342d2cc5f1ccc5e65c2ebe499bdf52e992c9b47b271a41e33d5917af99dd3f0d",
			"sha256:98970e1621efd09ad9eb0b0bf545e9962936c499c5957b7c5de8179213dc6a2b",
		}},
	}, held)
	for answer, want := range map[string]string{
		"":                               "no JSON",
		"{":                              "what crictl wrote",
		`{"images": []}`:                 "it has none",
		`{"images": [{"id": "latest"}]}`: `has the digest "latest"`,
	} {
		d.answer = answer
		_, err := New(d, t.TempDir(), progress.Discard).holds(t.Context(), "node")
		require.ErrorContains(t, err, want)
	}
}

func FuzzHeldImages(f *testing.F) {
	f.Add([]byte(crictlSays))
	f.Add([]byte(`{"images":[{"id":"sha256:"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		held, err := heldImages(raw)
		if err != nil {
			require.Empty(t, held)
			return
		}
		require.NotEmpty(t, held)
		for _, h := range held {
			require.NotEmpty(t, h.Digests)
			require.True(t, slices.IsSorted(h.Digests))
			for _, d := range h.Digests {
				require.True(t, strings.HasPrefix(d, "sha256:"), d)
			}
		}
	})
}
