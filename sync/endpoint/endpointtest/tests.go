package endpointtest

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

func dir() tree.Entry               { return tree.Entry{Kind: tree.Dir} }
func link(target string) tree.Entry { return tree.Entry{Kind: tree.Symlink, Target: target} }
func file(text string) tree.Entry   { return FileEntry([]byte(text), false) }

func scan(s *side) {
	s.Hand.Write(s, "a.txt", []byte("a"), false)
	s.Hand.Write(s, "deep/er/b.sh", []byte("#!/bin/sh"), true)
	s.Hand.Write(s, "empty", nil, false)
	s.Hand.Write(s, "large", random(3<<20, 1), false)
	s.Hand.Mkdir(s, "nothing in it")
	s.Hand.Link(s, "deep/er", "link")
	s.Hand.Link(s, "../nothing in it", "deep/up")
	s.scan()
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	require.Equal(s, FileEntry([]byte("#!/bin/sh"), true), s.tree.Get("deep/er/b.sh"))
	require.Equal(s, link("../nothing in it"), s.tree.Get("deep/up"))
	require.Equal(s, 9, s.tree.Len())
	s.quiet()
}

func scanEmpty(s *side) {
	s.scan()
	require.Equal(s, dir(), s.tree.Get(""))
	require.Zero(s, s.tree.Len())
	require.NotEmpty(s, s.Info().Identity)
	require.NotEmpty(s, s.Info().Root)
}

func next(s *side) {
	s.Hand.Write(s, "kept", []byte("kept"), false)
	s.Hand.Write(s, "old/file", []byte("file"), false)
	s.scan()
	s.Hand.Write(s, "kept", []byte("changed"), false)
	s.same()
	s.Hand.Write(s, "new/folder/with/file", []byte("new"), false)
	s.Hand.Mkdir(s, "new/empty")
	s.Hand.Link(s, "folder", "new/link")
	s.same()
	s.Hand.Write(s, "kept", []byte("changed"), true)
	s.same()
	s.Hand.Remove(s, "old")
	s.Hand.Remove(s, "new/folder/with/file")
	s.same()
	s.Hand.Remove(s, "new")
	s.same()
	s.quiet()
}

func nextContent(s *side) {
	s.scan()
	s.Hand.Write(s, "small", []byte("small"), false)
	for _, u := range s.same() {
		if u.Entry == file("small") {
			require.Equal(s, []byte("small"), u.Content)
		}
	}
}

func nextEnds(s *side) {
	_, err := s.Next(s.ctx)
	require.Error(s, err, "nothing was scanned")
	s.scan()
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Millisecond)
	defer cancel()
	_, err = s.Next(ctx)
	require.ErrorIs(s, err, context.DeadlineExceeded)
	s.Hand.Write(s, "after", []byte("x"), false)
	s.same()
}

func nextKinds(s *side) {
	s.Hand.Write(s, "a/b", []byte("b"), false)
	s.Hand.Write(s, "f", []byte("f"), false)
	s.Hand.Link(s, "f", "l")
	s.scan()
	s.Hand.Remove(s, "a")
	s.Hand.Write(s, "a", []byte("now a file"), false)
	s.Hand.Remove(s, "f")
	s.Hand.Write(s, "f/in", []byte("now a folder"), false)
	s.Hand.Remove(s, "l")
	s.Hand.Write(s, "l", []byte("now a file"), false)
	s.same()
	s.Hand.Remove(s, "l")
	s.Hand.Link(s, "a", "l")
	s.same()
}

func apply(s *side) {
	s.Hand.Write(s, "change", []byte("old"), false)
	s.Hand.Write(s, "go/away", []byte("old"), false)
	s.Hand.Write(s, "mode", []byte("same"), false)
	s.scan()
	large := random(5<<20, 2)
	from := source(s, map[string][]byte{"change": []byte("new"), "new/file": []byte("file"), "new/large": large, "new/empty": nil})
	outcomes := s.done(from,
		tree.Change{Path: "go/away", From: file("old")},
		tree.Change{Path: "go", From: dir()},
		tree.Change{Path: "change", From: file("old"), To: file("new")},
		tree.Change{Path: "mode", From: file("same"), To: FileEntry([]byte("same"), true)},
		tree.Change{Path: "new", To: dir()},
		tree.Change{Path: "new/empty", To: file("")},
		tree.Change{Path: "new/file", To: file("file")},
		tree.Change{Path: "new/large", To: FileEntry(large, false)},
		tree.Change{Path: "new/link", To: link("file")},
	)
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	require.Equal(s, []byte("new"), s.Hand.Read(s, "change"))
	require.True(s, bytes.Equal(large, s.Hand.Read(s, "new/large")))
	require.NotEmpty(s, outcomes[0].Batch)
	require.NotEmpty(s, outcomes[2].Batch)
	require.Empty(s, outcomes[4].Batch)
	require.Empty(s, outcomes[3].Batch)
	outcomes = s.done(from)
	require.Empty(s, outcomes)
}

func applyQuiet(s *side) {
	s.Hand.Write(s, "change", []byte("old"), false)
	s.scan()
	from := source(s, map[string][]byte{"change": []byte("new"), "new/file": []byte("file")})
	s.done(from,
		tree.Change{Path: "change", From: file("old"), To: file("new")},
		tree.Change{Path: "new", To: dir()},
		tree.Change{Path: "new/file", To: file("file")},
	)
	s.quiet()
	s.done(from, tree.Change{Path: "new/file", From: file("file")}, tree.Change{Path: "new", From: dir()})
	_, done, err := s.Undo(s.ctx)
	require.NoError(s, err)
	s.take(done)
	s.quiet()
	// What somebody else changes after it does come.
	s.Hand.Write(s, "change", []byte("theirs"), false)
	s.same()
}

func applyKinds(s *side) {
	s.Hand.Write(s, "folder/file", []byte("x"), false)
	s.Hand.Write(s, "file", []byte("x"), false)
	s.Hand.Link(s, "file", "link")
	s.scan()
	from := source(s, map[string][]byte{"folder": []byte("now a file"), "file/in": []byte("in"), "link": []byte("now a file")})
	s.done(from,
		tree.Change{Path: "folder/file", From: file("x")},
		tree.Change{Path: "file", From: file("x"), To: dir()},
		tree.Change{Path: "file/in", To: file("in")},
		tree.Change{Path: "folder", From: dir(), To: file("now a file")},
		tree.Change{Path: "link", From: link("file"), To: file("now a file")},
	)
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	s.done(from,
		tree.Change{Path: "link", From: file("now a file"), To: link("folder")},
		tree.Change{Path: "folder", From: file("now a file"), To: link("file")},
	)
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	s.done(from, tree.Change{Path: "folder", From: link("file"), To: dir()})
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	s.quiet()
}

func applyConflict(s *side) {
	s.Hand.Write(s, "changed", []byte("old"), false)
	s.Hand.Write(s, "gone", []byte("old"), false)
	s.Hand.Write(s, "deleted", []byte("old"), false)
	s.scan()
	s.Hand.Write(s, "changed", []byte("theirs"), false)
	s.Hand.Remove(s, "gone")
	s.Hand.Write(s, "deleted", []byte("theirs"), false)
	s.Hand.Write(s, "there", []byte("theirs"), false)
	ours := []byte("ours")
	from := source(s, map[string][]byte{"changed": ours, "gone": ours, "there": ours, "fine": ours})
	outcomes := s.apply(from,
		tree.Change{Path: "deleted", From: file("old")},
		tree.Change{Path: "changed", From: file("old"), To: file("ours")},
		tree.Change{Path: "fine", To: file("ours")},
		tree.Change{Path: "gone", From: file("old"), To: file("ours")},
		tree.Change{Path: "there", To: file("ours")},
	)
	for i, now := range []tree.Entry{file("theirs"), file("theirs"), file("ours"), {}, file("theirs")} {
		require.Equal(s, now, outcomes[i].Now, i)
		if i != 2 {
			require.ErrorIs(s, outcomes[i].Err, endpoint.ErrChanged)
		}
	}
	look := s.Hand.Look(s)
	require.Equal(s, file("theirs"), look.Get("changed"))
	require.Equal(s, file("theirs"), look.Get("deleted"))
	require.Equal(s, file("theirs"), look.Get("there"))
	require.Equal(s, tree.Entry{}, look.Get("gone"))
	require.Equal(s, file("ours"), look.Get("fine"))
}

// A change for a path whose folder is not there.
func applyUnknown(s *side) {
	s.scan()
	from := source(s, map[string][]byte{"no/folder": []byte("x")})
	outcomes := s.apply(from, tree.Change{Path: "no/folder", To: file("x")})
	require.ErrorIs(s, outcomes[0].Err, endpoint.ErrChanged)
	require.Zero(s, s.Hand.Look(s).Len())
}

func applyFolderInUse(s *side) {
	s.Hand.Write(s, "folder/known", []byte("x"), false)
	s.scan()
	s.Hand.Write(s, "folder/new", []byte("theirs"), false)
	outcomes := s.apply(nil, tree.Change{Path: "folder/known", From: file("x")}, tree.Change{Path: "folder", From: dir()})
	require.ErrorIs(s, outcomes[1].Err, endpoint.ErrChanged)
	require.Equal(s, dir(), outcomes[1].Now)
	require.Equal(s, file("theirs"), s.Hand.Look(s).Get("folder/new"))
}

func applyRefuses(s *side) {
	s.scan()
	from := source(s, map[string][]byte{"x": []byte("x")})
	for _, c := range []tree.Change{
		{Path: endpoint.StateDir + "/x", To: file("x")},
		{Path: endpoint.StateDir, To: dir()},
		{Path: "link", To: link("/etc/passwd")},
		{Path: "link", To: link("../out")},
		{Path: "", From: dir()},
	} {
		outcomes := s.apply(from, c)
		require.ErrorIs(s, outcomes[0].Err, endpoint.ErrRefused, c.Path)
	}
	require.Zero(s, s.Hand.Look(s).Len())
}

func applyNoContent(s *side) {
	s.scan()
	from := source(s, map[string][]byte{"other": []byte("other"), "good": []byte("good")})
	outcomes := s.apply(from,
		tree.Change{Path: "good", To: file("good")},
		tree.Change{Path: "missing", To: file("missing")},
		tree.Change{Path: "other", To: file("not this")},
	)
	require.NoError(s, outcomes[0].Err)
	require.ErrorIs(s, outcomes[1].Err, endpoint.ErrChanged)
	require.ErrorIs(s, outcomes[2].Err, endpoint.ErrChanged)
	require.Equal(s, 1, s.Hand.Look(s).Len())

	boom := errors.New("boom")
	_, err := s.Apply(s.ctx, []tree.Change{{Path: "more", To: file("more")}}, failing{boom})
	require.ErrorContains(s, err, "boom")
	require.Equal(s, 1, s.Hand.Look(s).Len())
	s.quiet()
}

type failing struct{ err error }

// Fetch implements endpoint.Fetcher.
func (f failing) Fetch(context.Context, []endpoint.Want, func(int, endpoint.Piece) error) error {
	return f.err
}
