package reconcile

import (
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kfdev/kfdev/sync/tree"
)

// folded are the names of a folder by what a side makes of them.
type folded map[string][]string

func fold(names iter.Seq[string], side Side) folded {
	f := folded{}
	for name := range names {
		k := side.key(name)
		f[k] = append(f[k], name)
	}
	return f
}

// others are the names that are one file with name, in byte order.
func (f folded) others(name string, side Side) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, other := range f[side.key(name)] {
			if other != name && !yield(other) {
				return
			}
		}
	})
}

// key is equal for names that are one file on the side.
func (s Side) key(name string) string {
	if !utf8.ValidString(name) {
		return name // no letters to speak of; such file systems refuse it anyway
	}
	if s.FoldsUnicode && !ascii(name) {
		name = norm.NFC.String(name)
	}
	if s.FoldsCase {
		name = strings.Map(foldRune, name)
		if s.FoldsUnicode && !ascii(name) {
			name = norm.NFC.String(name) // a lower-case letter may compose where its upper-case one did not
		}
	}
	return name
}

// foldRune is the smallest rune of those that differ from one only in case.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	least := r
	for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
		least = min(least, o)
	}
	if least < utf8.RuneSelf {
		return unicode.ToLower(least) // the Kelvin sign is a k
	}
	return least
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// creates says whether an action makes a name where there was none, and on
// which side.
func (r *run) creates(path string, n nodes, act action) (Side, bool) {
	switch {
	case n.local == nil && r.remains(path, n, act, true):
		return r.options.Local, true
	case n.remote == nil && r.remains(path, n, act, false):
		return r.options.Remote, true
	}
	return Side{}, false
}

// remains says whether a side has something at a path after an action.
func (r *run) remains(path string, n nodes, act action, local bool) bool {
	switch {
	case act == toLocal:
		return n.remote != nil
	case act == toRemote:
		return n.local != nil
	case act == prune:
		keeps, returns := r.pruned(path, n)
		if local == (r.options.Mode == Pull) {
			return keeps
		}
		return returns
	case local:
		return n.local != nil
	}
	return n.remote != nil
}

// taken returns that of other names that the side will have and can't tell from name.
func (r *run) taken(parent string, dir nodes, name string, others []string) string {
	local := dir.child(name).local == nil
	for _, other := range others {
		path, n := tree.Join(parent, other), dir.child(other)
		if r.remains(path, n, r.decide(path, n), local) {
			return other
		}
	}
	return ""
}

// colliding are names of a folder that are one file with name on a side.
func (r *run) colliding(dir nodes, name string) []string {
	var all []string
	for _, side := range []Side{r.options.Local, r.options.Remote} {
		if side.folds() {
			all = union(all, side.alike(dir.anyNames(), name))
		}
	}
	return all
}

// alike are the names that are one file with name, and not name itself, in byte
// order.
func (s Side) alike(names iter.Seq[string], name string) []string {
	var others []string
	key := s.key(name)
	for other := range names {
		if other != name && s.key(other) == key {
			others = append(others, other)
		}
	}
	slices.Sort(others)
	return others
}

// collide records that a name can't be made on a side.
func (r *run) collide(path string, n nodes, other string, side Side) {
	b, l, m := n.entries()
	where := "remote"
	if l.Kind == tree.Absent {
		where = "local"
	}
	what := "case"
	if (Side{FoldsCase: side.FoldsCase}).key(other) != (Side{FoldsCase: side.FoldsCase}).key(tree.Base(path)) {
		what = "Unicode form"
	}
	r.Conflicts = append(r.Conflicts, Conflict{
		Path: path, Base: b, Local: l, Remote: m, Collides: other,
		Why: "differs from " + other + " only in " + what + ", and the " + where +
			" file system can't hold both: rename one of them",
	})
}
