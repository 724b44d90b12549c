package bake

import (
	"path"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/sync/ignore"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
)

// remover has the layer take away what the image has in the folder and the pod
// did not have any more. What was never synced was there, and stays.
type remover struct {
	*collector

	below map[string][]layer.Seen // of the image, by the folder it is in
}

// removed adds what is taken away. All that is synced is in the tree by now.
func (c *collector) removed() error {
	r := remover{c, map[string][]layer.Seen{}}
	for _, s := range c.Image {
		dir := path.Dir(s.Path)
		r.below[dir] = append(r.below[dir], s)
	}
	add, _ := r.in(c.at)
	for _, e := range add {
		if err := c.out.Tree.Add(e); err != nil {
			return err
		}
	}
	return nil
}

// in returns what is to be added for all that the image has below a folder, and
// whether something of that stays.
func (r *remover) in(dir string) (add []layer.Entry, stays bool) {
	for _, s := range r.below[dir] {
		more, kept := r.one(s)
		add, stays = append(add, more...), stays || kept
	}
	return add, stays
}

// one does so for one name. A cache stays only where its folder does, with which
// the sync would have taken it away.
func (r *remover) one(s layer.Seen) (add []layer.Entry, stays bool) {
	name, dir := strings.TrimPrefix(s.Path, r.at+"/"), s.Type == layer.Dir
	if now, ok := r.out.Tree.Get(s.Path); ok {
		if dir && now.Type == layer.Dir {
			add, _ = r.in(s.Path)
		}
		return add, true
	}
	if r.Ignored != nil && r.Ignored(name, dir) {
		return nil, !ignore.IsCache(name, dir)
	}
	if r.Pod == nil && slices.Contains(r.leftOut, name) {
		return nil, true // what stands there here keeps the session from saying anything of it
	}
	if r.keeps(name, s) && !dir {
		return nil, true
	}
	if dir {
		if add, stays = r.in(s.Path); stays || r.keeps(name, s) {
			if len(add) > 0 { // it would be made with another owner
				add = append(add, layer.Entry{Path: s.Path, Type: layer.Dir, Mode: s.Mode.Perm(), UID: s.UID, GID: s.GID})
			}
			return add, true
		}
	}
	return []layer.Entry{{Path: s.Path, Type: layer.Removed}}, false
}

// keeps reports whether the pod has a name of the image's that the folder here
// has not.
func (r *remover) keeps(name string, s layer.Seen) bool {
	switch {
	case s.Special, s.Type == layer.Symlink && leadsOut(name, s.Link):
		return true // it is not synced
	case r.Pod != nil:
		return r.Pod.Get(name).Kind != tree.Absent
	}
	// In one-way only what the folder here once had is taken away there, and no
	// session says what that was.
	return r.Mode == reconcile.OneWay
}
