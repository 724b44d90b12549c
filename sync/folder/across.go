package folder

import (
	"context"
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
	root := a.state.root
	if c.From.Kind == tree.File || c.From.Kind == tree.Symlink {
		if err := a.keep(i, c); err != nil {
			return err
		}
	}
	place, fresh := a.staged[i].place, ""
	if place != "" {
		fresh = tree.Join(tree.Parent(c.Path), fmt.Sprintf("%s%d", temporary, i))
		if err := a.duplicate(a.in(place), fresh, c.To); err != nil {
			return errors.Join(err, root.RemoveAll(fresh))
		}
		if c.To.Kind == tree.File {
			if err := root.Touch(fresh, given); err != nil {
				return errors.Join(err, root.Remove(fresh))
			}
		}
	}
	// What is there is looked at once more: there was time to change it.
	if now, err := root.Stat(c.Path); c.From.Kind != tree.Absent && c.From.Kind != tree.Dir && (err != nil || now != st) {
		if fresh != "" {
			err = errors.Join(err, root.Remove(fresh))
		}
		return errors.Join(errStale, err)
	}
	var err error
	if c.From.Kind == tree.Dir {
		if err := a.rmdir(c.Path); err != nil {
			return errors.Join(err, root.Remove(fresh))
		}
	}
	switch {
	case fresh != "" && c.From.Kind == tree.Absent || fresh != "" && c.From.Kind == tree.Dir:
		err = existing(a.rename(fresh, c.Path))
	case fresh != "":
		err = root.Rename(fresh, c.Path, beneath.Replace)
	default:
		if err = root.Remove(c.Path); err == nil && c.To.Kind == tree.Dir {
			err = a.mkdir(i, c.Path)
		}
	}
	if err != nil && fresh != "" {
		err = errors.Join(err, root.Remove(fresh))
	}
	return err
}

// keep copies what is at a path into the trash.
func (a *apply) keep(i int, c tree.Change) error {
	old := a.spot(i) + ".old"
	if err := a.duplicate(c.Path, a.in(old), c.From); err != nil {
		return errors.Join(err, a.state.root.RemoveAll(a.in(old)))
	}
	a.staged[i].old = old
	return nil
}

// duplicate copies a file or link, with its permissions. What was copied must be
// what it should be.
func (a *apply) duplicate(from, to string, e tree.Entry) error {
	root := a.state.root
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
	buffer := make([]byte, block)
	for offset := int64(0); err == nil; {
		var n int
		n, err = in.Read(buffer)
		if n > 0 {
			if err := root.Write(out, buffer[:n], offset); err != nil {
				return errors.Join(err, out.Close())
			}
			offset += int64(n)
		}
	}
	if !errors.Is(err, io.EOF) {
		return errors.Join(err, out.Close())
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := root.Chmod(to, st.Mode&0o777); err != nil {
		return err
	}
	copied, err := read(context.Background(), root, to, e.Size, false)
	if err == nil && copied.entry.Digest != e.Digest {
		err = errStale
	}
	return err
}
