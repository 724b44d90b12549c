package reconcile

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/tree"
)

// large is a tree of about 100,000 paths, a flat folder among them.
func large(tb testing.TB) *tree.Tree {
	tb.Helper()
	t := &tree.Tree{}
	put := func(p string, e tree.Entry) { require.NoError(tb, t.Put(p, e)) }
	put("", tree.Entry{Kind: tree.Dir})
	for d := range 900 {
		dir := fmt.Sprintf("package%d", d)
		put(dir, tree.Entry{Kind: tree.Dir})
		for f := range 100 {
			put(fmt.Sprintf("%s/module_%d.py", dir, f), file(byte(f)))
		}
	}
	put("images", tree.Entry{Kind: tree.Dir})
	for f := range 10000 {
		put(fmt.Sprintf("images/%d.png", f), file(byte(f)))
	}
	return t
}

func file(d byte) tree.Entry {
	return tree.Entry{Kind: tree.File, Size: int64(d), Digest: tree.Digest{d}}
}

func BenchmarkFull(b *testing.B) {
	base := large(b)
	local, remote := base.Clone(), base.Clone()
	require.NoError(b, local.Put("package7/module_7.py", file(77)))
	for b.Loop() {
		if r := Reconcile(base, local, remote, nil, Options{}); len(r.ToRemote) != 1 {
			b.Fatal(r)
		}
	}
}

func BenchmarkFirst(b *testing.B) {
	local, empty := large(b), &tree.Tree{}
	for b.Loop() {
		if r := Reconcile(empty, local, empty, nil, Options{}); len(r.ToRemote) != local.Len()+1 {
			b.Fatal(len(r.ToRemote))
		}
	}
}

func BenchmarkEdit(b *testing.B) {
	base := large(b)
	local, remote := base.Clone(), base.Clone()
	require.NoError(b, local.Put("images/77.png", file(78)))
	paths := []string{"images/77.png"}
	for b.Loop() {
		if r := Reconcile(base, local, remote, paths, Options{}); len(r.ToRemote) != 1 {
			b.Fatal(r)
		}
	}
}

// A new file beside 10,000 others, where names fold.
func BenchmarkNewFileFolding(b *testing.B) {
	base := large(b)
	local, remote := base.Clone(), base.Clone()
	require.NoError(b, remote.Put("images/new.png", file(78)))
	paths := []string{"images/new.png"}
	for b.Loop() {
		if r := Reconcile(base, local, remote, paths, Options{Local: Side{FoldsCase: true, FoldsUnicode: true}}); len(r.ToLocal) != 1 {
			b.Fatal(r)
		}
	}
}
