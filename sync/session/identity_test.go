package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/session"
)

// copied puts a copy of a folder, with what is the sync's own, in another's place.
func (p *pair) copied(from, to string) {
	p.t.Helper()
	require.NoError(p.t, os.RemoveAll(to))
	require.NoError(p.t, os.CopyFS(to, os.DirFS(from)))
}

// replaced has another container take the place of the one; the session ends
// with it, or loses its connection.
func (p *pair) replaced(place string, fill func()) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.place = place
	p.remote += "-" + place
	fill()
	if p.conn != nil {
		_ = p.conn.Close()
	}
}

func clean(st session.Status) bool { return inSync(st) && st.Clean() }

// An image that was built of a synced folder holds a copy of what is the sync's
// own. Each pod of it has the image's old files, and none of them is an edit.
func TestAnImageWithACopyOfTheFolder(t *testing.T) {
	t.Parallel()
	for name, builtOf := range map[string]func(*pair) string{"the folder here": localOf, "the folder of a pod before": remoteOf} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.write(p.local, "train.py", "v1")
			p.write(p.local, "other.py", "o")
			s, stop := p.start()
			p.has(p.remote, "train.py", "v1")
			p.status(s, inSync)
			stop()
			image := filepath.Join(t.TempDir(), "image")
			p.copied(builtOf(p), image)
			p.replaced("two", func() { p.copied(image, p.remote) })
			s, stop = p.start()
			p.status(s, inSync)
			p.write(p.local, "train.py", "v2, a day of work")
			p.has(p.remote, "train.py", "v2, a day of work")
			p.remove(p.local, "other.py")
			p.lacks(p.remote, "other.py")
			p.write(p.local, "new.py", "new")
			p.has(p.remote, "new.py", "new")
			p.status(s, clean)
			for _, place := range []string{"three", "four"} {
				stop() // and with it all is written down
				p.replaced(place, func() { p.copied(image, p.remote) })
				s, stop = p.start()
				p.has(p.remote, "train.py", "v2, a day of work")
				p.has(p.remote, "new.py", "new")
				p.lacks(p.remote, "other.py")
				st := p.status(s, inSync)
				require.True(t, st.Clean(), "%+v", st)
				require.Equal(t, map[string]string{".": "a folder", "train.py": "v2, a day of work", "new.py": "new"}, content(t, p.local))
			}
		})
	}
}

// renumber makes a folder look like a copy of itself, as a file system does that
// numbers its files anew with each mount.
func renumber(tb testing.TB, root string) {
	tb.Helper()
	path := filepath.Join(root, endpoint.StateDir, "identity")
	b, err := os.ReadFile(path)
	require.NoError(tb, err)
	var identity map[string]any
	require.NoError(tb, json.Unmarshal(b, &identity))
	identity["inode"] = 1
	b, err = json.Marshal(identity)
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(path, b, 0o600))
}

// A volume that looks like a copy loses nothing: whether what is other there than
// it was is an edit or an older version, a person says.
func TestAVolumeThatLooksLikeACopy(t *testing.T) {
	t.Parallel()
	for _, side := range []func(*pair) string{localOf, remoteOf} {
		for _, place := range []string{"one", "two"} {
			p := newPair(t)
			for _, name := range []string{"same", "edited here", "edited there", "deleted here", "deleted there"} {
				p.write(p.local, name, "old")
			}
			s, stop := p.start()
			p.has(p.remote, "same", "old")
			p.status(s, clean)
			stop()
			require.NoError(t, os.Remove(filepath.Join(p.state, "folder")))
			renumber(t, side(p))
			here, there := p.local, p.remote
			if side(p) == p.local {
				here, there = p.remote, p.local // there is where it is not sure what was
			}
			p.place = place
			p.write(here, "edited here", "new")
			p.write(there, "edited there", "new")
			p.remove(here, "deleted here")
			p.remove(there, "deleted there")
			p.write(there, "new", "new")
			s, stop = p.start()
			st := p.status(s, func(st session.Status) bool { return inSync(st) && len(st.Conflicts) == 1 })
			require.EqualValues(t, "edited there", st.Conflicts[0].Path)
			want := map[string]string{
				".": "a folder", "same": "old", "edited here": "new", "edited there": "new", "deleted there": "old", "new": "new",
			}
			require.Equal(t, want, content(t, there))
			want["edited there"] = "old"
			require.Equal(t, want, content(t, here))
			stop()
		}
	}
}

// The first connection to a new pod breaks when the helper has opened the folder,
// or kfdev ends before it has written down that it knows it.
func TestANewPodStaysNewUntilItIsKnown(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"the connection breaks": false, "kfdev ends": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			var toBreak atomic.Bool
			opened := make(chan struct{})
			p.withFaults(func(f *faulty) {
				if toBreak.CompareAndSwap(true, false) {
					_ = f.Close()
					close(opened)
				}
			})
			p.write(p.local, "train.py", "v1")
			p.write(p.local, "gone.py", "o")
			s, stop := p.start()
			p.has(p.remote, "gone.py", "o")
			p.status(s, inSync)
			p.write(p.local, "train.py", "v2")
			p.has(p.remote, "train.py", "v2")
			p.remove(p.local, "gone.py")
			p.lacks(p.remote, "gone.py")
			p.status(s, clean)
			if restart {
				stop()
			}
			toBreak.Store(true)
			p.replaced("two", func() {
				require.NoError(t, os.Mkdir(p.remote, 0o755))
				for _, name := range []string{"train.py", "gone.py"} {
					require.NoError(t, os.WriteFile(filepath.Join(p.remote, name), []byte("of the image"), 0o644))
				}
			})
			if restart {
				_, stop = p.start()
				<-opened
				stop()
				s, _ = p.start()
			}
			<-opened
			p.has(p.remote, "train.py", "v2")
			p.lacks(p.remote, "gone.py")
			st := p.status(s, inSync)
			require.True(t, st.Clean(), "%+v", st)
			require.Equal(t, map[string]string{".": "a folder", "train.py": "v2"}, content(t, p.local))
		})
	}
}

// What was edited in a new pod between the first look at it and the end of kfdev
// is no file of the image.
func TestEditsInANewPodBeforeTheFirstSave(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, "a", "v1")
	s, stop := p.start()
	p.has(p.remote, "a", "v1")
	p.status(s, clean)
	stop()
	p.config.Connect = func(ctx context.Context, rules []byte, say func(string)) (session.Link, error) {
		l, err := p.connect(ctx, rules, say)
		if err != nil {
			return nil, err
		}
		return neverDurable{l}, nil
	}
	p.replaced("two", func() {
		require.NoError(t, os.Mkdir(p.remote, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(p.remote, "a"), []byte("of the image"), 0o644))
	})
	s, stop = p.start()
	p.has(p.remote, "a", "v1")
	p.status(s, clean)
	p.eventually(func() bool { // the save that is the first has nothing to wait for
		found, err := filepath.Glob(filepath.Join(p.state, "*.ancestor"))
		return err == nil && len(found) == 2
	}, "what is in the pod is written down")
	stop()
	p.config.Connect = p.connect
	p.write(p.remote, "a", "edited in the pod")
	s, _ = p.start()
	st := p.status(s, func(st session.Status) bool { return inSync(st) })
	require.Equal(t, "edited in the pod", content(t, p.remote)["a"], "%+v", st)
}

// neverDurable is a link whose Sync fails.
type neverDurable struct{ session.Link }

func (neverDurable) Sync(context.Context) error { return errors.New("the disk is gone") }

// Somebody deletes what is the sync's own (`git clean -fdx`), here or in the pod.
func TestWhatIsTheSyncsOwnIsDeleted(t *testing.T) {
	t.Parallel()
	for name, side := range map[string]func(*pair) string{"here": localOf, "in the pod": remoteOf} {
		t.Run(name+", while it runs", func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.write(p.local, "a", "a")
			p.write(p.local, "gone", "x")
			s, stop := p.start()
			p.has(p.remote, "gone", "x")
			p.status(s, clean)
			p.remove(side(p), endpoint.StateDir)
			p.write(p.remote, "a", "theirs")
			p.has(p.local, "a", "theirs")
			p.write(p.local, "b", "mine")
			p.has(p.remote, "b", "mine")
			p.status(s, clean)
			stop()
			p.write(p.local, "a", "edited")
			p.remove(p.local, "gone")
			s, _ = p.start()
			p.has(p.remote, "a", "edited")
			p.lacks(p.remote, "gone")
			p.status(s, clean)
		})
		t.Run(name+", between two runs", func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.write(p.local, "a", "a")
			p.write(p.local, "gone", "x")
			s, stop := p.start()
			p.has(p.remote, "gone", "x")
			p.status(s, clean)
			stop()
			p.remove(side(p), endpoint.StateDir)
			p.write(p.local, "a", "edited")
			p.remove(p.local, "gone")
			s, _ = p.start()
			p.has(p.remote, "a", "edited")
			p.lacks(p.remote, "gone")
			st := p.status(s, inSync)
			require.True(t, st.Clean(), "%+v", st)
		})
	}
}
