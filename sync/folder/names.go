package folder

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// reserved is true for names that are the endpoint's own wherever they are: the
// state of this root or of one inside it, and files that are on their way. File
// systems that fold names would find them under others, too, HFS+ even with
// characters in them that it leaves out (as in git's CVE-2014-9390).
func reserved(name string) bool {
	if len(name) < len(endpoint.StateDir) || !strings.Contains(name, ".") {
		return false
	}
	if !ascii(name) {
		name = norm.NFKC.String(strings.Map(func(r rune) rune {
			if r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff {
				return -1
			}
			return r
		}, name))
	}
	n := len(endpoint.StateDir)
	return len(name) >= n && strings.EqualFold(name[:n], endpoint.StateDir) && (len(name) == n || name[n] == '-')
}

func ascii(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f }) }

// temporary is the beginning of the names of files on their way that can't be
// in StateDir, because another file system is mounted where they belong.
const temporary = endpoint.StateDir + "-"

// allowed says why a path may not be changed or read by the other side.
func (f *Folder) allowed(path string, dir bool) error {
	if err := tree.CheckPath(path); err != nil {
		return fmt.Errorf("%w: %w", endpoint.ErrRefused, err)
	}
	if path == "" {
		return nil
	}
	if depth := strings.Count(path, "/") + 1; depth > f.o.Caps.Depth {
		return fmt.Errorf("%w: it is %d folders deep, and %d are allowed", endpoint.ErrRefused, depth, f.o.Caps.Depth)
	}
	for element := range strings.SplitSeq(path, "/") {
		if reserved(element) {
			return fmt.Errorf("%w: %s is the sync's own", endpoint.ErrRefused, endpoint.StateDir)
		}
	}
	if by := f.ignored(path, dir); by != "" {
		return fmt.Errorf("%w: %q is ignored here", endpoint.ErrRefused, by)
	}
	return nil
}

// ignored returns the path, or the folder above it, that the rules name.
func (f *Folder) ignored(path string, dir bool) string {
	f.mu.Lock()
	rules := f.rules
	f.mu.Unlock()
	for i := range len(path) {
		if path[i] == '/' && rules.Ignored(path[:i], true) {
			return path[:i]
		}
	}
	if rules.Ignored(path, dir) {
		return path
	}
	return ""
}

// inside is true for a symbolic link that can't lead out of the root, as far as
// its own text goes: relative, up only at its beginning, where each step up is
// a folder of the path, and not further than to the root.
func inside(path, target string) bool {
	if target == "" || target[0] == '/' || len(target) >= tree.MaxPath || strings.IndexByte(target, 0) >= 0 {
		return false
	}
	ups, down := 0, false
	for element := range strings.SplitSeq(target, "/") {
		switch element {
		case "", ".":
		case "..":
			if ups++; down {
				return false
			}
		default:
			down = true
		}
	}
	return ups <= strings.Count(path, "/")
}

// notes are for people: each kind of thing once, with an example and a count.
type notes struct {
	counts   map[string]int
	examples map[string]string
}

func (n *notes) add(what, path string) {
	if n.counts == nil {
		n.counts, n.examples = map[string]int{}, map[string]string{}
	}
	if n.counts[what]++; n.counts[what] == 1 {
		n.examples[what] = path
	}
}

func (n *notes) texts() []string {
	var texts []string
	for what, count := range n.counts {
		if count == 1 {
			texts = append(texts, fmt.Sprintf("%q %s", n.examples[what], what))
		} else {
			texts = append(texts, fmt.Sprintf("%q and %d more: each %s", n.examples[what], count-1, what))
		}
	}
	slices.Sort(texts)
	return texts
}

// What notes say.
const (
	noteLink     = "is a symbolic link that leads out of the folder, or might, and is not synced"
	noteOther    = "is a device, a pipe or a socket, and is not synced"
	noteLarge    = "is larger than this session allows and is not synced: add it to .kfdevignore"
	noteClosed   = "can't be read and is not synced: change its mode, or add it to .kfdevignore"
	noteLong     = "has a path that is too long or too deep, and is not synced"
	noteStranded = "was saved while a change of it arrived; a version that has no place any more is in .kfdev-sync/trash"
	noteNoIndex  = "could not be written; the next start takes longer"
)

// spelling is the name under which what the file system lists as name is known.
// Some (HFS+) list names in another Unicode form than they were made in: what is
// known keeps its form, and what is new is told in the composed form, which is
// what people and other systems type.
func (f *Folder) spelling(decomposes bool, known map[string]bool, name string) string {
	if !decomposes || ascii(name) || known[name] {
		return name
	}
	composed := norm.NFC.String(name)
	if known[composed] {
		return composed
	}
	for other := range known {
		if !ascii(other) && equalForms(other, name) {
			return other
		}
	}
	return composed
}

// equalForms is true for names that are one but for their Unicode form.
func equalForms(a, b string) bool { return a == b || norm.NFC.String(a) == norm.NFC.String(b) }
