package ancestor

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/tree"
)

func file(content string) tree.Entry {
	return tree.Entry{Kind: tree.File, Size: int64(len(content)), Digest: sha256.Sum256([]byte(content))}
}

func put(t *testing.T, to *Agreed, path string, e tree.Entry) {
	t.Helper()
	require.True(t, to.Put(path, e))
}

func equal(a, b *Agreed) bool { return tree.Equal(a.Tree, b.Tree) && maps.Equal(a.Gone, b.Gone) }

func sample(t *testing.T) *Agreed {
	t.Helper()
	all := Nothing()
	put(t, all, "", tree.Entry{Kind: tree.Dir})
	put(t, all, "src", tree.Entry{Kind: tree.Dir})
	put(t, all, "src/a.py", file("a"))
	put(t, all, "src/\xff\x01", tree.Entry{Kind: tree.Symlink, Target: "a.py"})
	run := file("run")
	run.Exec = true
	put(t, all, "run.sh", run)
	return all
}

func TestWhatWasAgreedIsThereAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	_, _, ok := s.Last()
	require.False(t, ok)
	p := Pair{Local: "l", Remote: "r", Place: "pod-1", Where: "pod/one: /src"}
	want := sample(t)
	require.NoError(t, s.Begin(p, want))
	changes := []tree.Change{{Path: "src/a.py", To: file("b")}, {Path: "run.sh"}}
	for _, c := range changes {
		put(t, want, c.Path, c.To)
	}
	require.NoError(t, s.Add(changes))
	require.NoError(t, s.Close())

	again, err := Open(dir)
	require.NoError(t, err)
	got, ok := again.Load(p)
	require.True(t, ok)
	require.Equal(t, map[string]bool{"run.sh": true}, got.Gone)
	require.Equal(t, tree.Dir, got.Ever().Get("run.sh").Kind)
	require.True(t, equal(want, got))
	_, ok = again.Load(Pair{Local: "l", Remote: "other"})
	require.False(t, ok)
	last, got, ok := again.Last()
	require.True(t, ok)
	require.Equal(t, p, last)
	require.True(t, equal(want, got))
}

// A kill or a power cut leaves some prefix of the file: it is what was agreed at
// some earlier time.
func TestCutAnywhereIsOlderAndNeverWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	p := Pair{Local: "l", Remote: "r"}
	now := sample(t)
	versions := []*Agreed{now.Clone()}
	require.NoError(t, s.Begin(p, now))
	for i := range 4 {
		c := tree.Change{Path: "src/a.py", To: file(fmt.Sprint(i))}
		put(t, now, c.Path, c.To)
		require.NoError(t, s.Add([]tree.Change{c}))
		versions = append(versions, now.Clone())
	}
	path := filepath.Join(dir, nameOf(p))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	at := 0
	for n := range len(whole) + 1 {
		got, all, err := decode(bytes.NewReader(whole[:n]))
		if err != nil {
			require.Zero(t, at, "the head was read before")
			continue
		}
		require.Equal(t, p, got)
		if all.Tree.Len() == 0 {
			continue // the head alone
		}
		for at < len(versions)-1 && !equal(versions[at], all) {
			at++
		}
		require.True(t, equal(versions[at], all), "cut at %d", n)
	}
	require.Equal(t, len(versions)-1, at)
	for n := range whole {
		broken := bytes.Clone(whole)
		broken[n] ^= 0x20
		_, all, err := decode(bytes.NewReader(broken))
		if err == nil && all.Tree.Len() > 0 {
			ok := false
			for _, v := range versions {
				ok = ok || equal(v, all)
			}
			require.True(t, ok, "a changed byte at %d", n)
		}
	}
}

func TestLongJournalsBecomeSnapshots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	p := Pair{Local: "l", Remote: "r"}
	now := sample(t)
	require.NoError(t, s.Begin(p, now))
	var many []tree.Change
	for i := range 9000 {
		many = append(many, tree.Change{Path: "src/a.py", To: file(fmt.Sprint(i))})
	}
	put(t, now, "src/a.py", many[len(many)-1].To)
	for range 4 {
		require.NoError(t, s.Add(many))
		if s.Long() {
			require.NoError(t, s.Begin(p, now))
			require.False(t, s.Long())
		}
	}
	info, err := os.Stat(filepath.Join(dir, nameOf(p)))
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(3<<20))
	got, ok := s.Load(p)
	require.True(t, ok)
	require.True(t, equal(now, got))
}

func TestOldPairsAreForgotten(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	for i := range keep + 5 {
		require.NoError(t, s.Begin(Pair{Local: "l", Remote: fmt.Sprint(i)}, sample(t)))
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "*"+suffix))
	require.NoError(t, err)
	require.Len(t, files, keep)
	_, ok := s.Load(Pair{Local: "l", Remote: fmt.Sprint(keep + 4)})
	require.True(t, ok)
}

func TestContents(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	b := []byte(`{"cells": []}`)
	d := tree.Digest(sha256.Sum256(b))
	require.False(t, s.Has(d))
	_, err = s.Content(d)
	require.Error(t, err)
	require.NoError(t, s.Keep(b))
	got, err := s.Content(d)
	require.NoError(t, err)
	require.Equal(t, b, got)
	require.NoError(t, os.WriteFile(s.content(d), []byte("other"), 0o600))
	_, err = s.Content(d)
	require.ErrorIs(t, err, errCorrupt)
}

func FuzzDecode(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(dir)
	require.NoError(f, err)
	now := Nothing()
	require.True(f, now.Put("", tree.Entry{Kind: tree.Dir}))
	require.True(f, now.Put("a", file("a")))
	p := Pair{Local: "l", Remote: "r"}
	require.NoError(f, s.Begin(p, now))
	require.NoError(f, s.Add([]tree.Change{{Path: "a"}}))
	whole, err := os.ReadFile(filepath.Join(dir, nameOf(p)))
	require.NoError(f, err)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, b []byte) {
		pair, all, err := decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		require.NoError(t, writeHead(&again, pair))
		require.NoError(t, writeEntries(&again, all.walk))
		_, same, err := decode(&again)
		require.NoError(t, err)
		require.True(t, equal(all, same))
	})
}

func TestDeletionsAreRememberedUpToALimit(t *testing.T) {
	t.Parallel()
	a := Nothing()
	dir := strings.Repeat("x", maxGoneBytes/2)
	put(t, a, "", tree.Entry{Kind: tree.Dir})
	put(t, a, dir, tree.Entry{Kind: tree.Dir})
	for _, path := range []string{"a", dir + "/" + dir} {
		put(t, a, path, tree.Entry{Kind: tree.Symlink, Target: "x"})
		put(t, a, path, tree.Entry{})
	}
	require.Equal(t, map[string]bool{"a": true}, a.Gone)
	for i := range 20_000 { // a branch is switched
		path := fmt.Sprint(i)
		put(t, a, path, tree.Entry{Kind: tree.Symlink, Target: "x"})
		put(t, a, path, tree.Entry{})
	}
	require.Len(t, a.Gone, 20_001)
}
