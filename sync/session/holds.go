package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/tree"
)

// Holds returns what the pod's folder has of what is synced. Where that is not
// what the session is about to make of it, because something waits for a person
// or is on its way, it is a fault of kind Drift that says what.
func (s *Session) Holds(ctx context.Context) (*tree.Tree, error) {
	var held *tree.Tree
	err := s.ask(ctx, func(l *loop) error {
		if open := l.open(); open != "" {
			return &fault.Error{
				Op: "asking what the pod has", Subject: l.config.Name, Kind: fault.Drift,
				Hint: "`kfdev sync status " + l.config.Name + "` shows what is open", Err: errors.New(open),
			}
		}
		held = l.remote.tree.Clone()
		return nil
	})
	return held, err
}

// open says what keeps the session from being in sync and clean; "" where nothing
// does.
func (l *loop) open() string {
	var all []string
	st := l.status()
	switch {
	case st.Halt != nil:
		all = append(all, "it is halted: "+st.Halt.Text)
	case st.State != InSync:
		all = append(all, "it is not in sync: "+string(st.State))
	case l.local.undoing+l.remote.undoing > 0:
		all = append(all, "an undo is on its way")
	}
	var conflicts, problems []Name
	for _, c := range l.conflicts { // also those that are being merged
		conflicts = append(conflicts, Name(c.Path))
	}
	for _, p := range st.Problems {
		problems = append(problems, p.Path)
	}
	all = append(all, listed("conflict", conflicts)...)
	all = append(all, listed("problem", slices.Compact(problems))...)
	return strings.Join(all, "; ")
}

// listed counts paths and names the first of them; nothing where there are none.
func listed(what string, paths []Name) []string {
	if len(paths) == 0 {
		return nil
	}
	text := what
	if len(paths) > 1 {
		text = fmt.Sprintf("%d %ss", len(paths), what)
	}
	shown := make([]string, 0, maxShown)
	for _, p := range paths[:min(len(paths), maxShown)] {
		shown = append(shown, string(p))
	}
	text += " at " + strings.Join(shown, ", ")
	if len(paths) > maxShown {
		text += " and others"
	}
	return []string{text}
}
