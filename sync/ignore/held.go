package ignore

import (
	"bytes"
	"slices"
)

// Held is what stays ignored although the rule files no longer say so.
type Held struct {
	Files []string // rule files that the other side changed
	Paths []string // what is there and would be synced; the first few
	More  bool     // there are more paths
}

// maxHeld is how many paths are named.
const maxHeld = 8

// Held is what waits for a person's word; see Accept.
func (r *Rules) Held() Held { return r.held }

// Accept has a person stand for the rule files as they were when these rules were
// loaded. The rules are to be loaded again then.
func (r *Rules) Accept() error {
	if r.guard == nil {
		return nil
	}
	return r.guard.accept(r.said)
}

// holder collects, beside the rules, what they are without what the other side
// changed.
type holder struct {
	guard *Guard // nil: it has changed nothing
	own   *Rules
	held  Held
	said  map[string]string // the states of what it changed, by path
}

func (l *loader) takeOwn(to list, content []byte) {
	if l.own == nil {
		return
	}
	if to.patterns = readPatterns(content, l.own.fold); len(to.patterns) > 0 {
		l.own.add(&to)
	}
}

// takeGuarded is take for a file that the other side may have changed.
func (l *loader) takeGuarded(to *list, content []byte, there bool) {
	if there {
		l.takeAll(to, content)
	}
	if l.guard == nil {
		return
	}
	path := to.name
	before, theirs := l.guard.before(path, content, there)
	if theirs {
		l.held.Files = append(l.held.Files, path)
		if l.said == nil {
			l.said = map[string]string{}
		}
		l.said[path], content = stateOf(content, there), before
	}
	l.takeOwn(list{group: to.group, name: to.name, base: to.base}, content)
}

// skips is true where a folder need not be looked into, and for files. It notes
// what the other side would take back.
func (l *loader) skips(path string, dir bool) bool {
	if l.own == nil {
		return !dir || l.rules.Ignored(path, true)
	}
	now, own := l.rules.Ignored(path, dir), l.own.Ignored(path, dir)
	if own && !now {
		if len(l.held.Paths) < maxHeld {
			l.held.Paths = append(l.held.Paths, path)
		} else {
			l.held.More = true
		}
	}
	return !dir || now || own
}

// hold has the rules ignore also what a person's own do.
func (l *loader) hold() {
	if l.own == nil {
		return
	}
	l.own.sort()
	if bytes.Equal(l.own.Bytes(), l.rules.Bytes()) {
		return
	}
	l.rules.also, l.rules.guard, l.rules.said = l.own, l.guard, l.said
	if len(l.held.Paths) > 0 {
		slices.Sort(l.held.Files)
		l.rules.held = l.held
	}
}
