package reconcile

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kfdev/kfdev/sync/tree"
)

// folded are the names of a folder by what a side makes of them.
type folded map[string][]string

func (r *run) fold(names []string, side Side) folded {
	f := make(folded, len(names))
	for _, name := range names {
		k := side.key(name)
		f[k] = append(f[k], name)
	}
	return f
}

// others are the names that are one file with name.
func (f folded) others(name string, side Side) []string {
	var others []string
	for _, other := range f[side.key(name)] {
		if other != name {
			others = append(others, other)
		}
	}
	return others
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
func (r *run) creates(n nodes, act action) (Side, bool) {
	switch {
	case act == toLocal && n.local == nil:
		return r.options.Local, true
	case act == toRemote && n.remote == nil:
		return r.options.Remote, true
	}
	return Side{}, false
}

// taken returns another name that the side will have and can't tell from name.
func (r *run) taken(parent string, dir nodes, name string, known folded, side Side) string {
	_, local := r.creates(dir.child(name), toLocal)
	for _, other := range known.others(name, side) {
		n := dir.child(other)
		path := tree.Join(parent, other)
		before, after := n.remote, n.remote
		if local {
			before, after = n.local, n.local
		}
		switch act := r.decide(path, n); {
		case act == toLocal && local:
			after = n.remote
		case act == toRemote && !local:
			after = n.local
		case act == prune && before != nil && local == (r.options.Mode == Pull):
			if keeps, _ := r.pruned(path, n); !keeps {
				after = nil
			}
		}
		if after != nil {
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
			all = union(all, r.fold(dir.names(), side).others(name, side))
		}
	}
	return all
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
