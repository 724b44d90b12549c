package upstream_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/upstream"
)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
}

// module returns a Locate that knows one module.
func module(t *testing.T, files map[string]string) upstream.Locate {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	return func(_ context.Context, name, version string) (string, error) {
		if name != "example.com/m" || version != "v1.0.0" {
			return "", errors.New("there is no such module")
		}
		return dir, nil
	}
}

func list(takes ...upstream.Take) upstream.List {
	return upstream.List{Modules: []upstream.Module{{Module: "example.com/m", Version: "v1.0.0", Take: takes}}}
}

func TestGatherWriteCheck(t *testing.T) {
	t.Parallel()
	locate := module(t, map[string]string{"deploy/a.yaml": "a", "deploy/sub/b.yaml": "b", "deploy/sub/README.md": "r", "deploy/big/c.yaml": "c", "other": "o"})
	files, err := upstream.Gather(t.Context(), list(
		upstream.Take{From: "deploy", To: "app", Except: []string{"README.md", "big"}},
		upstream.Take{From: "other", To: "app/one.txt"},
	), locate)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"app/a.yaml": []byte("a"), "app/sub/b.yaml": []byte("b"), "app/one.txt": []byte("o")}, files)

	dir := t.TempDir()
	write(t, dir, map[string]string{"upstream/README.md": "keep", "upstream/app/stale.yaml": "x", "upstream/app/a.yaml": "damaged"})
	changed, err := upstream.Write(dir, files)
	require.NoError(t, err)
	require.Equal(t, 4, changed)
	changed, err = upstream.Write(dir, files)
	require.NoError(t, err)
	require.Zero(t, changed)
	require.FileExists(t, filepath.Join(dir, "upstream/README.md"))
	require.NoFileExists(t, filepath.Join(dir, "upstream/app/stale.yaml"))

	sums := upstream.Sums{}
	for name, content := range files {
		sums[name] = upstream.Sum(content)
	}
	write(t, dir, map[string]string{"upstream.sum": sums.String()})
	require.NoError(t, upstream.Check(os.DirFS(dir)))
	parsed, err := upstream.ParseSums([]byte(sums.String()))
	require.NoError(t, err)
	require.Equal(t, sums, parsed)
	require.Empty(t, upstream.Differences(sums, files))

	write(t, dir, map[string]string{"upstream/app/a.yaml": "tampered"})
	err = upstream.Check(os.DirFS(dir))
	require.ErrorContains(t, err, "app/a.yaml is not the one that was recorded")
	require.NoError(t, os.Remove(filepath.Join(dir, "upstream/app/a.yaml")))
	err = upstream.Check(os.DirFS(dir))
	require.ErrorContains(t, err, "built without the upstream file app/a.yaml")
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	require.Equal(t, []string{"build kfdev with: make build"}, fault.Hint(err))

	files["new"] = []byte("n")
	files["app/one.txt"] = []byte("changed")
	delete(files, "app/sub/b.yaml")
	require.Equal(t, []string{"app/one.txt is not the file that was recorded", "app/sub/b.yaml is recorded, but is not taken", "new is not recorded"},
		upstream.Differences(sums, files))
}

func TestGatherFaults(t *testing.T) {
	t.Parallel()
	locate := module(t, map[string]string{"a": "a"})
	for name, tc := range map[string]struct {
		list upstream.List
		want string
	}{
		"no such file":   {list(upstream.Take{From: "b", To: "b"}), "example.com/m@v1.0.0"},
		"twice":          {list(upstream.Take{From: "a", To: "x"}, upstream.Take{From: "a", To: "x"}), "x comes twice"},
		"no such module": {upstream.List{Modules: []upstream.Module{{Module: "example.com/other"}}}, "there is no such module"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := upstream.Gather(t.Context(), tc.list, locate)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestReadList(t *testing.T) {
	t.Parallel()
	read := func(text string) error {
		_, err := upstream.ReadList(fstest.MapFS{"upstream.yaml": {Data: []byte(text)}})
		return err
	}
	require.NoError(t, read("modules: [{module: m, version: v1, take: [{from: a, to: b}]}]"))
	require.ErrorContains(t, read("modules: [{module: m, take: [{from: ../a, to: /b}]}]"), "upstream.yaml:1:11: module and version are wanted")
	require.ErrorContains(t, read("modules: [{module: m, version: v1, take: [{from: ../a, to: b}]}]"), "clean paths")
	require.ErrorContains(t, read("modulse: []"), `did you mean "modules"?`)
}

func FuzzParseSums(f *testing.F) {
	f.Add([]byte(upstream.Sum(nil) + "  a/b\n"))
	f.Add([]byte("x  ../y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sums, err := upstream.ParseSums(data)
		if err != nil {
			return
		}
		again, err := upstream.ParseSums([]byte(sums.String()))
		require.NoError(t, err)
		require.Equal(t, sums, again)
	})
}

func TestGatherTakesSomeObjectsOfAFile(t *testing.T) {
	t.Parallel()
	locate := module(t, map[string]string{"all.yaml": "# many\nkind: A\nmetadata: {name: x}\n---\nkind: B\nmetadata: {name: x}\n---\nkind: B\nmetadata: {name: w}\n"})
	files, err := upstream.Gather(t.Context(), list(upstream.Take{From: "all.yaml", To: "some.yaml", Objects: []string{"B/w", "A/x"}}), locate)
	require.NoError(t, err)
	require.Equal(t, "# many\nkind: A\nmetadata: {name: x}\n---\nkind: B\nmetadata: {name: w}\n", string(files["some.yaml"]))
	_, err = upstream.Gather(t.Context(), list(upstream.Take{From: "all.yaml", To: "some.yaml", Objects: []string{"B/w", "B/z"}}), locate)
	require.ErrorContains(t, err, "there is no B/z in it")
}
