package bake_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/bake"
)

// write makes the files in a folder of its own, in an order, with modes and at
// a time that are the folder's own.
func write(t *testing.T, files [][2]string, umask int, at time.Time) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name, content := filepath.Join(dir, f[0]), f[1]
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777&^os.FileMode(umask)))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			require.NoError(t, os.Symlink(target, name))
			continue
		}
		mode := os.FileMode(0o666)
		if strings.HasSuffix(name, ".sh") {
			mode = 0o777
		}
		require.NoError(t, os.WriteFile(name, []byte(content), mode))
		require.NoError(t, os.Chmod(name, mode&^os.FileMode(umask)))
		require.NoError(t, os.Chtimes(name, at, at))
	}
	return dir
}

func sample() [][2]string {
	return [][2]string{
		{"train.py", "print(1)"}, {"pkg/a.py", "a"}, {"pkg/run.sh", "#!/bin/sh"}, {"empty/keep", ""},
		{"link", "-> pkg/a.py"}, {"pkg/up", "-> ../train.py"}, {"ünï", "x"}, {"cache/x.pyc", "ignored"},
	}
}

func ignored(path string, _ bool) bool { return path == "cache" }

func packed(t *testing.T, o bake.Options) ([]byte, string) {
	t.Helper()
	c, err := bake.Collect(t.Context(), o)
	require.NoError(t, err)
	var out bytes.Buffer
	p, err := c.Tree.Pack(t.Context(), &out, nil)
	require.NoError(t, errors.Join(err, c.Tree.Close()))
	return out.Bytes(), p.DiffID.String()
}

// The same tree is the same layer: in another folder, written in another order,
// at another time, under another umask.
func TestTheSameTreeIsTheSameLayer(t *testing.T) {
	t.Parallel()
	files := sample()
	one, oneID := packed(t, bake.Options{Root: write(t, files, 0o022, time.Unix(1e9, 0)), Ignored: ignored, Remote: "/work/src", UID: 1000, GID: 100})
	for i, j := 0, len(files)-1; i < j; i, j = i+1, j-1 {
		files[i], files[j] = files[j], files[i]
	}
	files = append(files, [2]string{"cache/other.pyc", "ignored, too"})
	two, twoID := packed(t, bake.Options{Root: write(t, files, 0o077, time.Unix(2e9, 0)), Ignored: ignored, Remote: "/work/src", UID: 1000, GID: 100})
	require.Equal(t, oneID, twoID)
	require.Equal(t, one, two)
	// One byte, one bit, one name, one place: another.
	for _, change := range []func([][2]string) [][2]string{
		func(f [][2]string) [][2]string { return append(f, [2]string{"z", ""}) },
		func(f [][2]string) [][2]string { f[0][1] += " "; return f },
		func(f [][2]string) [][2]string { f[0][0] += ".sh"; return f },
	} {
		_, other := packed(t, bake.Options{Root: write(t, change(sample()), 0o022, time.Unix(1e9, 0)), Ignored: ignored, Remote: "/work/src", UID: 1000, GID: 100})
		require.NotEqual(t, oneID, other)
	}
	_, elsewhere := packed(t, bake.Options{Root: write(t, sample(), 0o022, time.Unix(1e9, 0)), Ignored: ignored, Remote: "/work/code", UID: 1000, GID: 100})
	require.NotEqual(t, oneID, elsewhere)
}

func TestTheLayerHasWhatIsSyncedAndNothingAboveIt(t *testing.T) {
	t.Parallel()
	dir := write(t, append(sample(), [][2]string{{"out", "-> ../../etc/passwd"}, {"abs", "-> /etc/passwd"}, {"dangling", "-> nowhere"}}...), 0o077, time.Now())
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	c, err := bake.Collect(t.Context(), bake.Options{Root: dir, Ignored: ignored, Remote: "/home/jovyan/src", UID: 1000, GID: 100})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Tree.Close()) }()
	require.Equal(t, 5, c.Files)
	require.EqualValues(t, len("print(1)")+len("a")+len("#!/bin/sh")+len("x"), c.Bytes)
	require.ElementsMatch(t, []string{
		"out leads out of the folder, and is left out", "abs leads out of the folder, and is left out",
		"pipe is no file, folder or link, and is left out",
	}, c.Notes)
	var out bytes.Buffer
	require.NoError(t, c.Tree.Write(t.Context(), &out))
	got := map[string]string{}
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.Equal(t, []int{1000, 100}, []int{h.Uid, h.Gid}, h.Name)
		require.Equal(t, time.Unix(1, 0), h.ModTime)
		got[strings.TrimSuffix(h.Name, "/")] = h.FileInfo().Mode().String() + " " + h.Linkname
	}
	at := "home/jovyan/src"
	require.Equal(t, map[string]string{
		at: "drwxr-xr-x ", at + "/train.py": "-rw-r--r-- ", at + "/pkg": "drwxr-xr-x ", at + "/pkg/a.py": "-rw-r--r-- ",
		at + "/pkg/run.sh": "-rwxr-xr-x ", at + "/empty": "drwxr-xr-x ", at + "/empty/keep": "-rw-r--r-- ",
		at + "/link": "Lrwxrwxrwx pkg/a.py", at + "/pkg/up": "Lrwxrwxrwx ../train.py", at + "/ünï": "-rw-r--r-- ", at + "/dangling": "Lrwxrwxrwx nowhere",
	}, got)
}

func TestSecretsStopIt(t *testing.T) {
	t.Parallel()
	token := "gh" + "p_" + "Qw3rTy7UiOp9AsDfGhJkLzXcVbNm4Q2eW6r8"
	dir := write(t, [][2]string{{"a.py", "one\ntwo = '" + token + "'\n"}, {".env", "A=b"}, {"sub/.env.local", "A=b"}, {"cache/id_rsa", "x"}, {"ok.py", "x"}}, 0, time.Now())
	o := bake.Options{Root: dir, Ignored: ignored, Remote: "/x"}
	_, err := bake.Collect(t.Context(), o)
	require.Equal(t, fault.Gate, fault.KindOf(err))
	var secrets bake.Secrets
	require.ErrorAs(t, err, &secrets)
	require.Equal(t, "secrets in the folder:\n.env: a file of environment variables (env-file)\na.py:2: a GitHub token (github-token)\nsub/.env.local: a file of environment variables (env-file)", secrets.Error())
	require.NotContains(t, err.Error(), token[4:])
	require.Contains(t, fault.Hint(err)[0], "--allow-secret")

	o.AllowSecrets = []string{".env", "sub"}
	_, err = bake.Collect(t.Context(), o)
	require.ErrorContains(t, err, "a.py:2")
	require.NotContains(t, err.Error(), ".env")

	o.AllowSecrets = []string{"./.env", "sub/", "a.py"}
	c, err := bake.Collect(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, 4, c.Files)
	require.NoError(t, c.Tree.Close())

	o.AllowSecrets = append(o.AllowSecrets, "ok.py")
	_, err = bake.Collect(t.Context(), o)
	require.Equal(t, fault.Usage, fault.KindOf(err))
	require.ErrorContains(t, err, "ok.py: no secret is in it")
}

func TestAFileThatChangesFailsIt(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"as long": "bbb", "shorter": "b", "longer": "bbbb"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, [][2]string{{"a", "aaa"}}, 0, time.Now())
			c, err := bake.Collect(t.Context(), bake.Options{Root: dir, Remote: "/x"})
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte(content), 0o600))
			require.Error(t, c.Tree.Write(t.Context(), io.Discard))
			require.NoError(t, c.Tree.Close())
		})
	}
}

func TestWhatCannotBeBaked(t *testing.T) {
	t.Parallel()
	_, err := bake.Collect(t.Context(), bake.Options{Root: filepath.Join(t.TempDir(), "gone"), Remote: "/x"})
	require.ErrorContains(t, err, "gone")
	_, err = bake.Collect(t.Context(), bake.Options{Root: write(t, [][2]string{{"d/.wh.a", ""}}, 0, time.Now()), Remote: "/x"})
	require.ErrorContains(t, err, "d/.wh.a: in an image this name means that a file is removed")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = bake.Collect(ctx, bake.Options{Root: write(t, sample(), 0, time.Now()), Remote: "/x"})
	require.ErrorIs(t, err, context.Canceled)
}
