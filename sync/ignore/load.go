package ignore

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
)

// maxFile bounds a rule file.
const maxFile = 1 << 20

// Load reads all rules that apply in a folder. A rule file that is a symbolic link
// is not read, as with git, and so that the other side of a session can't have
// any file of this machine read as rules.
func Load(root string) (*Rules, error) { return load(root, Defaults(), nil) }

func load(root string, defaults []string, guard *Guard) (*Rules, error) {
	fail := func(subject, hint string, err error) error {
		return &fault.Error{Op: "reading the ignore rules", Subject: subject, Hint: hint, Err: err}
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fail(root, "", err)
	}
	l := &loader{}
	repo := findRepository(root)
	conf := readConfig(repo)
	l.rules = newRules(conf.ignoreCase, nil)
	if guard.any() {
		l.guard, l.own = guard, newRules(conf.ignoreCase, nil)
	}
	l.take(&list{group: groupDefaults, name: "kfdev's defaults"}, []byte(strings.Join(defaults, "\n")))
	if err := l.outside(conf.excludesFile, &list{group: groupUser, name: conf.excludesFile, lead: repo.lead(root)}); err != nil {
		return nil, fail(conf.excludesFile, "", err)
	}
	if repo != nil {
		file := filepath.Join(repo.common, "info", "exclude")
		if err := l.outside(file, &list{group: groupRepository, name: file, lead: repo.lead(root)}); err != nil {
			return nil, fail(file, "", err)
		}
		if err := l.above(repo, root); err != nil {
			return nil, fail(root, "", err)
		}
	}
	top, err := os.OpenRoot(root)
	if err == nil {
		err = l.folder(top, "")
		err = errors.Join(err, top.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a root that is not there has no rules in it
		return nil, fail(root, "", err)
	}
	l.rules.sort()
	l.hold()
	if n := len(l.rules.Bytes()); n > MaxBytes || len(l.rules.lists) > maxLists {
		return nil, fail(root, "ignore what is not needed as a whole, in a .kfdevignore file at the top",
			fmt.Errorf("%d rule files with %d bytes, more than %d and %d", len(l.rules.lists), n, maxLists, MaxBytes))
	}
	return l.rules, nil
}

// sort puts what counts less first.
func (r *Rules) sort() {
	slices.SortStableFunc(r.lists, func(a, b *list) int {
		return cmp.Or(cmp.Compare(a.group, b.group), strings.Compare(a.base, b.base), -cmp.Compare(len(a.lead), len(b.lead)))
	})
}

// loader collects rules.
type loader struct {
	rules *Rules
	holder
}

// take adds a file's patterns, if it has any.
func (l *loader) take(to *list, content []byte) {
	l.takeOwn(*to, content)
	l.takeAll(to, content)
}

func (l *loader) takeAll(to *list, content []byte) {
	to.patterns = readPatterns(content, l.rules.fold)
	if len(to.patterns) == 0 {
		return
	}
	for i := range to.patterns {
		if p := &to.patterns[i]; p.negative && namesReserved(p.text) {
			l.rules.notes = append(l.rules.notes, fmt.Sprintf("%q in %s has no effect: .git and .kfdev-sync are never synced", p.text, to.name))
		}
	}
	l.rules.add(to)
}

// namesReserved is true where an element of a pattern is one of the names that
// can't be brought back.
func namesReserved(text string) bool {
	return slices.ContainsFunc(strings.Split(strings.TrimPrefix(text, "!"), "/"), isReserved)
}

// outside adds a file that is the user's, and may be a symbolic link.
func (l *loader) outside(path string, to *list) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return absent(err)
	}
	content, err := readRules(f)
	if err == nil {
		l.take(to, content)
		err = to.check()
	}
	return errors.Join(err, f.Close())
}

// above adds the .gitignore files of the folders from the repository's top to the
// one that root is in.
func (l *loader) above(repo *repository, root string) error {
	lead := repo.lead(root)
	for dir := repo.top; lead != ""; {
		top, err := os.OpenRoot(dir)
		if err == nil {
			err = l.inside(top, gitFile, &list{group: groupGit, name: filepath.Join(dir, gitFile), lead: lead})
			err = errors.Join(err, top.Close())
		}
		if absent(err) != nil {
			return err
		}
		var name string
		name, lead, _ = strings.Cut(lead, "/")
		dir = filepath.Join(dir, name)
	}
	return nil
}

// folder adds the rule files of a folder and of all folders below that are not
// ignored.
func (l *loader) folder(top *os.Root, dir string) error {
	// Only what is read has to be beneath the root, whatever becomes a symbolic link
	// meanwhile; to list by path is several times faster.
	f, err := os.Open(filepath.Join(top.Name(), filepath.FromSlash(dir)))
	if err != nil {
		return absent(err)
	}
	entries, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return absent(err)
	}
	for _, file := range []string{gitFile, ownFile} {
		if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == file }) && !l.guard.knows(join(dir, file)) {
			continue
		}
		to := &list{group: groupGit, name: join(dir, file), base: dir}
		if file == ownFile {
			to.group = groupOwn
		}
		if err := l.inside(top, join(dir, file), to); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if l.skips(join(dir, e.Name()), e.IsDir()) {
			continue
		}
		if err := l.folder(top, join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// inside adds a file that is in a folder which the other side may have written
// to.
func (l *loader) inside(top *os.Root, path string, to *list) error {
	content, there, err := readInside(top, path)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", to.name, err)
	case to.lead == "":
		l.takeGuarded(to, content, there)
	default: // above the root, where the other side writes nothing
		l.take(to, content)
	}
	return to.check()
}

// replacedOften bounds how often a file that was replaced while it was looked at
// is looked at again.
const replacedOften = 100

// readInside reads a rule file. What is no file, or not for this user to read, is
// not there.
func readInside(top *os.Root, path string) (content []byte, there bool, err error) {
	for range replacedOften {
		before, err := top.Lstat(path)
		if err != nil || !before.Mode().IsRegular() {
			return nil, false, absent(err)
		}
		f, err := top.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, absent(err)
		}
		after, err := f.Stat()
		same := err == nil && os.SameFile(before, after)
		if same {
			content, err = readRules(f)
		}
		if err = errors.Join(err, f.Close()); err != nil || same {
			return content, err == nil, err
		}
	}
	return nil, false, errors.New("it is replaced again and again")
}

// readRules reads an open rule file. What is no file has no rules.
func readRules(f *os.File) ([]byte, error) {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return content, err
}

// absent is nil for what is not there or not for this user to read; git goes on
// without it too.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
