package watch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGitCheckoutIsOneBatch(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, poll time.Duration) {
		t.Helper()
		repo := t.TempDir()
		git := func(args ...string) {
			cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repo, "-c", "user.name=n", "-c", "user.email=e@example.org"}, args...)...)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
		}
		git("init", "-q", "-b", "one")
		var paths []string
		for i := range 1000 {
			paths = append(paths, fmt.Sprintf("src/%d/f%d", i%50, i))
			write(t, filepath.Join(repo, paths[i]), "one")
		}
		git("add", ".")
		git("commit", "-q", "-m", "one")
		git("checkout", "-q", "-b", "two")
		for _, p := range paths {
			write(t, filepath.Join(repo, p), "second")
		}
		git("commit", "-q", "-a", "-m", "two")
		w := begin(t, repo+"/src", Options{
			Poll: poll,
			Hold: repo + "/.git/index.lock",
		})
		git("checkout", "-q", "one")
		var below []string
		for _, p := range paths {
			below = append(below, strings.TrimPrefix(p, "src/"))
		}
		var sizes []int
		for _, b := range until(t, w, below...).batches {
			sizes = append(sizes, len(b.Paths))
		}
		require.Equal(t, []int{1000}, sizes)
	})
}

func TestHold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, poll time.Duration) {
		t.Helper()
		root := t.TempDir()
		lock := root + "/.git/index.lock"
		write(t, root+"/f", "1")
		require.NoError(t, os.Mkdir(root+"/.git", 0o755))
		w := begin(t, root, Options{Poll: poll, Hold: lock, Skip: func(p string, _ bool) bool { return p == ".git" }})
		write(t, lock, "")
		write(t, root+"/f", "12")
		require.Empty(t, rest(t, w, 700*time.Millisecond).batches)
		write(t, root+"/g", "12")
		require.Empty(t, rest(t, w, 100*time.Millisecond).batches)
		require.NoError(t, os.Remove(lock))
		s := until(t, w, "f", "g")
		require.Len(t, s.batches, 1)
		require.Empty(t, w.Notes())
	})
}

func TestStaleHold(t *testing.T) {
	lock := t.TempDir() + "/index.lock"
	write(t, lock, "")
	now := time.Now()
	require.NoError(t, os.Chtimes(lock, now, now.Add(-59*time.Second)))
	var notes []string
	h := &hold{path: lock, note: func(s string) { notes = append(notes, s) }}
	long := now.Add(-time.Hour)
	require.True(t, h.holds(now, long))
	require.True(t, h.holds(now.Add(2*time.Second), now), "something happens")
	require.Empty(t, notes)
	require.False(t, h.holds(now.Add(2*time.Second), long))
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], lock)
	require.False(t, h.holds(now.Add(3*time.Second), now.Add(3*time.Second)), "the same one")
	require.NoError(t, os.Remove(lock))
	require.False(t, h.holds(now, now))
	write(t, lock, "")
	require.True(t, h.holds(now, long), "another one")
}
