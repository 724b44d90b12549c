package bake

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
)

// ran reports whether a name is the pod's, too, where that is known. What is
// another thing there than here is noted, for differs.
func (c *collector) ran(name string, here tree.Entry) bool {
	if c.Pod == nil || name == "." {
		return true
	}
	there := c.Pod.Get(name)
	if there.Kind == tree.Absent && c.Mode == reconcile.Pull {
		c.note(name, "is in the folder here alone")
		return false
	}
	there.Exec = here.Exec // not every file system has it
	if there != here {
		c.others = append(c.others, name)
	}
	return true
}

// leave leaves out what can't be synced.
func (c *collector) leave(name, why string) {
	c.leftOut = append(c.leftOut, name)
	c.note(name, why)
}

// note says what is not part of the layer.
func (c *collector) note(name, why string) {
	c.out.Notes = append(c.out.Notes, name+" "+why+", and is left out")
}

// differs is an error where the pod has not what the folder here has, as where
// somebody wrote to one of them just now.
func (c *collector) differs() error {
	if c.Pod == nil {
		return nil
	}
	if c.Mode != reconcile.OneWay { // in which the pod has files of its own
		_ = c.Pod.Walk(func(name string, _ tree.Entry) error { // which never fails
			if _, ok := c.out.Tree.Get(c.at + "/" + name); !ok && name != "" && !slices.Contains(c.leftOut, name) {
				c.others = append(c.others, name)
			}
			return nil
		})
	}
	if len(c.others) == 0 {
		return nil
	}
	shown := c.others[:min(len(c.others), maxTold)]
	text := strings.Join(shown, ", ")
	if more := len(c.others) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return &fault.Error{
		Kind: fault.Drift, Hint: "try again when nothing writes to the folder",
		Err: errors.New("the pod has something else at " + text),
	}
}

// entryOf is what the sync would say of an entry of the layer.
func entryOf(e layer.Entry) tree.Entry {
	if e.Type == layer.Symlink {
		return tree.Entry{Kind: tree.Symlink, Target: e.Link}
	}
	return tree.Entry{Kind: tree.Dir}
}
