package session

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/sync/reconcile"
)

// haltName is a file in a session's state folder: the halt for a root that is gone
// or empty, so that a file which is saved there while no session runs does not end
// it.
const haltName = "halt.json"

// loadHalt reads what an earlier run was halted for. What can't be read is not
// known.
func loadHalt(dir string) *reconcile.Halt {
	var h reconcile.Halt
	text, err := os.ReadFile(filepath.Join(dir, haltName))
	if err != nil || json.Unmarshal(text, &h) != nil {
		return nil
	}
	return &h
}

// remember keeps a halt for a root until a person has spoken or the root is what
// it was.
func (l *loop) remember(h *reconcile.Halt) {
	switch h.Reason {
	case reconcile.RootGone, reconcile.RootType, reconcile.RootEmptied:
	default:
		return
	}
	before := l.unmended
	l.unmended = h
	if before != nil && before.Reason == h.Reason && before.Loser == h.Loser {
		return // what else it says is worked out anew
	}
	text, err := json.Marshal(h)
	if err == nil {
		err = atomicfile.Write(filepath.Join(l.config.State, haltName), text, 0o600)
	}
	if err != nil {
		l.event(Event{Kind: NoteEvent, Text: "the halt is forgotten at the session's end: " + err.Error()})
	}
}

// mended forgets it.
func (l *loop) mended() {
	if l.unmended == nil {
		return
	}
	l.unmended = nil
	if err := os.Remove(filepath.Join(l.config.State, haltName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.event(Event{Kind: NoteEvent, Text: "a halt that is over is remembered: " + err.Error()})
	}
}
