package envs

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/folder"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
	"github.com/kfdev/kfdev/sync/wire"
)

// packedLayer is a layer that has files with their names as their content.
func packedLayer(t *testing.T, names ...string) ([]byte, v1.Hash) {
	t.Helper()
	var tree layer.Tree
	for _, name := range names {
		require.NoError(t, tree.AddBytes(name, 0o644, []byte(name)))
	}
	var out bytes.Buffer
	packed, err := tree.Pack(t.Context(), &out, nil)
	require.NoError(t, err)
	return out.Bytes(), packed.DiffID
}

// imageFiles are the files in the folder of the image's one platform, as those see
// them who run it.
func (b *bench) imageFiles(t *testing.T, image string) []string {
	t.Helper()
	ref, err := images.ParseRef(image)
	require.NoError(t, err)
	closure, err := images.Walk(t.Context(), b.content, ref, nil)
	require.NoError(t, err)
	v := layer.NewView("work/src")
	for _, blob := range closure.Nodes[0].Blobs[1:] {
		content, err := b.content.Blob(t.Context(), ref.Repository, blob)
		require.NoError(t, err)
		require.NoError(t, v.Put(content))
		require.NoError(t, content.Close())
	}
	var all []string
	for _, s := range v.Below() {
		all = append(all, strings.TrimPrefix(s.Path, "work/src/"))
	}
	return all
}

// onImage is a project that is up, whose pod's image has files in the folder.
func onImage(t *testing.T, text string, files ...string) (b *bench, runsIt finder) {
	t.Helper()
	b = newBench(t, strings.Replace(text, "origin: source", "origin: registry", 1))
	b.remote.err = nil
	b.publishWhole(t, "registry.example/storage", "v1")
	for i := range files {
		files[i] = "work/src/" + files[i]
	}
	extra := b.publishWhole(t, "registry.example/extra", "v1", files...)
	b.remote.publishNode(t)
	b.source(t, map[string]string{".gitignore": "*.log\n", "train.py": "print(1)"})
	_, err := b.up(t)
	require.NoError(t, err)
	return b, runs(extra.String())
}

// What was deleted is not in the image. What was never synced is.
func TestWhatTheFolderHasLostIsNotInTheImage(t *testing.T) {
	t.Parallel()
	b, its := onImage(t, withSync, "train.py", "gone.py", "old/x.py", "old/__pycache__/x.pyc", "kept/x.py", "kept/big.log", "noise.log", "__pycache__/train.pyc")
	got, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb"}, its)
	require.NoError(t, err)
	require.False(t, got.Compared)
	require.Contains(t, b.said(), "what the pod has is not known")
	require.Equal(t, []string{".gitignore", "__pycache__", "__pycache__/train.pyc", "kept", "kept/big.log", "noise.log", "train.py"}, b.imageFiles(t, got.Image))
	again, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb", Local: true}, its)
	require.NoError(t, err)
	require.Equal(t, got, again)

	// In one-way the pod keeps what the folder here never had; nobody says that it had.
	b.project(t, strings.Replace(strings.Replace(withSync, "target:", "mode: one-way, target:", 1), "origin: source", "origin: registry", 1))
	got, err = b.engine(t).bake(t.Context(), BakeOptions{Name: "nb"}, its)
	require.NoError(t, err)
	require.Subset(t, b.imageFiles(t, got.Image), []string{"gone.py", "old/x.py", "old/__pycache__/x.pyc", "kept/x.py"})
}

// nearLink is a connection to a folder that stands for a pod's.
type nearLink struct{ *wire.Remote }

func (nearLink) Pod() string     { return "pod extra-0" }
func (nearLink) Place() string   { return "one" }
func (nearLink) Notes() []string { return nil }

// synced runs a session of the entry nb with a folder, until it is stopped or the
// test ends.
func (b *bench) synced(t *testing.T, remote string, o SyncOptions) (c *control.Client, stop func()) {
	t.Helper()
	s, err := b.engine(t).Sync(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended, served := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- s.run(ctx, func(ctx context.Context, rules []byte, _ func(string)) (session.Link, error) {
			here, there := net.Pipe()
			go func() {
				defer close(served)
				_ = wire.Serve(context.Background(), there, folder.Opener(progress.Discard), wire.Options{}) // it ends with the pipe
			}()
			r, err := wire.Dial(ctx, here, wire.Open{Session: "nb", Root: remote, Rules: rules}, wire.Options{})
			if err != nil {
				return nil, err
			}
			return nearLink{r}, nil
		}, SyncWatcher{})
	}()
	client := control.NewClient(s.Dir)
	stop = sync.OnceFunc(func() {
		cancel()
		client.Close()
		require.NoError(t, <-ended)
		<-served
	})
	t.Cleanup(stop)
	return client, stop
}

func until(t *testing.T, c *control.Client, fits func(session.Status) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		st, err := c.Status(t.Context())
		return err == nil && fits(st)
	}, within, 5e6)
}

func clean(st session.Status) bool { return st.State == session.InSync && st.Clean() }

// With a session, what is baked is what the pod has, or nothing is.
func TestASessionSaysWhatRan(t *testing.T) {
	t.Parallel()
	b, its := onImage(t, withSync, "train.py", "gone.py")
	remote := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(remote, "made.py"), []byte("made there"), 0o600))
	c, stop := b.synced(t, remote, SyncOptions{What: "nb"})
	until(t, c, func(st session.Status) bool { return clean(st) && st.Paths == 3 })
	got, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb"}, its)
	require.NoError(t, err)
	require.True(t, got.Compared)
	require.Equal(t, []string{".gitignore", "made.py", "train.py"}, b.imageFiles(t, got.Image))
	require.NotContains(t, b.said(), "is not known")

	stop()
	require.NoError(t, os.WriteFile(filepath.Join(remote, "train.py"), []byte("theirs"), 0o600))
	b.source(t, map[string]string{"train.py": "mine"})
	c, _ = b.synced(t, remote, SyncOptions{What: "nb"})
	until(t, c, func(st session.Status) bool { return st.State == session.InSync && len(st.Conflicts) == 1 })
	b.revive(0)
	_, err = b.engine(t).bake(t.Context(), BakeOptions{Name: "nb"}, its)
	require.Equal(t, 6, fault.ExitCode(err))
	require.ErrorContains(t, err, "conflict at train.py")
	require.Contains(t, strings.Join(fault.Hint(err), "\n"), "kfdev sync bake nb --local")
	require.Empty(t, b.written())
	local, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb", Local: true}, its)
	require.NoError(t, err)
	require.False(t, local.Compared)
	require.NoError(t, c.Resolve(t.Context(), "train.py", session.KeepLocal))
	until(t, c, clean)
	same, err := b.engine(t).bake(t.Context(), BakeOptions{Name: "nb"}, its)
	require.NoError(t, err)
	require.Equal(t, local.Image, same.Image)
}

// In pull a pod is never given what only the folder here has; in one-way it keeps
// what it alone has, and loses what is deleted here.
func TestTheModeOfTheSessionCounts(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string][]string{"pull": {"own.py"}, "one-way": {".gitignore", "own.py", "train.py"}} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b, its := onImage(t, withSync, "own.py", "lost.py")
			b.source(t, map[string]string{"lost.py": "x"})
			remote := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(remote, "own.py"), []byte("x"), 0o600))
			c, _ := b.synced(t, remote, SyncOptions{What: "nb", Mode: mode})
			until(t, c, clean)
			require.NoError(t, os.Remove(filepath.Join(b.dir, "src/lost.py")))
			until(t, c, func(st session.Status) bool {
				_, err := os.Stat(filepath.Join(remote, "lost.py"))
				return clean(st) && os.IsNotExist(err)
			})
			var got Baked
			require.Eventually(t, func() bool { // until the session knows what was removed
				var err error
				got, err = b.engine(t).bake(t.Context(), BakeOptions{Name: "nb"}, its)
				return err == nil
			}, within, 5e6)
			require.Equal(t, want, b.imageFiles(t, got.Image))
		})
	}
}
