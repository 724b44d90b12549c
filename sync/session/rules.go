package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// reloadRules reads the rules again, and has both sides keep to them.
func (l *loop) reloadRules() {
	if l.reloading {
		l.stale = true
		return
	}
	l.reloading = true
	l.work.Go(func() {
		rules, err := l.config.Rules()
		l.post(func() {
			if err != nil {
				l.reloaded(err)
				return
			}
			if string(rules.Bytes()) == string(l.rules.Bytes()) {
				l.setRules(rules) // what they hold may be other paths
				l.reloaded(nil)
				return
			}
			l.setRules(rules)
			l.giveRules(rules.Bytes())
		})
	})
}

// giveRules has both sides keep to new rules. Whoever connects later has them
// from the beginning.
func (l *loop) giveRules(rules []byte) {
	here, there, life := l.local.ep, l.link, l.linkCtx
	l.work.Go(func() {
		// The one in the pod first: what it knows no more is not news here.
		var lost error
		if there != nil {
			lost = there.SetRules(life, rules)
		}
		err := here.SetRules(l.ctx, rules)
		l.post(func() {
			if lost != nil && l.link == there {
				l.drop(lost) // the next connection begins with them
			}
			l.reloaded(err)
		})
	})
}

func (l *loop) reloaded(err error) {
	l.reloading = false
	if err != nil {
		l.event(Event{Kind: NoteEvent, Text: "the ignore rules were not read again: " + err.Error()})
	}
	if l.stale {
		l.stale = false
		l.reloadRules()
	}
}

// setRules has other rules be in force, and tells of what they hold.
func (l *loop) setRules(rules Rules) {
	var before *Problem
	if l.rules != nil {
		before = l.heldRules()
	}
	l.rules = rules
	now := l.heldRules()
	if before != nil && (now == nil || before.Path != now.Path) {
		l.event(Event{Kind: SettledEvent, Text: string(before.Path)})
	}
	if now != nil && (before == nil || *before != *now) {
		l.event(Event{Kind: ProblemEvent, Problem: now})
	}
}

// heldRules is what people are told where rule files from the pod would have more
// of the folder synced; nil where none would.
func (l *loop) heldRules() *Problem {
	held := l.rules.Held()
	if len(held.Paths) == 0 {
		return nil
	}
	quoted := func(list []string) string {
		all := make([]string, len(list))
		for i, one := range list {
			all[i] = fmt.Sprintf("%q", one)
		}
		return strings.Join(all, ", ")
	}
	paths := quoted(held.Paths)
	if held.More {
		paths += " and more"
	}
	return &Problem{
		Path: Name(held.Files[0]), Side: local, Waits: true,
		Error: fmt.Sprintf("the pod changed %s and would be sent what is ignored here: %s; it stays ignored until `kfdev sync resume %s --accept-rules`, or until the file says here what you mean",
			quoted(held.Files), paths, l.config.Name),
	}
}

// acceptRules has the pod's rules count as they are.
func (l *loop) acceptRules() error {
	if l.heldRules() == nil {
		return &fault.Error{Op: "accepting the pod's rules", Subject: l.config.Name, Kind: fault.Usage, Err: errors.New("none waits for that")}
	}
	if err := l.rules.Accept(); err != nil {
		return err
	}
	l.reloadRules()
	return nil
}

// arriving has it known that the pod's rule files are on their way into the local
// folder, before they are there.
func (l *loop) arriving(to *side, changes []tree.Change) (arrived func(), err error) {
	var rules []tree.Change
	if to == l.local && l.config.Arriving != nil {
		for _, c := range changes {
			if l.config.IsRuleFile(c.Path) {
				rules = append(rules, c)
			}
		}
	}
	if len(rules) == 0 {
		return func() {}, nil
	}
	return l.config.Arriving(rules)
}

// applyTo makes changes to a side, with what comes before and after.
func (l *loop) applyTo(ctx context.Context, to *side, ep Folder, changes []tree.Change, src *source) ([]endpoint.Outcome, error) {
	arrived, err := l.arriving(to, changes)
	if err != nil {
		return nil, err
	}
	defer arrived()
	outcomes, err := ep.Apply(ctx, changes, src)
	if err == nil && len(outcomes) != len(changes) {
		err = errors.New("not every change has an outcome")
	}
	return outcomes, err
}
