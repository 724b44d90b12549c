// Package ignore says which paths of a folder are not synced, by the rules that
// git has for them: gitignore(5), to the letter, held to git check-ignore by a
// test with random patterns.
//
// These are asked, from what counts least to what counts most; within one file
// the last pattern that matches decides:
//
//  1. Defaults: what is never meant, such as caches, compiled Python and the swap
//     files of editors.
//  2. The user's own: core.excludesFile of git's configuration for the user or
//     the machine, or git's default for it.
//  3. .git/info/exclude of the repository.
//  4. .gitignore files, from the top of the repository, which may lie above the
//     folder, down to where the path is.
//  5. .kfdevignore files, from the folder down to where the path is. They have the
//     same syntax, and can take back what any of the others ignore: "!data/".
//
// What is in an ignored folder is ignored, and as with git no pattern brings back
// a path while a folder above it is ignored. Whether git tracks a file makes no
// difference here. git's own folder and that of the sync, .git and .kfdev-sync,
// are ignored wherever they are, and nothing brings them back; that goes for any
// spelling of these names that a file system might take for them.
//
// A repository inside of the folder (a submodule) is a part of it like any other:
// its .gitignore files count, and those above them too.
package ignore

import (
	"strings"
	"sync"
)

// The names of the files that have rules.
const (
	gitFile = ".gitignore"
	ownFile = ".kfdevignore"
)

// Defaults are the patterns that count least.
func Defaults() []string {
	return []string{
		".git",
		".kfdev-sync",
		// Python's and Jupyter's.
		"__pycache__/",
		"*.pyc",
		".ipynb_checkpoints/",
		".jupyter_ystore.db*",
		".jupyter/collaboration_sessions.json",
		".local/",
		".cache/",
		// Editors': vim's and emacs's swap files, locks and backups, the file with
		// which vim tries a folder, what JupyterLab writes beside a notebook.
		".*.sw?",
		"*~",
		".#*",
		"4913",
		".~*",
		".DS_Store",
	}
}

// IsRuleFile is true for a path whose content is rules: when it changes, Load must
// be called again. .git/info/exclude and the user's own file are not watched.
func IsRuleFile(path string) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return name == gitFile || name == ownFile
}

// group is where rules come from; those of a higher one count more.
type group uint8

const (
	groupDefaults group = iota
	groupUser
	groupRepository
	groupGit
	groupOwn
	groups // how many there are
)

// list is the patterns of one file.
type list struct {
	group group
	name  string // for people: the file, relative to the root where it is in it
	// base is the folder that the patterns are relative to, below the root. Where
	// it is above the root, base is "" and lead the way down from it to the root,
	// with a slash at its end.
	base, lead string
	patterns   []pattern
}

// Rules are all rules of a folder. The zero value ignores .git and .kfdev-sync alone. They do not change; their methods may be called
// from several goroutines.
type Rules struct {
	fold  bool // case makes no difference: core.ignoreCase
	lists []*list
	below map[string][]*list // lists with a base below the root, by base
	notes []string
	also  *Rules // what they ignore is ignored, too; nil: nothing more

	// Of rules that a Guard loaded.
	guard *Guard
	said  map[string]string
	held  Held

	top    scope // of the root
	mu     sync.RWMutex
	scopes map[string]*scope // of other folders
}

// scope is what applies in a folder.
type scope struct {
	ignored bool
	lists   [groups][]*list
}

// maxScopes bounds what is remembered of folders.
const maxScopes = 1 << 17

// none ignores all; it is the scope of an ignored folder.
var none = &scope{ignored: true} //nolint:gochecknoglobals // never changes

// newRules makes the lists ready for questions.
func newRules(fold bool, lists []*list) *Rules {
	r := &Rules{fold: fold, below: map[string][]*list{}, scopes: map[string]*scope{}}
	for _, l := range lists {
		r.add(l)
	}
	return r
}

// add adds a list, whose base is below that of the ones before in its group. No
// question about a path below its base may have been asked before.
func (r *Rules) add(l *list) {
	r.lists = append(r.lists, l)
	if l.base == "" {
		r.top.lists[l.group] = append(r.top.lists[l.group], l)
	} else {
		r.below[l.base] = append(r.below[l.base], l)
	}
}

// Ignored is true for a path that is not synced, by itself or because a folder
// above it is not. The root never is.
func (r *Rules) Ignored(path string, dir bool) bool {
	if path == "" {
		return false
	}
	parent, name := split(path)
	s := r.scope(parent)
	return s.ignored || s.matches(path, name, dir, r.fold) || r.also != nil && r.also.Ignored(path, dir)
}

// scope is what applies in a folder; the answer is remembered, because all files
// of a folder are asked about.
func (r *Rules) scope(dir string) *scope {
	if dir == "" {
		return &r.top
	}
	r.mu.RLock()
	s := r.scopes[dir]
	r.mu.RUnlock()
	if s != nil {
		return s
	}
	parent, name := split(dir)
	s = r.scope(parent)
	switch {
	case s.ignored:
	case s.matches(dir, name, true, r.fold):
		s = none
	default:
		s = s.with(r.below[dir])
	}
	r.mu.Lock()
	if r.scopes == nil || len(r.scopes) >= maxScopes {
		r.scopes = map[string]*scope{}
	}
	r.scopes[dir] = s
	r.mu.Unlock()
	return s
}

// with is a scope with more lists.
func (s *scope) with(more []*list) *scope {
	if len(more) == 0 {
		return s
	}
	n := *s
	for _, l := range more {
		old := n.lists[l.group]
		n.lists[l.group] = append(old[:len(old):len(old)], l)
	}
	return &n
}

// matches is true where the last pattern that matches the path ignores it.
func (s *scope) matches(path, name string, dir, fold bool) bool {
	if isReserved(name) {
		return true
	}
	if fold {
		path, name = lower(path), lower(name)
	}
	for g := len(s.lists) - 1; g >= 0; g-- {
		for i := len(s.lists[g]) - 1; i >= 0; i-- {
			if p := s.lists[g][i].match(path, name, dir, fold); p != nil {
				return !p.negative
			}
		}
	}
	return false
}

// match is the last pattern of the list that matches.
func (l *list) match(path, name string, dir, fold bool) *pattern {
	below := path
	switch {
	case l.base != "":
		below = path[len(l.base)+1:]
	case l.lead != "" && fold:
		below = lower(l.lead) + path
	case l.lead != "":
		below = l.lead + path
	}
	for i := len(l.patterns) - 1; i >= 0; i-- {
		p := &l.patterns[i]
		if (dir || !p.dirOnly) && p.matches(below, name) {
			return p
		}
	}
	return nil
}

// isReserved is true for the names that are never synced, in any case, and with
// the code points in them that macOS's file system does not see: a peer that
// could write .GIT/config could run commands on such a machine.
func isReserved(name string) bool {
	if len(name) < len(".git") || name[0] != '.' && name[0] < 0x80 {
		return false
	}
	if strings.EqualFold(name, ".git") || strings.EqualFold(name, ".kfdev-sync") {
		return true
	}
	clean := strings.Map(func(c rune) rune {
		switch {
		case c >= 0x200c && c <= 0x200f, c >= 0x202a && c <= 0x202e, c >= 0x206a && c <= 0x206f, c == 0xfeff:
			return -1
		}
		return c
	}, name)
	return len(clean) != len(name) && (strings.EqualFold(clean, ".git") || strings.EqualFold(clean, ".kfdev-sync"))
}

// Notes are for people: rules that do not do what someone seems to have meant.
func (r *Rules) Notes() []string { return r.notes }

func split(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// lower is ASCII alone, as git has it.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lowerByte(b[i])
			}
			return string(b)
		}
	}
	return s
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
