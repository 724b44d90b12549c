// Package endpointtest is what every endpoint of a sync session must do, as one
// suite of tests: the folder itself, the folder behind a connection, and the one
// in memory that other tests use.
package endpointtest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire"
)

// Side is an endpoint to be tested, over an empty folder. The suite closes it.
type Side struct {
	endpoint.Endpoint
	Hand Hand
	// Rules are rules, for SetRules, that ignore a name wherever it is; "": none.
	Rules func(name string) []byte
	// Lose makes the endpoint miss changes; nil where a test can't.
	Lose func()
}

// side is one run of a test.
type side struct {
	Side
	*testing.T
	ctx  context.Context
	tree *tree.Tree // what the endpoint has said
	seqs map[string]uint64
}

// Run runs the suite.
func Run(t *testing.T, make func(t *testing.T) Side) {
	t.Helper()
	for name, test := range map[string]func(*side){
		"Scan":                            scan,
		"An empty folder":                 scanEmpty,
		"Next":                            next,
		"Next has small content":          nextContent,
		"Next ends with its context":      nextEnds,
		"Kinds change":                    nextKinds,
		"Apply":                           apply,
		"Apply does not come back":        applyQuiet,
		"Apply changes kinds":             applyKinds,
		"Apply leaves what changed":       applyConflict,
		"Apply leaves what is not known":  applyUnknown,
		"Apply keeps folders in use":      applyFolderInUse,
		"Apply refuses":                   applyRefuses,
		"Apply without content":           applyNoContent,
		"Apply makes the root":            applyRoot,
		"Undo":                            undo,
		"Undo leaves what changed":        undoChanged,
		"Undo twice":                      undoTwice,
		"Fetch":                           fetch,
		"Fetch names chunks":              fetchHave,
		"Fetch of what is no longer so":   fetchChanged,
		"Rules":                           rules,
		"A root that is gone":             rootGone,
		"Changes that were missed":        missed,
		"Counts go up":                    counts,
		"What is durable stays as it is":  durable,
		"Names of any bytes, deep and up": names,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s := &side{Side: make(t), T: t, ctx: ctx, seqs: map[string]uint64{}}
			defer func() { require.NoError(t, s.Close()) }()
			test(s)
		})
	}
}

// scan looks at the folder.
func (s *side) scan() {
	s.Helper()
	var err error
	s.tree, err = s.Scan(s.ctx)
	require.NoError(s, err)
}

// take enters updates as a session does, and checks them.
func (s *side) take(updates []endpoint.Update) {
	s.Helper()
	for _, u := range updates {
		require.NoError(s, tree.CheckPath(u.Path))
		require.Greater(s, u.Seq, s.seqs[u.Path], u.Path)
		s.seqs[u.Path] = u.Seq
		require.NotEqual(s, u.Entry, s.tree.Get(u.Path), "nothing new is said of %q", u.Path)
		require.NoError(s, s.tree.Put(u.Path, u.Entry), "the folder of %q comes first", u.Path)
		if u.Content != nil {
			require.Equal(s, u.Entry, FileEntry(u.Content, u.Entry.Exec))
		}
		require.GreaterOrEqual(s, u.Age, time.Duration(0))
	}
}

// until takes updates until the endpoint has said what want is.
func (s *side) until(want *tree.Tree) []endpoint.Update {
	s.Helper()
	var all []endpoint.Update
	for !tree.Equal(want, s.tree) {
		updates, err := s.Next(s.ctx)
		require.NoError(s, err, "said so far: %v", all)
		require.NotEmpty(s, updates)
		s.take(updates)
		all = append(all, updates...)
	}
	return all
}

// same takes updates until the endpoint has said what there is.
func (s *side) same() []endpoint.Update {
	s.Helper()
	return s.until(s.Hand.Look(s))
}

// quiet makes sure that nothing but a mark, which comes last, is said.
func (s *side) quiet() {
	s.Helper()
	s.Hand.Write(s, "mark", []byte{byte(len(s.seqs))}, false)
	for s.tree.Get("mark") != FileEntry([]byte{byte(len(s.seqs))}, false) {
		n := len(s.seqs)
		updates, err := s.Next(s.ctx)
		require.NoError(s, err)
		for _, u := range updates {
			require.Equal(s, "mark", u.Path)
			require.NoError(s, s.tree.Put(u.Path, u.Entry))
		}
		require.Len(s, s.seqs, n)
	}
}

// apply has changes made by another folder's content, and takes the outcomes.
func (s *side) apply(from endpoint.Fetcher, changes ...tree.Change) []endpoint.Outcome {
	s.Helper()
	outcomes, err := s.Apply(s.ctx, changes, from)
	require.NoError(s, err)
	require.Len(s, outcomes, len(changes))
	for i, o := range outcomes {
		path := changes[i].Path
		require.NotEqual(s, o.Done, o.Err != nil, "%q is done or fails: %v", path, o.Err)
		if o.Done {
			require.Equal(s, changes[i].To, o.Now, path)
			require.NoError(s, s.tree.Put(path, o.Now), path)
			require.Greater(s, o.Seq, s.seqs[path])
			s.seqs[path] = o.Seq
		}
	}
	return outcomes
}

// done is apply where all must be done.
func (s *side) done(from endpoint.Fetcher, changes ...tree.Change) []endpoint.Outcome {
	s.Helper()
	outcomes := s.apply(from, changes...)
	for i, o := range outcomes {
		require.NoError(s, o.Err, changes[i].Path)
	}
	return outcomes
}

// rules sets rules.
func (s *side) rules(name string) {
	s.Helper()
	taker, ok := s.Endpoint.(wire.RuleTaker)
	require.True(s, ok)
	require.NoError(s, taker.SetRules(s.ctx, s.Rules(name)))
}

// source is a folder with files that changes bring.
func source(tb testing.TB, files map[string][]byte) *Memory {
	tb.Helper()
	m := NewMemory()
	for path, data := range files {
		m.Write(tb, path, data, false)
	}
	return m
}

// random is content that can't be compressed.
func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data) // never fails
	return data
}

// content fetches one file.
func (s *side) content(w endpoint.Want, chunks map[string][]byte) (data []byte, named int, err error) {
	s.Helper()
	last := false
	require.NoError(s, s.Fetch(s.ctx, []endpoint.Want{w}, func(i int, p endpoint.Piece) error {
		require.Zero(s, i)
		require.False(s, last, "something after the end")
		last = p.Last || p.Err != nil
		if err = p.Err; p.Data == nil && len(chunks[string(p.Chunk[:])]) > 0 {
			named++
			data = append(data, chunks[string(p.Chunk[:])]...)
		}
		data = append(data, bytes.Clone(p.Data)...)
		return nil
	}))
	require.True(s, last)
	return data, named, err
}
