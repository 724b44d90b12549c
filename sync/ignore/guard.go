package ignore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/kfdev/kfdev/internal/atomicfile"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/tree"
)

// Guard keeps the other side of a session from having what it likes of the folder
// sent to it: rule files that it wrote may ignore more, and what they would take
// back stays ignored until a person accepts that. For each file that the other
// side has changed it keeps what a person left there, and everything that the
// other side has made of it: as long as one of those is there, both count.
type Guard struct {
	root, file string

	mu     sync.Mutex
	kept   map[string]*kept // by path
	flying map[string]int   // paths that are being changed just now
}

// kept is what is known of a rule file that the other side has changed.
type kept struct {
	Before []byte   `json:"before,omitempty"` // what a person left
	Said   []string `json:"said"`             // the states that the other side made, the last one last
}

// Limits of what is kept: an old state is dropped, and of more files none is taken.
const (
	maxSaid = 256
	maxKept = maxLists
)

// nowhere is the state of a file that is not there, or is none.
const nowhere = "-"

// OpenGuard reads what is known of a folder's rule files from a file, which need
// not be there.
func OpenGuard(root, file string) (*Guard, error) {
	g := &Guard{root: root, file: file, kept: map[string]*kept{}, flying: map[string]int{}}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err == nil {
		g.kept, err = decodeKept(b)
	}
	if err != nil {
		return nil, &fault.Error{
			Op: "reading which rules came from the pod", Subject: file, Err: err,
			Hint: "look at the .gitignore and .kfdevignore files of " + root + ", and remove the file if you agree with all of them",
		}
	}
	return g, nil
}

func decodeKept(b []byte) (map[string]*kept, error) {
	all := map[string]*kept{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for path, k := range all {
		if k == nil || tree.CheckPath(path) != nil || !IsRuleFile(path) {
			return nil, fmt.Errorf("%q is no rule file", path)
		}
	}
	return all, nil
}

// Load is the function Load, but that what the other side changed takes nothing
// back.
func (g *Guard) Load() (*Rules, error) { return load(g.root, Defaults(), g) }

// Arriving is to be called before the other side's changes of rule files are
// made, and what it returns after.
func (g *Guard) Arriving(changes []tree.Change) (arrived func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range changes {
		if err := g.arriving(c); err != nil {
			return nil, &fault.Error{Op: "keeping the rules of what is ignored", Subject: c.Path, Err: err}
		}
	}
	if err := g.write(); err != nil {
		return nil, err
	}
	for _, c := range changes {
		g.flying[c.Path]++
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, c := range changes {
			if g.flying[c.Path]--; g.flying[c.Path] == 0 {
				delete(g.flying, c.Path)
			}
		}
	}, nil
}

func (g *Guard) arriving(c tree.Change) error {
	k := g.kept[c.Path]
	now, there, err := g.now(c.Path)
	if err != nil {
		return err
	}
	switch {
	case k == nil && len(g.kept) >= maxKept:
		return fmt.Errorf("more than %d rule files came from the pod", maxKept)
	case k == nil:
		k = &kept{Before: now}
		g.kept[c.Path] = k
	case !slices.Contains(k.Said, stateOf(now, there)):
		k.Before = now
	}
	to := nowhere
	if c.To.Kind == tree.File {
		to = hex.EncodeToString(c.To.Digest[:])
	}
	k.Said = append(slices.DeleteFunc(k.Said, func(s string) bool { return s == to }), to)
	k.Said = k.Said[max(0, len(k.Said)-maxSaid):]
	return nil
}

// now reads what is at a path.
func (g *Guard) now(path string) (content []byte, there bool, err error) {
	top, err := os.OpenRoot(g.root)
	if err != nil {
		return nil, false, absent(err)
	}
	content, there, err = readInside(top, path)
	return content, there, errors.Join(err, top.Close())
}

// accept has a person stand for states that files have, by path.
func (g *Guard) accept(states map[string]string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for path, state := range states {
		k := g.kept[path]
		if k == nil {
			continue
		}
		k.Said = slices.DeleteFunc(k.Said, func(s string) bool { return s == state })
		if len(k.Said) == 0 {
			delete(g.kept, path)
		}
	}
	return g.write()
}

func (g *Guard) write() error {
	b, err := json.Marshal(g.kept)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(g.file), 0o700)
	}
	if err == nil {
		err = atomicfile.Write(g.file, b, 0o600)
	}
	if err != nil {
		return &fault.Error{Op: "keeping the rules of what is ignored", Subject: g.file, Err: err}
	}
	return nil
}

// any is true where the other side has changed a rule file.
func (g *Guard) any() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.kept) > 0
}

// knows is true for a file that the other side has changed.
func (g *Guard) knows(path string) bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.kept[path] != nil
}

// before returns what a person left at the path of a rule file, where the other
// side made what is there now.
func (g *Guard) before(path string, now []byte, there bool) (before []byte, theirs bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.kept[path]
	if k == nil || g.flying[path] == 0 && !slices.Contains(k.Said, stateOf(now, there)) {
		return nil, false
	}
	return k.Before, true
}

// stateOf is what the states of files are told apart by.
func stateOf(content []byte, there bool) string {
	if !there {
		return nowhere
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
