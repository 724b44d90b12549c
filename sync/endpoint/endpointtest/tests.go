package endpointtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/chunk"
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

func undo(s *side) {
	batch, done, err := s.Undo(s.ctx)
	require.NoError(s, err)
	require.Empty(s, done)
	require.Empty(s, batch)
	s.Hand.Write(s, "change", []byte("old"), true)
	s.Hand.Write(s, "go/away/file", []byte("gone"), false)
	s.Hand.Link(s, "change", "go/link")
	s.Hand.Write(s, "kind", []byte("a file"), false)
	s.Hand.Mkdir(s, "dir")
	s.scan()
	before := s.tree.Clone()
	from := source(s, map[string][]byte{"change": []byte("new"), "kind/new": []byte("new"), "dir": []byte("new"), "other": []byte("new")})
	outcomes := s.done(from,
		tree.Change{Path: "go/link", From: link("change")},
		tree.Change{Path: "go/away/file", From: file("gone")},
		tree.Change{Path: "go/away", From: dir()},
		tree.Change{Path: "go", From: dir()},
		tree.Change{Path: "change", From: FileEntry([]byte("old"), true), To: file("new")},
		tree.Change{Path: "dir", From: dir(), To: file("new")},
		tree.Change{Path: "kind", From: file("a file"), To: dir()},
	)
	// What only brings something is no batch.
	s.done(from, tree.Change{Path: "other", To: file("new")})
	require.NoError(s, before.Put("other", file("new")))
	batch, done, err = s.Undo(s.ctx)
	require.NoError(s, err)
	require.Equal(s, outcomes[0].Batch, batch)
	s.take(done)
	require.True(s, tree.Equal(before, s.Hand.Look(s)))
	require.True(s, tree.Equal(before, s.tree))
	s.quiet()
}

func undoChanged(s *side) {
	s.Hand.Write(s, "a", []byte("old"), false)
	s.Hand.Write(s, "b", []byte("old"), false)
	s.scan()
	from := source(s, map[string][]byte{"a": []byte("new"), "b": []byte("new")})
	s.done(from,
		tree.Change{Path: "a", From: file("old"), To: file("new")},
		tree.Change{Path: "b", From: file("old"), To: file("new")},
	)
	s.Hand.Write(s, "a", []byte("theirs"), false)
	_, done, err := s.Undo(s.ctx)
	require.NoError(s, err)
	require.Len(s, done, 1)
	require.Equal(s, "b", done[0].Path)
	require.Equal(s, file("old"), done[0].Entry)
	look := s.Hand.Look(s)
	require.Equal(s, file("theirs"), look.Get("a"))
	require.Equal(s, file("old"), look.Get("b"))
}

func undoTwice(s *side) {
	s.Hand.Write(s, "a", []byte("1"), false)
	s.scan()
	for _, text := range []string{"2", "3"} {
		from := source(s, map[string][]byte{"a": []byte(text)})
		s.done(from, tree.Change{Path: "a", From: s.tree.Get("a"), To: file(text)})
	}
	for _, text := range []string{"2", "1"} {
		_, done, err := s.Undo(s.ctx)
		require.NoError(s, err)
		s.take(done)
		require.Equal(s, []byte(text), s.Hand.Read(s, "a"))
	}
	_, done, err := s.Undo(s.ctx)
	require.NoError(s, err)
	require.Empty(s, done)
}

func fetch(s *side) {
	contents := map[string][]byte{"empty": {}, "small": []byte("small"), "middle": random(100<<10, 3), "large": random(3<<20, 4)}
	for path, data := range contents {
		s.Hand.Write(s, path, data, false)
	}
	s.scan()
	var wants []endpoint.Want
	for path := range contents {
		wants = append(wants, endpoint.Want{Path: path, Entry: s.tree.Get(path)})
	}
	got, at := make([][]byte, len(wants)), 0
	require.NoError(s, s.Fetch(s.ctx, wants, func(i int, p endpoint.Piece) error {
		require.Equal(s, at, i)
		require.NoError(s, p.Err)
		got[i] = append(got[i], p.Data...)
		if p.Last {
			at++
		}
		return nil
	}))
	require.Equal(s, len(wants), at)
	for i, w := range wants {
		require.True(s, bytes.Equal(contents[w.Path], got[i]), w.Path)
	}
	boom := errors.New("boom")
	require.ErrorIs(s, s.Fetch(s.ctx, wants, func(int, endpoint.Piece) error { return boom }), boom)
	require.NoError(s, s.Fetch(s.ctx, nil, nil))
}

func fetchHave(s *side) {
	old := random(4<<20, 5)
	changed := bytes.Clone(old)
	changed[2<<20]++
	s.Hand.Write(s, "f", changed, false)
	s.scan()
	chunks := map[string][]byte{}
	w := endpoint.Want{Path: "f", Entry: s.tree.Get("f")}
	require.NoError(s, chunk.Cut(bytes.NewReader(old), func(c chunk.Chunk, data []byte) error {
		chunks[string(c.ID[:])] = bytes.Clone(data)
		w.Have = append(w.Have, c.ID)
		return nil
	}))
	for range 2 { // it may remember how it cut the file
		data, named, err := s.content(w, chunks)
		require.NoError(s, err)
		require.True(s, bytes.Equal(changed, data))
		require.GreaterOrEqual(s, named, len(w.Have)-4)
	}
	from := source(s, map[string][]byte{"f": old})
	s.done(from, tree.Change{Path: "f", From: FileEntry(changed, false), To: FileEntry(old, false)})
	require.True(s, bytes.Equal(old, s.Hand.Read(s, "f")))
}

func fetchChanged(s *side) {
	s.Hand.Write(s, "f", []byte("one"), false)
	s.scan()
	for _, w := range []endpoint.Want{
		{Path: "f", Entry: file("two")},
		{Path: "f", Entry: file("longer than that")},
		{Path: "gone", Entry: file("one")},
	} {
		_, _, err := s.content(w, nil)
		require.ErrorIs(s, err, endpoint.ErrChanged, w.Path)
	}
}

func rules(s *side) {
	s.Hand.Write(s, "a/skipped/x", []byte("x"), false)
	s.Hand.Write(s, "a/kept", []byte("x"), false)
	s.scan()
	all := s.tree.Clone()
	s.rules("skipped")
	some := all.Clone()
	some.Delete("a/skipped")
	for _, u := range s.until(some) {
		require.True(s, u.Ignored, u.Path)
	}
	s.Hand.Write(s, "a/skipped/y", []byte("y"), false)
	s.quiet()
	require.NoError(s, some.Put("mark", s.tree.Get("mark")))

	// It is there for nobody.
	from := source(s, map[string][]byte{"a/skipped/x": []byte("mine")})
	outcomes := s.apply(from,
		tree.Change{Path: "a/skipped/x", To: file("mine")},
		tree.Change{Path: "a/kept", From: file("x")},
		tree.Change{Path: "a", From: dir()},
	)
	require.ErrorIs(s, outcomes[0].Err, endpoint.ErrRefused)
	require.NoError(s, outcomes[1].Err)
	require.ErrorIs(s, outcomes[2].Err, endpoint.ErrRefused, "it holds what is ignored")
	_, _, err := s.content(endpoint.Want{Path: "a/skipped/x", Entry: file("x")}, nil)
	require.ErrorIs(s, err, endpoint.ErrRefused)
	require.Equal(s, []byte("x"), s.Hand.Read(s, "a/skipped/x"))
	s.scan()
	require.Equal(s, tree.Entry{}, s.tree.Get("a/skipped"))

	s.rules("")
	s.same()
	require.Equal(s, file("y"), s.tree.Get("a/skipped/y"))
}

func rootGone(s *side) {
	s.Hand.Write(s, "a", []byte("a"), false)
	s.scan()
	s.Hand.Remove(s, "")
	for {
		updates, err := s.Next(s.ctx)
		if err != nil {
			require.NoError(s, s.ctx.Err())
			break
		}
		require.NotEmpty(s, updates)
	}
	t, err := s.Scan(s.ctx)
	require.NoError(s, err)
	require.Equal(s, tree.Entry{}, t.Get(""))
	require.Zero(s, t.Len())
	// It comes back.
	s.Hand.Mkdir(s, "")
	s.Hand.Write(s, "b", []byte("b"), false)
	s.scan()
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	s.Hand.Write(s, "c", []byte("c"), false)
	for !tree.Equal(s.Hand.Look(s), s.tree) {
		updates, err := s.Next(s.ctx)
		if errors.Is(err, endpoint.ErrRescan) { // it may notice that root only now
			s.scan()
			continue
		}
		require.NoError(s, err)
		s.take(updates)
	}
}

func applyRoot(s *side) {
	s.Hand.Remove(s, "")
	s.scan()
	require.Equal(s, tree.Entry{}, s.tree.Get(""))
	from := source(s, map[string][]byte{"a": []byte("a")})
	s.done(from, tree.Change{Path: "", To: dir()}, tree.Change{Path: "a", To: file("a")})
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	s.scan()
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
}

func missed(s *side) {
	s.scan()
	if s.Lose == nil {
		s.Skip("changes can't be lost here")
	}
	s.Lose()
	_, err := s.Next(s.ctx)
	require.ErrorIs(s, err, endpoint.ErrRescan)
	_, err = s.Next(s.ctx)
	require.ErrorIs(s, err, endpoint.ErrRescan, "until it was looked at")
	s.Hand.Write(s, "a", []byte("a"), false)
	s.scan()
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	s.Hand.Write(s, "b", []byte("b"), false)
	s.same()
}

func counts(s *side) {
	s.scan()
	last := uint64(0)
	for i := range 5 {
		text := strings.Repeat("x", i+1)
		s.Hand.Write(s, "theirs", []byte(text), false)
		for _, u := range s.same() {
			require.Greater(s, u.Seq, last)
			last = u.Seq
		}
		from := source(s, map[string][]byte{"ours": []byte(text)})
		for _, o := range s.done(from, tree.Change{Path: "ours", From: s.tree.Get("ours"), To: file(text)}) {
			require.Greater(s, o.Seq, last)
			last = o.Seq
		}
	}
}

func durable(s *side) {
	s.scan()
	require.NoError(s, s.Sync(s.ctx))
	from := source(s, map[string][]byte{"a": []byte("a")})
	s.done(from, tree.Change{Path: "d", To: dir()}, tree.Change{Path: "a", To: file("a")})
	require.NoError(s, s.Sync(s.ctx))
	s.done(from, tree.Change{Path: "a", From: file("a")})
	require.NoError(s, s.Sync(s.ctx))
	s.quiet()
}

func names(s *side) {
	odd := []string{"a\xff\xfe", "new\nline", " ", "-rf", "\x01", "ünïcode", strings.Repeat("n", 255), "a\\b", "*?[", "con:"}
	deep := strings.Repeat("d/", 60) + "f"
	for _, name := range odd {
		s.Hand.Write(s, "d/"+name, []byte(name), false)
	}
	s.Hand.Write(s, deep, []byte("deep"), false)
	s.scan()
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	from := source(s, nil)
	changes := []tree.Change{{Path: "o", To: dir()}}
	for _, name := range odd {
		from.Write(s, "o/"+name, []byte(name), false)
		changes = append(changes, tree.Change{Path: "o/" + name, To: file(name)})
	}
	s.done(from, changes...)
	require.True(s, tree.Equal(s.Hand.Look(s), s.tree))
	s.Hand.Write(s, deep, []byte("deeper"), false)
	s.same()
}
