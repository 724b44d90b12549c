package endpointtest

import (
	"bytes"
	"errors"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

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
		s.scan()
		known := s.Info().Batches
		batch, done, err := s.Undo(s.ctx)
		require.NoError(s, err)
		require.NotEmpty(s, known)
		require.Equal(s, known[len(known)-1], batch, "the newest is named last")
		s.take(done)
		require.Equal(s, []byte(text), s.Hand.Read(s, "a"))
	}
	s.scan()
	require.Empty(s, s.Info().Batches)
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
	require.ErrorIs(s, outcomes[2].Err, endpoint.ErrStays, "it holds what is ignored")
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
