package tree

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Root returns the tree's root; of an absent root too, and never nil.
func (t *Tree) Root() *Node { return &t.root }

// Len is the number of paths beneath the root.
func (t *Tree) Len() int { return t.size }

// Names returns the names below a node in byte order.
func (n *Node) Names() []string {
	if n == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(n.children))
}

// Children yields what is directly below a node, in no order.
func (n *Node) Children() iter.Seq2[string, *Node] {
	if n == nil {
		return maps.All[map[string]*Node](nil)
	}
	return maps.All(n.children)
}

// Child returns what is below a node under that name, or nil.
func (n *Node) Child(name string) *Node {
	if n == nil {
		return nil
	}
	return n.children[name]
}

// Content is the node's entry; of nil, Absent.
func (n *Node) Content() Entry {
	if n == nil {
		return Entry{}
	}
	return n.Entry
}

// Node returns what is at a path, or nil.
func (t *Tree) Node(path string) *Node {
	n := &t.root
	if path == "" {
		if n.Kind == Absent {
			return nil
		}
		return n
	}
	for name := range strings.SplitSeq(path, "/") {
		if n = n.children[name]; n == nil {
			return nil
		}
	}
	return n
}

// Get returns the entry at a path; Absent where there is none.
func (t *Tree) Get(path string) Entry { return t.Node(path).Content() }

// Put makes a path hold an entry. What was below it goes when the entry is no
// folder. Absent removes the path. The parent must be a folder.
func (t *Tree) Put(path string, e Entry) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	if e.Kind == Absent {
		t.Delete(path)
		return nil
	}
	n := &t.root
	if path != "" {
		parent := t.Node(Parent(path))
		if parent.Content().Kind != Dir {
			return fmt.Errorf("%q is in no folder", path)
		}
		name := Base(path)
		if n = parent.children[name]; n == nil {
			n = &Node{}
			if parent.children == nil {
				parent.children = map[string]*Node{}
			}
			parent.children[name] = n
			t.size++
		}
	}
	if e.Kind != Dir && n.children != nil {
		t.size -= n.count()
		n.children = nil
	}
	n.Entry = e
	return nil
}

// Delete removes a path with all that is below it.
func (t *Tree) Delete(path string) {
	n := t.Node(path)
	if n == nil {
		return
	}
	t.size -= n.count()
	if path == "" {
		t.root = Node{}
		return
	}
	t.size--
	delete(t.Node(Parent(path)).children, Base(path))
}

// count is the number of paths below a node.
func (n *Node) count() int {
	total := len(n.children)
	for _, child := range n.children {
		total += child.count()
	}
	return total
}

// Walk calls visit with every path that is there and its entry, the root
// first, each folder before what is in it, names in byte order. It ends with
// visit's first error.
func (t *Tree) Walk(visit func(path string, e Entry) error) error {
	return t.WalkBelow("", visit)
}

// WalkBelow is Walk for a path and what is below it.
func (t *Tree) WalkBelow(path string, visit func(path string, e Entry) error) error {
	if n := t.Node(path); n != nil {
		return n.walk(path, visit)
	}
	return nil
}

func (n *Node) walk(path string, visit func(string, Entry) error) error {
	if err := visit(path, n.Entry); err != nil {
		return err
	}
	for _, name := range n.Names() {
		if err := n.children[name].walk(Join(path, name), visit); err != nil {
			return err
		}
	}
	return nil
}

// Clone returns a tree of its own that is equal.
func (t *Tree) Clone() *Tree {
	return &Tree{root: *t.root.clone(), size: t.size}
}

func (n *Node) clone() *Node {
	c := &Node{Entry: n.Entry}
	if n.children != nil {
		c.children = make(map[string]*Node, len(n.children))
		for name, child := range n.children {
			c.children[name] = child.clone()
		}
	}
	return c
}

// Equal is true when two trees hold the same.
func Equal(a, b *Tree) bool { return a.size == b.size && a.root.equal(&b.root) }

func (n *Node) equal(o *Node) bool {
	if n.Entry != o.Entry || len(n.children) != len(o.children) {
		return false
	}
	for name, child := range n.children {
		if other := o.children[name]; other == nil || !child.equal(other) {
			return false
		}
	}
	return true
}
