package control

import (
	"fmt"
	"io"

	"github.com/kfdev/kfdev/sync/tree"
)

// maxTree bounds what is read as a tree, bytes.
const maxTree = 1 << 30

// item is one path of a tree. Names and targets may be of any bytes, which text in
// JSON may not.
type item struct {
	Path   []byte    `json:"path"`
	Kind   tree.Kind `json:"kind"`
	Exec   bool      `json:"exec,omitempty"`
	Size   int64     `json:"size,omitempty"`
	Digest []byte    `json:"digest,omitempty"`
	Target []byte    `json:"target,omitempty"`
}

// itemsOf are the paths of a tree, folders before what is in them.
func itemsOf(t *tree.Tree) []item {
	items := make([]item, 0, t.Len()+1)
	_ = t.Walk(func(path string, e tree.Entry) error { // which never fails
		i := item{Path: []byte(path), Kind: e.Kind, Exec: e.Exec, Size: e.Size, Target: []byte(e.Target)}
		if e.Kind == tree.File {
			i.Digest = e.Digest[:]
		}
		items = append(items, i)
		return nil
	})
	return items
}

// decodeTree reads what /tree answers.
func decodeTree(r io.Reader) (*tree.Tree, error) {
	var items []item
	if err := decode(r, maxTree, false, &items); err != nil {
		return nil, err
	}
	t := &tree.Tree{}
	for _, i := range items {
		e := tree.Entry{Kind: i.Kind, Exec: i.Exec, Size: i.Size, Target: string(i.Target)}
		if i.Kind == tree.File && copy(e.Digest[:], i.Digest) != len(e.Digest) {
			return nil, fmt.Errorf("%q has no digest", i.Path)
		}
		if i.Kind == tree.Absent || i.Kind > tree.Symlink {
			return nil, fmt.Errorf("%q is of no kind", i.Path)
		}
		if err := t.Put(string(i.Path), e); err != nil {
			return nil, err
		}
	}
	return t, nil
}
