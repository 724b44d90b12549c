package bake_test

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/bake"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
)

// imageOf is what an image has below /work/src: with a slash at the end a folder,
// with an arrow a link, with a star a device, all else a file.
func imageOf(names ...string) []layer.Seen {
	var all []layer.Seen
	for _, name := range names {
		name, link, isLink := strings.Cut(name, " -> ")
		s := layer.Seen{Entry: layer.Entry{Path: "work/src/" + strings.Trim(name, "/*"), Mode: 0o640, UID: 7, GID: 8}, Special: strings.HasSuffix(name, "*")}
		switch {
		case isLink:
			s.Type, s.Link = layer.Symlink, link
		case strings.HasSuffix(name, "/"):
			s.Type, s.Mode = layer.Dir, 0o750|fs.ModeDir
		}
		all = append(all, s)
	}
	return all
}

// collected is what the layer takes away, and what else it has.
func collected(t *testing.T, o bake.Options) (removed, has []string, owners map[string]int) {
	t.Helper()
	c, err := bake.Collect(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Tree.Close()) }()
	owners = map[string]int{}
	for _, e := range c.Tree.Entries() {
		name := strings.TrimPrefix(e.Path, "work/src/")
		if e.Type == layer.Removed {
			removed = append(removed, name)
			continue
		}
		has, owners[name] = append(has, name), e.UID
	}
	require.NoError(t, c.Tree.Write(t.Context(), new(discarding)))
	return removed, has, owners
}

type discarding struct{}

func (*discarding) Write(p []byte) (int, error) { return len(p), nil }

// rules ignore cached files, logs and data.
func rules(path string, dir bool) bool {
	name := filepath.Base(path)
	return name == "__pycache__" || strings.HasSuffix(name, ".pyc") || strings.HasSuffix(name, ".log") || dir && name == "data"
}

func TestTheLayerTakesAwayWhatWasDeleted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		image, removed []string
		stays          string // a folder of the image's
	}{
		"a file":                          {image: []string{"gone.py", "train.py"}, removed: []string{"gone.py"}},
		"a folder":                        {image: []string{"old/", "old/sub/", "old/sub/x.py"}, removed: []string{"old"}},
		"with caches in it":               {image: []string{"old/", "old/__pycache__/", "old/__pycache__/x.pyc", "old/x.pyc", "old/x.py"}, removed: []string{"old"}},
		"with what is ignored in it":      {image: []string{"old/", "old/x.log", "old/x.py", "old/sub/", "old/sub/y.py"}, removed: []string{"old/sub", "old/x.py"}, stays: "old"},
		"with nothing but that in it":     {image: []string{"old/", "old/x.log"}},
		"of one that stays":               {image: []string{"pkg/", "pkg/gone.py", "pkg/a.py", "pkg/x.log", "pkg/__pycache__/", "pkg/__pycache__/x.pyc"}, removed: []string{"pkg/gone.py"}},
		"ignored":                         {image: []string{"x.log", "__pycache__/", "__pycache__/x.pyc", "data/", "data/x.csv"}},
		"a folder where a file is now":    {image: []string{"train.py/", "train.py/x"}},
		"a file where a folder is now":    {image: []string{"pkg"}},
		"links":                           {image: []string{"in -> train.py", "out -> ../x", "abs -> /etc/passwd"}, removed: []string{"in"}},
		"a device":                        {image: []string{"old/", "old/dev*", "old/x"}, removed: []string{"old/x"}, stays: "old"},
		"what can't be synced stays here": {image: []string{"leads/", "leads/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, [][2]string{{"train.py", "x"}, {"pkg/a.py", "a"}, {"leads", "-> /etc"}}, 0, time.Now())
			removed, has, owners := collected(t, bake.Options{Root: dir, Ignored: rules, Remote: "/work/src", UID: 1000, Image: imageOf(tc.image...)})
			require.Equal(t, tc.removed, removed)
			want := []string{"pkg", "pkg/a.py", "train.py"}
			if tc.stays != "" {
				want = append([]string{tc.stays}, want...)
				require.Equal(t, 7, owners[tc.stays], "it is whose it was")
			}
			require.Equal(t, want, has[1:])
			require.Equal(t, 1000, owners["pkg"])
		})
	}
}

// podOf is a tree of files; a name with a slash at its end is a folder.
func podOf(t *testing.T, files [][2]string) *tree.Tree {
	t.Helper()
	held := &tree.Tree{}
	require.NoError(t, held.Put("", tree.Entry{Kind: tree.Dir}))
	for _, f := range files {
		e := tree.Entry{Kind: tree.File, Size: int64(len(f[1])), Digest: sha256.Sum256([]byte(f[1]))}
		if strings.HasSuffix(f[0], "/") {
			e = tree.Entry{Kind: tree.Dir}
		} else if target, ok := strings.CutPrefix(f[1], "-> "); ok {
			e = tree.Entry{Kind: tree.Symlink, Target: target}
		}
		require.NoError(t, held.Put(strings.TrimSuffix(f[0], "/"), e))
	}
	return held
}

func TestWhatIsBakedIsWhatThePodHas(t *testing.T) {
	t.Parallel()
	files := [][2]string{{"pkg/", ""}, {"pkg/a.py", "a"}, {"l", "-> pkg/a.py"}, {"run.sh", "#!"}}
	for name, tc := range map[string]struct {
		change func([][2]string) [][2]string
		differ map[reconcile.Mode]string
	}{
		"alike":        {func(f [][2]string) [][2]string { return f }, nil},
		"a content":    {func(f [][2]string) [][2]string { f[1][1] = "b"; return f }, map[reconcile.Mode]string{"": "pkg/a.py", reconcile.Pull: "pkg/a.py", reconcile.OneWay: "pkg/a.py"}},
		"a link":       {func(f [][2]string) [][2]string { f[2][1] = "-> run.sh"; return f }, map[reconcile.Mode]string{"": "l", reconcile.Pull: "l", reconcile.OneWay: "l"}},
		"more there":   {func(f [][2]string) [][2]string { return append(f, [2]string{"new", ""}) }, map[reconcile.Mode]string{"": "new", reconcile.Pull: "new"}},
		"nothing here": {func(f [][2]string) [][2]string { return f[:3] }, map[reconcile.Mode]string{"": "run.sh", reconcile.OneWay: "run.sh"}},
	} {
		for _, mode := range []reconcile.Mode{"", reconcile.Pull, reconcile.OneWay} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				dir := write(t, files[1:], 0, time.Now())
				there := podOf(t, tc.change([][2]string{files[0], files[1], files[2], files[3]}))
				c, err := bake.Collect(t.Context(), bake.Options{Root: dir, Remote: "/x", Mode: mode, Pod: there})
				if want := tc.differ[mode]; want != "" {
					require.Equal(t, fault.Drift, fault.KindOf(err))
					require.ErrorContains(t, err, "the pod has something else at "+want)
					return
				}
				require.NoError(t, errors.Join(err, c.Tree.Close()))
				if name == "nothing here" { // in pull, that is no news to the pod
					require.Equal(t, []string{"run.sh is in the folder here alone, and is left out"}, c.Notes)
				}
			})
		}
	}
}

// In one-way only the pod knows what of the image's it has lost.
func TestInOneWayThePodSaysWhatItLost(t *testing.T) {
	t.Parallel()
	dir := write(t, [][2]string{{"a", "a"}}, 0, time.Now())
	o := bake.Options{Root: dir, Remote: "/work/src", Mode: reconcile.OneWay, Image: imageOf("a", "lost", "own", "d/", "d/lost", "d/own")}
	removed, _, _ := collected(t, o)
	require.Empty(t, removed)
	o.Pod = podOf(t, [][2]string{{"a", "a"}, {"own", "x"}, {"d/", ""}, {"d/own", "x"}})
	removed, has, owners := collected(t, o)
	require.Equal(t, []string{"d/lost", "lost"}, removed)
	require.Equal(t, []string{"a", "d"}, has[1:])
	require.Equal(t, 7, owners["d"])
}
