package session

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/session/ancestor"
	"github.com/kfdev/kfdev/sync/tree"
)

// saver writes down what both sides agreed on, after the fact: what it says must
// be durable on both sides first.
type saver struct {
	store    *ancestor.Store
	due      *time.Timer
	begun    bool // the store has a file for the pair, and it fits
	saving   bool
	changes  []tree.Change // that are not written down
	doubtful []tree.Change // that were not when the connection was lost
	turn     int           // another one after every begin
	told     string        // the last failure that was told
}

// begin has everything written anew.
func (s *saver) begin() {
	s.begun, s.changes = false, nil
	s.turn++
	s.due.Reset(saveAfter)
}

// doubt notes that a connection was lost: what was done there and not yet
// durable may be undone, if the machine fell and not the connection.
func (s *saver) doubt() {
	s.doubtful = append(s.doubtful, s.changes...)
	s.changes = nil
	s.turn++
	s.due.Stop()
}

// settle takes the doubtful changes out of the ancestor where the other side
// shows that it has lost them.
func (s *saver) settle(base *ancestor.Agreed, there *tree.Tree) {
	for _, c := range s.doubtful {
		if now := there.Get(c.Path); now == c.From && now != c.To {
			base.Put(c.Path, c.From)
		}
	}
	s.doubtful = nil
}

// settleUnsure puts into the ancestor what a side shows to have got, of what was
// sent to it without a word of what became of it.
func (s *side) settleUnsure(base *ancestor.Agreed) {
	for _, c := range s.unsure {
		if s.tree.Get(c.Path) == c.To {
			base.Put(c.Path, c.To)
		}
	}
	s.unsure = nil
}

// agree notes that both sides hold the same at some paths.
func (l *loop) agree(changes []tree.Change) {
	for _, c := range changes {
		if l.base.Put(c.Path, c.To) {
			l.saver.changes = append(l.saver.changes, c)
		}
	}
	if len(changes) > 0 && !l.saver.saving && len(l.saver.changes) > 0 {
		l.saver.due.Reset(saveAfter)
	}
}

// save writes down beside the loop what was agreed on.
func (l *loop) save() {
	ctx := l.linkCtx
	l.write(ctx, func(both [2]Folder) error { return errors.Join(both[0].Sync(ctx), both[1].Sync(ctx)) })
}

// saveFirst writes down what was found out of a folder that is new, before
// anything else is done. Of what is in it nothing is to be made durable first.
func (l *loop) saveFirst() {
	l.write(l.ctx, func([2]Folder) error { return nil })
}

// write writes down what was agreed on, once it is durable.
func (l *loop) write(ctx context.Context, durable func(both [2]Folder) error) {
	s := &l.saver
	if s.saving || !l.known || l.link == nil {
		return
	}
	s.saving = true
	n, turn := len(s.changes), s.turn
	changes := s.changes[:n:n]
	var whole *ancestor.Agreed
	if !s.begun || s.store.Long() {
		whole = l.base.Clone()
	}
	pair, both := l.pair, [2]Folder{l.local.ep, l.link}
	l.work.Go(func() {
		err := durable(both)
		if err == nil {
			err = l.saver.keepContents(ctx, both[0], changes, whole)
		}
		switch {
		case err != nil:
		case whole != nil:
			err = s.store.Begin(pair, whole)
		default:
			err = s.store.Add(changes)
		}
		l.post(func() {
			l.saved(turn, n, err)
			if n >= manyPaths || whole != nil && whole.Tree.Len() >= manyPaths {
				l.work.Go(debug.FreeOSMemory)
			}
		})
	})
}

func (l *loop) saved(turn, n int, err error) {
	s := &l.saver
	s.saving = false
	if turn == s.turn {
		s.begun = err == nil
		if err == nil {
			s.told = ""
			if s.changes = s.changes[n:]; len(s.changes) == 0 {
				s.changes = nil // which would keep what is written down in memory
			}
		} else if l.link != nil && l.link.Err() == nil && l.linkCtx.Err() == nil && s.told != err.Error() {
			s.told = err.Error()
			l.event(Event{Kind: NoteEvent, Text: "not written down yet: " + err.Error()})
		}
	}
	if !s.begun || len(s.changes) > 0 {
		s.due.Reset(saveAfter)
	}
}

// manyPaths are so many that the memory which it took to look at them, and to
// write them down, is given back to the system: a session idles for hours after
// its first minute.
const manyPaths = 5_000

// saveLast is save for the end of the session.
func (l *loop) saveLast(ctx context.Context) error {
	s := &l.saver
	if !l.known || l.link == nil || l.link.Err() != nil || (s.begun && len(s.changes) == 0) {
		return nil // older knowledge is safe
	}
	if errors.Join(l.local.ep.Sync(ctx), l.link.Sync(ctx)) != nil {
		return nil // so it is here
	}
	if !s.begun {
		return s.store.Begin(l.pair, l.base)
	}
	return s.store.Add(s.changes)
}

// mergeable is true for files whose two versions can become one.
func mergeable(path string, e tree.Entry) bool {
	return e.Kind == tree.File && strings.HasSuffix(path, ".ipynb") && e.Size <= ancestor.MaxContent
}

// keepContents keeps the content of what may have to be merged one day.
func (s *saver) keepContents(ctx context.Context, from endpoint.Fetcher, changes []tree.Change, whole *ancestor.Agreed) error {
	var wants []endpoint.Want
	want := func(path string, e tree.Entry) error {
		if mergeable(path, e) && !s.store.Has(e.Digest) {
			wants = append(wants, endpoint.Want{Path: path, Entry: e})
		}
		return nil
	}
	if whole != nil {
		_ = whole.Tree.Walk(want) // which never fails
	} else {
		for _, c := range changes {
			_ = want(c.Path, c.To)
		}
	}
	for _, w := range wants {
		data, err := fetchOne(ctx, from, w)
		if errors.Is(err, endpoint.ErrChanged) {
			continue // a later version will be kept
		}
		if err == nil {
			err = s.store.Keep(data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fetchOne returns the content of one file.
func fetchOne(ctx context.Context, from endpoint.Fetcher, w endpoint.Want) ([]byte, error) {
	data := make([]byte, 0, w.Entry.Size)
	var failed error
	err := from.Fetch(ctx, []endpoint.Want{w}, func(_ int, p endpoint.Piece) error {
		if p.Err != nil {
			failed = p.Err
		}
		data = append(data, p.Data...)
		return nil
	})
	return data, errors.Join(err, failed)
}
