package root

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/envs/lock"
)

func TestAFirstLockIsToldInOneLineAndLaterOnesByTheirChanges(t *testing.T) {
	t.Parallel()
	r := envs.LockResult{First: true, Written: true, Images: 1, Origin: "source", Why: "w", Digest: "sha256:1"}
	for i := range 100 {
		r.Changes = append(r.Changes, lock.Change{Action: lock.Added, Subject: "recipe node", Fact: fmt.Sprint(i)})
	}
	r.Changes = append(r.Changes,
		lock.Change{Action: lock.Added, Subject: "image a", Fact: "digest"}, lock.Change{Action: lock.Added, Subject: "image b", Fact: "digest"},
		lock.Change{Action: lock.Added, Subject: "stack", Fact: "origin"}, lock.Change{Action: lock.Added, Subject: "node image n", Fact: "digest"})
	var out bytes.Buffer
	require.NoError(t, lockText(&out, r))
	require.Equal(t, "104 facts (-o json has them) of 2 images, 1 recipe, the node image\n"+
		"kfdev.lock written: 1 images, origin source (w)\nsha256:1\n", out.String())
	r.First = false
	out.Reset()
	require.NoError(t, lockText(&out, r))
	require.Contains(t, out.String(), "… and 74 more (-o json has all)\n")
}
