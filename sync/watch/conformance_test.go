package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// each runs a test over every way of finding out.
func each(t *testing.T, test func(t *testing.T, poll time.Duration)) {
	t.Helper()
	for _, way := range []struct {
		name string
		poll time.Duration
	}{{"notified", 0}, {"polling", 20 * time.Millisecond}} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			test(t, way.poll)
		})
	}
}

// begin watches a folder.
func begin(t *testing.T, root string, o Options) *Watcher {
	t.Helper()
	w, err := New(root, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	require.Equal(t, o.Poll > 0, w.Polling(), w.Notes())
	return w
}

// told are the batches that came.
type told struct {
	batches []Batch
}

// covers is true when path was said to be dirty.
func (s told) covers(path string) bool {
	for _, b := range s.batches {
		if b.Missed || slices.Contains(b.Paths, path) {
			return true
		}
		for _, d := range b.Deep {
			if d == "" || d == path || strings.HasPrefix(path, d+"/") {
				return true
			}
		}
	}
	return false
}

func (s told) paths() []string {
	var all []string
	for _, b := range s.batches {
		all = append(all, b.Paths...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// until takes batches until all paths were told.
func until(t *testing.T, w *Watcher, paths ...string) told {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var s told
	for {
		missing := slices.DeleteFunc(slices.Clone(paths), s.covers)
		if len(missing) == 0 {
			return s
		}
		b, err := w.Next(ctx)
		require.NoError(t, err, "not told: %q", missing)
		s.batches = append(s.batches, b)
	}
}

// rest takes what comes within a time.
func rest(t *testing.T, w *Watcher, d time.Duration) told {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var s told
	for {
		b, err := w.Next(ctx)
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return s
		}
		s.batches = append(s.batches, b)
	}
}

func put(path, content string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, put(path, content))
}

func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		do    func(root string) error
		dirty []string
	}{
		{"a new file", func(r string) error { return put(r+"/new", "1") }, []string{"new"}},
		{"an old one", func(r string) error { return put(r+"/a/b/old", "12") }, []string{"a/b/old"}},
		{"gone", func(r string) error { return os.Remove(r + "/a/b/old") }, []string{"a/b/old"}},
		{"renamed", func(r string) error { return os.Rename(r+"/a/b/old", r+"/c/new") }, []string{"a/b/old", "c/new"}},
		{"a folder renamed", func(r string) error { return os.Rename(r+"/a", r+"/c/a") }, []string{"a", "c/a", "c/a/b", "c/a/b/old"}},
		{"a folder renamed out", func(r string) error { return os.Rename(r+"/a", r+"-out") }, []string{"a"}},
		{"a folder renamed in", func(r string) error {
			return errors.Join(put(r+"-src/x/y", "1"), os.Rename(r+"-src", r+"/in"))
		}, []string{"in", "in/x", "in/x/y"}},
		{"all of a folder gone", func(r string) error { return os.RemoveAll(r + "/a") }, []string{"a"}},
		{"new folders", func(r string) error { return put(r+"/n1/n2/n3/f", "1") }, []string{"n1", "n1/n2", "n1/n2/n3", "n1/n2/n3/f"}},
		{"executable", func(r string) error { return os.Chmod(r+"/a/b/old", 0o755) }, []string{"a/b/old"}},
		{"a symbolic link", func(r string) error { return os.Symlink("/", r+"/c/link") }, []string{"c/link"}},
		{"a hard link", func(r string) error { return os.Link(r+"/a/b/old", r+"/c/link") }, []string{"c/link"}},
		{"truncated", func(r string) error { return os.Truncate(r+"/a/b/old", 0) }, []string{"a/b/old"}},
		{"a file in a folder's place", func(r string) error {
			return errors.Join(os.RemoveAll(r+"/a"), put(r+"/a", "file"))
		}, []string{"a"}},
		{"a folder in a file's place", func(r string) error {
			return errors.Join(os.Remove(r+"/a/b/old"), put(r+"/a/b/old/x", "1"))
		}, []string{"a/b/old", "a/b/old/x"}},
		{"any byte", func(r string) error { return put(r+"/\xff\n \\/é\x01", "1") }, []string{"\xff\n \\", "\xff\n \\/é\x01"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, poll time.Duration) {
				t.Helper()
				root := t.TempDir() + "/root"
				write(t, root+"/a/b/old", "1")
				write(t, root+"/c/other", "1")
				w := begin(t, root, Options{Poll: poll})
				before := time.Now()
				require.NoError(t, c.do(root))
				s := until(t, w, c.dirty...)
				require.False(t, s.covers("c/other"))
				for _, b := range s.batches {
					require.False(t, b.Missed)
					require.True(t, slices.IsSorted(b.Paths))
					require.WithinRange(t, b.First, before, time.Now())
				}
				// What came is watched like all else.
				_ = rest(t, w, 60*time.Millisecond)
				for _, p := range c.dirty {
					if info, err := os.Lstat(filepath.Join(root, p)); err == nil && info.IsDir() {
						write(t, filepath.Join(root, p, "later"), "1")
						until(t, w, p+"/later")
					}
				}
			})
		})
	}
}

// Folders and files come as fast as the machine makes them, and are renamed
// meanwhile. Nothing of what is there at the end may be untold.
func TestStormLosesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, poll time.Duration) {
		t.Helper()
		root := t.TempDir()
		w := begin(t, root, Options{Poll: poll})
		made := make(chan []string, 4)
		for i := range 4 {
			go func() {
				var paths []string
				for j := range 60 {
					dir := fmt.Sprintf("%d/%d/%d/%d", i, j%7, j, j*7)
					if os.MkdirAll(filepath.Join(root, dir), 0o755) != nil {
						break
					}
					for k := range 3 {
						name := fmt.Sprintf("%s/%d", dir, k)
						if os.WriteFile(filepath.Join(root, name), []byte{1}, 0o644) == nil {
							paths = append(paths, name)
						}
					}
					if to := fmt.Sprintf("%d/m%d", i, j); j%10 == 9 && os.Rename(filepath.Join(root, dir), filepath.Join(root, to)) == nil {
						paths = append(paths[:len(paths)-3], to+"/0", to+"/1", to+"/2")
					}
				}
				made <- paths
			}()
		}
		var all []string
		for range 4 {
			all = append(all, <-made...)
		}
		require.Len(t, all, 4*60*3)
		until(t, w, all...)
		// And every folder is watched.
		var later []string
		require.NoError(t, filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && p != root {
				rel, _ := filepath.Rel(root, p)
				later = append(later, rel+"/later")
			}
			return err
		}))
		_ = rest(t, w, 300*time.Millisecond)
		for _, p := range later {
			write(t, filepath.Join(root, p), "1")
		}
		until(t, w, later...)
	})
}

func TestSkippedIsNotTold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, poll time.Duration) {
		t.Helper()
		root := t.TempDir()
		write(t, root+"/no/deep/f", "1")
		write(t, root+"/yes/f", "1")
		skip := func(p string, dir bool) bool { return dir && p == "no" || p == "x.pyc" }
		w := begin(t, root, Options{Poll: poll, Skip: skip})
		write(t, root+"/no/deep/f", "12")
		write(t, root+"/no/new/f", "12")
		write(t, root+"/x.pyc", "12")
		write(t, root+"/yes/f", "12")
		s := until(t, w, "yes/f")
		s.batches = append(s.batches, rest(t, w, 100*time.Millisecond).batches...)
		require.Equal(t, []string{"yes/f"}, s.paths())

		require.NoError(t, w.SetSkip(func(p string, _ bool) bool { return p == "yes" }))
		_ = rest(t, w, 100*time.Millisecond)
		write(t, root+"/yes/f", "123")
		write(t, root+"/no/deep/f", "123")
		write(t, root+"/no/new/f", "123")
		s = until(t, w, "no/deep/f", "no/new/f")
		s.batches = append(s.batches, rest(t, w, 100*time.Millisecond).batches...)
		require.Equal(t, []string{"no/deep/f", "no/new/f"}, s.paths())
	})
}

func TestSymbolicLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, poll time.Duration) {
		t.Helper()
		root, outside := t.TempDir(), t.TempDir()
		require.NoError(t, os.Symlink(outside, root+"/before"))
		w := begin(t, root, Options{Poll: poll})
		require.NoError(t, os.Symlink(outside, root+"/after"))
		until(t, w, "after")
		write(t, outside+"/f", "1")
		require.Empty(t, rest(t, w, 100*time.Millisecond).batches)
	})
}

func TestNextEnds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, poll time.Duration) {
		t.Helper()
		w := begin(t, t.TempDir(), Options{Poll: poll})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := w.Next(ctx)
		require.ErrorIs(t, err, context.Canceled)
		done := make(chan error)
		go func() {
			_, err := w.Next(context.Background())
			done <- err
		}()
		require.NoError(t, w.Close())
		require.ErrorIs(t, <-done, ErrClosed)
		_, err = w.Next(t.Context())
		require.ErrorIs(t, err, ErrClosed)
		require.NoError(t, w.Close())
	})
}
