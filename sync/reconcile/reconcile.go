// Package reconcile decides what a sync session is to do: it holds two trees
// against the ancestor that both last agreed on, and says which changes each
// side is to get and what is in conflict. It is pure; it reads nothing but its
// arguments. The three-way rules follow those of Mutagen's two-way-safe mode
// (mutagen.io/documentation/synchronization), with one difference: where
// Mutagen lets a modification undo a deletion, this is a conflict here.
package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/sync/tree"
)

// Mode says in which directions changes go.
type Mode string

// The modes.
const (
	// TwoWaySafe merges both sides against the ancestor. What only one side
	// changed goes to the other. What both changed differently is a conflict, and
	// nothing of it is touched. This is the default.
	TwoWaySafe Mode = "two-way-safe"
	// OneWay brings what is local to the remote side. What the remote has of its
	// own stays; what it changed of ours is a conflict; what it deleted of ours
	// comes back. Nothing local is ever changed.
	OneWay Mode = "one-way"
	// OneWayReplica makes the remote side exactly what the local one is.
	OneWayReplica Mode = "one-way-replica"
	// Pull is OneWay from the remote side to the local one.
	Pull Mode = "pull"
)

// Modes are all modes, the default first.
func Modes() []Mode { return []Mode{TwoWaySafe, OneWay, OneWayReplica, Pull} }

// ParseMode reads a mode as a person writes it; "" is the default.
func ParseMode(s string) (Mode, error) {
	if s == "" {
		return TwoWaySafe, nil
	}
	if m := Mode(s); slices.Contains(Modes(), m) {
		return m, nil
	}
	var names []string
	for _, m := range Modes() {
		names = append(names, string(m))
	}
	return "", fmt.Errorf("%q is no mode of sync; there are %s", s, strings.Join(names, ", "))
}

// Preference says whose version a conflict ends with. It is a person's decision:
// what the other side has at the conflict is overwritten or deleted, in every
// mode, and so also against a mode's direction.
type Preference string

// The preferences.
const (
	NoPreference Preference = ""
	PreferLocal  Preference = "local"
	PreferRemote Preference = "remote"
)

// ParsePreference reads a preference as a person writes it.
func ParsePreference(s string) (Preference, error) {
	switch p := Preference(s); p {
	case NoPreference, PreferLocal, PreferRemote:
		return p, nil
	}
	return "", fmt.Errorf("%q is no side; there are local and remote", s)
}

// Side is what is to be known of a side's file system.
type Side struct {
	FoldsCase    bool // names that differ only in case are one file there
	FoldsUnicode bool // names that differ only in their Unicode form are one file there
}

func (s Side) folds() bool { return s.FoldsCase || s.FoldsUnicode }

// Options of a call.
type Options struct {
	Mode          Mode // "" is TwoWaySafe
	Local, Remote Side
	// Prefer settles every conflict that the call meets but those of names that
	// a side can't tell apart, where one of the two must be renamed.
	Prefer Preference
	// PreferAt does so for single paths with all that is below them; the longest
	// that fits counts, and Prefer where none does.
	PreferAt map[string]Preference
}

// Conflict is a path that the two sides have different plans for. Neither side
// is touched there, nor anything below it: a conflict of folders is one conflict
// at its top.
type Conflict struct {
	Path                string
	Base, Local, Remote tree.Entry
	Why                 string // for people, a sentence without its path
	// Collides is the other name, where the conflict is that a side can't hold
	// both.
	Collides string
}

// Result is what is to be done. Within ToLocal, ToRemote and Agreed deletions
// come first, each path before the folder that it is in; all else follows,
// folders before what is in them. A folder that becomes a file is a deletion of
// each path below it and one change of its own. From is what the side has now;
// in Agreed it is what the ancestor has.
type Result struct {
	ToLocal, ToRemote []tree.Change
	// Agreed are paths where both sides are equal already, and only the ancestor
	// must learn it.
	Agreed    []tree.Change
	Conflicts []Conflict // by path
	// Looked are the paths that the call looked at, each with all that is below
	// it; nil where it looked at everything. See Carry.
	Looked []string
}

// Reconcile compares two sides with their ancestor. With paths it looks only at
// these, at what is below them, and at what of the folders above them must come
// first; nil means everything. A call for the paths that changed since the last
// one finds what a call for everything would, conflicts apart that it did not
// look at (see Carry). The trees are not changed.
func Reconcile(base, local, remote *tree.Tree, paths []string, o Options) Result {
	r := reconcile(base, local, remote, paths, o)
	var spared []string
	if o.Prefer == NoPreference && len(o.PreferAt) == 0 { // else a person has said what goes
		spared = crossing(r, local, remote)
	}
	if len(spared) == 0 {
		return r
	}
	unknown := base.Clone()
	for _, path := range spared {
		unknown.Delete(path)
	}
	r = reconcile(unknown, local, remote, paths, o)
	for _, path := range spared {
		r.Agreed = append(r.Agreed, tree.Change{Path: path, From: base.Get(path)})
	}
	order(r.Agreed)
	return r
}

func reconcile(base, local, remote *tree.Tree, paths []string, o Options) Result {
	r := &run{options: o, root: nodes{node(base), node(local), node(remote)}}
	if r.options.Mode == "" {
		r.options.Mode = TwoWaySafe
	}
	if paths == nil {
		r.visit("", r.root)
	} else {
		r.Looked = []string{}
		r.along(paths)
	}
	order(r.ToLocal)
	order(r.ToRemote)
	order(r.Agreed)
	slices.SortFunc(r.Conflicts, func(a, b Conflict) int { return strings.Compare(a.Path, b.Path) })
	return r.Result
}

// Carry returns the conflicts that are in force after this result, given those
// that were before it: of what the call did not look at, the old ones.
func (r Result) Carry(old []Conflict) []Conflict {
	if r.Looked == nil {
		return r.Conflicts
	}
	kept := slices.Clone(r.Conflicts)
	for _, c := range old {
		if !slices.ContainsFunc(r.Looked, func(p string) bool {
			return p == c.Path || tree.Under(c.Path, p) || tree.Under(p, c.Path)
		}) {
			kept = append(kept, c)
		}
	}
	slices.SortFunc(kept, func(a, b Conflict) int { return strings.Compare(a.Path, b.Path) })
	return kept
}

// Apply makes a tree what the changes say, whatever it held at their paths. It
// is what becomes of an ancestor when changes are done.
func Apply(t *tree.Tree, changes []tree.Change) error {
	for _, c := range changes {
		if err := t.Put(c.Path, c.To); err != nil {
			return err
		}
	}
	return nil
}

// order sorts changes as Result says. In byte order a folder is before what is
// in it.
func order(changes []tree.Change) {
	slices.SortFunc(changes, func(a, b tree.Change) int {
		aGoes, bGoes := a.To.Kind == tree.Absent, b.To.Kind == tree.Absent
		switch {
		case aGoes && bGoes:
			return strings.Compare(b.Path, a.Path)
		case aGoes:
			return -1
		case bGoes:
			return 1
		}
		return strings.Compare(a.Path, b.Path)
	})
}
