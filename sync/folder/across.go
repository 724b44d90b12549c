package folder

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// across is exchange for a path that is on another file system than StateDir,
// because one is mounted inside the root: content is copied, to a temporary file
// beside the path and from there renamed.
func (a *apply) across(i int, c tree.Change, st beneath.Stat, given time.Time) error {
	root := a.root
	leaf := c.From.Kind == tree.File || c.From.Kind == tree.Symlink
	if leaf {
		if err := a.keep(i, c); err != nil {
			return err
		}
	}
	fresh := ""
	if a.staged[i].place != "" {
		fresh = tree.Join(tree.Parent(c.Path), fmt.Sprintf("%s%d", temporary, i))
	}
	err := a.bring(i, c, fresh, given)
	if now, e := root.Stat(c.Path); err == nil && leaf && (e != nil || now != st) {
		err = errors.Join(errStale, e) // there was time to change it
	}
	if err == nil {
		err = a.place(i, c, fresh)
	}
	if err != nil && fresh != "" {
		err = errors.Join(err, root.RemoveAll(fresh))
	}
	return err
}

// bring copies what was staged to beside its path.
func (a *apply) bring(i int, c tree.Change, fresh string, given time.Time) error {
	if fresh == "" {
		return nil
	}
	if err := a.duplicate(a.in(a.staged[i].place), fresh, c.To); err != nil || c.To.Kind != tree.File {
		return err
	}
	return a.root.Touch(fresh, given)
}

// place renames what was brought over what is at a path.
func (a *apply) place(i int, c tree.Change, fresh string) error {
	root := a.root
	if c.From.Kind == tree.Dir {
		if err := a.rmdir(c.Path); err != nil {
			return err
		}
	}
	switch leaf := c.From.Kind == tree.File || c.From.Kind == tree.Symlink; {
	case fresh != "" && leaf:
		return root.Rename(fresh, c.Path, beneath.Replace)
	case fresh != "":
		return existing(a.rename(fresh, c.Path))
	}
	if err := root.Remove(c.Path); err != nil || c.To.Kind != tree.Dir {
		return err
	}
	return a.mkdir(i, c.Path)
}

// keep copies what is at a path into the trash.
func (a *apply) keep(i int, c tree.Change) error {
	old := a.spot(i) + ".old"
	if err := a.duplicate(c.Path, a.in(old), c.From); err != nil {
		return errors.Join(err, a.root.RemoveAll(a.in(old)))
	}
	a.staged[i].old = old
	return nil
}

// duplicate copies a file or link, with its permissions. What was copied must be
// what it should be.
func (a *apply) duplicate(from, to string, e tree.Entry) error {
	root := a.root
	if e.Kind == tree.Symlink {
		return root.Symlink(e.Target, to)
	}
	in, st, err := root.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := root.Create(to, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	buffer := make([]byte, block)
	for offset := int64(0); err == nil; {
		var n int
		n, err = in.Read(buffer)
		if n > 0 {
			if err := root.Write(out, buffer[:n], offset); err != nil {
				return errors.Join(err, out.Close())
			}
			sum.Write(buffer[:n])
			offset += int64(n)
		}
	}
	if !errors.Is(err, io.EOF) {
		return errors.Join(err, out.Close())
	}
	if err := out.Close(); err != nil {
		return err
	}
	if tree.Digest(sum.Sum(nil)) != e.Digest {
		return errStale
	}
	return root.Chmod(to, st.Mode&0o777)
}
