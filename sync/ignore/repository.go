package ignore

import (
	"os"
	"path/filepath"
	"strings"
)

// repository is the git repository that a folder is in.
type repository struct {
	top    string // its working tree
	dir    string // its .git folder
	common string // what worktrees of it share
}

// findRepository looks for it from root upwards; nil where there is none. As
// git, it takes no folder for one that has no HEAD.
func findRepository(root string) *repository {
	for top := root; ; {
		dir := filepath.Join(top, ".git")
		if b, err := readSmall(dir); err == nil {
			// A worktree or a submodule: a file that says where the folder is.
			if to, ok := strings.CutPrefix(string(b), "gitdir: "); ok {
				dir = resolve(top, strings.TrimRight(to, "\r\n"))
			}
		}
		if _, err := os.Lstat(filepath.Join(dir, "HEAD")); err == nil {
			r := &repository{top: top, dir: dir, common: dir}
			if b, err := readSmall(filepath.Join(dir, "commondir")); err == nil {
				r.common = resolve(dir, strings.TrimRight(string(b), "\r\n"))
			}
			return r
		}
		up := filepath.Dir(top)
		if up == top {
			return nil
		}
		top = up
	}
}

// lead is the way from the repository's top down to root, with a slash at its
// end; "" where they are the same, or there is no repository.
func (r *repository) lead(root string) string {
	if r == nil {
		return ""
	}
	rel, err := filepath.Rel(r.top, root)
	if err != nil || rel == "." {
		return ""
	}
	return filepath.ToSlash(rel) + "/"
}

// Hold is the file that git keeps while it changes the working tree that root is
// in, or "" where root is in no repository.
func Hold(root string) string {
	root, err := filepath.Abs(root)
	if err != nil {
		return ""
	}
	if r := findRepository(root); r != nil {
		return filepath.Join(r.dir, "index.lock")
	}
	return ""
}

// readSmall reads a file of git's that has one line.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > 1<<16 {
		return nil, os.ErrInvalid
	}
	return os.ReadFile(path)
}

// resolve is a path that is relative to a folder, or absolute.
func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
