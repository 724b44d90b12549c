package folder

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/ignore"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/watch"
	"github.com/kfdev/kfdev/sync/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hand changes a real folder.
type hand struct{ root string }

func (h hand) at(path string) string { return filepath.Join(h.root, path) }

func (h hand) Write(tb testing.TB, path string, data []byte, exec bool) {
	tb.Helper()
	require.NoError(tb, os.MkdirAll(filepath.Dir(h.at(path)), 0o755))
	require.NoError(tb, os.WriteFile(h.at(path), data, 0o644))
	mode := os.FileMode(0o644)
	if exec {
		mode = 0o755
	}
	if info, err := os.Lstat(h.at(path)); err == nil && info.Mode().Perm() != mode {
		require.NoError(tb, os.Chmod(h.at(path), mode))
	}
}

func (h hand) Mkdir(tb testing.TB, path string) {
	tb.Helper()
	require.NoError(tb, os.Mkdir(h.at(path), 0o755))
}

func (h hand) Link(tb testing.TB, target, path string) {
	tb.Helper()
	require.NoError(tb, os.Symlink(target, h.at(path)))
}

func (h hand) Remove(tb testing.TB, path string) {
	tb.Helper()
	require.NoError(tb, os.RemoveAll(h.at(path)))
}

func (h hand) Read(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(h.at(path))
	require.NoError(tb, err)
	return data
}

func (h hand) Look(tb testing.TB) *tree.Tree {
	tb.Helper()
	t := &tree.Tree{}
	err := filepath.WalkDir(h.root, func(full string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path, err := filepath.Rel(h.root, full)
		if err != nil {
			return err
		}
		if path == "." {
			path = ""
		}
		if d.Name() == endpoint.StateDir {
			return fs.SkipDir
		}
		var e tree.Entry
		switch {
		case d.IsDir():
			e.Kind = tree.Dir
		case d.Type() == fs.ModeSymlink:
			e.Kind = tree.Symlink
			e.Target, err = os.Readlink(full)
		default:
			var data []byte
			if data, err = os.ReadFile(full); err == nil {
				var info fs.FileInfo
				if info, err = d.Info(); err == nil {
					e = endpointtest.FileEntry(data, info.Mode()&0o100 != 0)
				}
			}
		}
		return errors.Join(err, t.Put(path, e))
	})
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(tb, err)
	}
	return t
}

// ruled are rules that ignore a name.
func ruled(tb testing.TB, name string) []byte {
	tb.Helper()
	dir := tb.TempDir()
	require.NoError(tb, os.WriteFile(filepath.Join(dir, ".kfdevignore"), []byte(name+"\n"), 0o644))
	r, err := ignore.Load(dir)
	require.NoError(tb, err)
	return r.Bytes()
}

// losing is a watcher that can be told to have missed something.
type losing struct {
	watcher
	lose chan struct{}
}

func (l *losing) Next(ctx context.Context) (watch.Batch, error) {
	type said struct {
		b   watch.Batch
		err error
	}
	next := make(chan said, 1)
	within, cancel := context.WithCancel(ctx)
	go func() {
		b, err := l.watcher.Next(within)
		next <- said{b, err}
	}()
	select {
	case <-l.lose:
		cancel()
		<-next
		return watch.Batch{Missed: true}, nil
	case s := <-next:
		cancel()
		return s.b, s.err
	}
}

func (l *losing) open(root string, o watch.Options) (watcher, error) {
	w, err := watch.New(root, o)
	l.watcher = w
	return l, err
}

func TestConformance(t *testing.T) {
	t.Parallel()
	endpointtest.Run(t, func(t *testing.T) endpointtest.Side {
		t.Helper()
		h := hand{filepath.Join(t.TempDir(), "root")}
		require.NoError(t, os.Mkdir(h.root, 0o755))
		l := &losing{lose: make(chan struct{}, 1)}
		f, err := Open(t.Context(), Options{Root: h.root, Session: t.Name(), ParseRules: ParseRules, watch: l.open})
		require.NoError(t, err)
		return endpointtest.Side{
			Endpoint: f, Hand: h, Rules: func(name string) []byte { return ruled(t, name) }, Lose: func() { l.lose <- struct{}{} },
		}
	})
}

func TestConformanceOverTheWire(t *testing.T) {
	t.Parallel()
	endpointtest.Run(t, func(t *testing.T) endpointtest.Side {
		t.Helper()
		h := hand{filepath.Join(t.TempDir(), "root")}
		require.NoError(t, os.Mkdir(h.root, 0o755))
		a, b := net.Pipe()
		served := make(chan error, 1)
		ctx := context.WithoutCancel(t.Context())
		go func() { served <- wire.Serve(ctx, b, Opener(nil), wire.Options{}) }()
		r, err := wire.Dial(ctx, a, wire.Open{Session: t.Name(), Root: h.root, Rules: ruled(t, "")}, wire.Options{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, <-served) })
		return endpointtest.Side{Endpoint: r, Hand: h, Rules: func(name string) []byte { return ruled(t, name) }}
	})
}
