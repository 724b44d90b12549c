package notebook

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// merger is one merge.
type merger struct {
	budget
	base, local, remote *book
	conflicts           []CellConflict
}

// trio is what the three sides have of one cell; nil where one has it not.
type trio struct {
	base, local, remote    *cell
	atLocal, atRemote      int // its index there, or -1
	movedLocal, movedThere bool
}

func (m *merger) merge() *value {
	minor := m.minor()
	cells := &value{kind: list}
	var unnamed []int
	for _, t := range m.order(m.trios()) {
		v := m.mergeCell(t)
		if v == nil {
			continue
		}
		// A cell of a notebook before 4.5 needs an id in one of 4.5.
		if minor.atLeast(5) && v.get("id") == nil && (t.local == nil || m.local.minor < 5) && (t.remote == nil || m.remote.minor < 5) {
			unnamed = append(unnamed, len(cells.items))
		}
		cells.items = append(cells.items, v)
	}
	name(cells.items, unnamed)
	root := m.object(m.base.root, m.local.root, m.remote.root, spot{of: ofNotebook, atLocal: -1, atRemote: -1}, "cells", "nbformat_minor")
	root = root.with("nbformat_minor", minor)
	if !exact(root.get("cells"), cells) {
		root = root.with("cells", cells)
	}
	return root
}

// minor is the minor version of the result: the later one where both changed it.
func (m *merger) minor() *value {
	side := m.remote
	if m.base.minor == m.remote.minor || m.base.minor != m.local.minor && m.local.minor > m.remote.minor {
		side = m.local
	}
	return side.root.get("nbformat_minor")
}

func (v *value) atLeast(n int) bool {
	i, err := strconv.Atoi(v.text)
	return err == nil && i >= n
}

// trios matches the cells of the three sides.
func (m *merger) trios() []*trio {
	fromLocal, fromRemote := m.match(m.base.cells, m.local.cells), m.match(m.base.cells, m.remote.cells)
	var all []*trio
	for _, c := range m.base.cells {
		all = append(all, &trio{base: c, atLocal: -1, atRemote: -1})
	}
	var newLocal, newRemote []*trio
	for j, i := range fromLocal {
		t := &trio{atLocal: -1, atRemote: -1}
		if i >= 0 {
			t = all[i]
		} else {
			newLocal = append(newLocal, t)
		}
		t.local, t.atLocal = m.local.cells[j], j
	}
	for j, i := range fromRemote {
		t := &trio{atLocal: -1, atRemote: -1}
		if i >= 0 {
			t = all[i]
		} else {
			newRemote = append(newRemote, t)
		}
		t.remote, t.atRemote = m.remote.cells[j], j
	}
	all = append(all, m.join(newLocal, newRemote)...)
	markMoved(fromLocal, func(i int) { all[i].movedLocal = true })
	markMoved(fromRemote, func(i int) { all[i].movedThere = true })
	return all
}

// join finds new cells that both sides have: pulled from one place, or made by
// an earlier merge of the two.
func (m *merger) join(local, remote []*trio) []*trio {
	var a, b []*cell
	for _, t := range local {
		a = append(a, t.local)
	}
	for _, t := range remote {
		b = append(b, t.remote)
	}
	all := slices.Clone(local)
	for j, i := range m.match(a, b) {
		if i >= 0 {
			local[i].remote, local[i].atRemote = remote[j].remote, remote[j].atRemote
		} else {
			all = append(all, remote[j])
		}
	}
	return all
}

// markMoved tells which cells are in another order than in the base: those
// outside of a longest run of cells that are still in order.
func markMoved(from []int, moved func(i int)) {
	var ends []int // for each length of a run, where in from the one with the least end ends
	before := slices.Repeat([]int{-1}, len(from))
	for j, i := range from {
		if i < 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(ends, i, func(end, i int) int { return from[end] - i })
		if at > 0 {
			before[j] = ends[at-1]
		}
		if at == len(ends) {
			ends = append(ends, j)
		} else {
			ends[at] = j
		}
	}
	inOrder := make([]bool, len(from))
	if len(ends) > 0 {
		for j := ends[len(ends)-1]; j >= 0; j = before[j] {
			inOrder[j] = true
		}
	}
	for j, i := range from {
		if i >= 0 && !inOrder[j] {
			moved(i)
		}
	}
}

// order puts the cells in the remote's order. What only the local side has or
// moved comes after the cell that it follows there.
func (m *merger) order(all []*trio) []*trio {
	byLocal, byRemote := make([]*trio, len(m.local.cells)), make([]*trio, len(m.remote.cells))
	for _, t := range all {
		if t.atLocal >= 0 {
			byLocal[t.atLocal] = t
		}
		if t.atRemote >= 0 {
			byRemote[t.atRemote] = t
		}
	}
	after := map[*trio]*trio{} // what is to be placed, by what it follows; nil is the beginning
	place := func(t *trio) bool { return t.remote == nil || t.movedLocal && !t.movedThere }
	var previous *trio
	for _, t := range byLocal {
		if place(t) {
			after[previous] = t
		}
		previous = t
	}
	var ordered []*trio
	follow := func(t *trio) {
		for t = after[t]; t != nil; t = after[t] {
			ordered = append(ordered, t)
		}
	}
	follow(nil)
	for _, t := range byRemote {
		if !place(t) {
			ordered = append(ordered, t)
			follow(t)
		}
	}
	return ordered
}

// name gives ids to cells that have none, as nbformat 4.5 asks for: made from
// the cell, so that two merges of the same give the same.
func name(cells []*value, unnamed []int) {
	if len(unnamed) == 0 {
		return
	}
	used := map[string]bool{}
	for _, c := range cells {
		if id := c.get("id"); id != nil {
			used[id.text] = true
		}
	}
	for _, i := range unnamed {
		sum := sha256.Sum256(encode(cells[i]))
		id := hex.EncodeToString(sum[:4])
		for used[id] {
			sum = sha256.Sum256(sum[:])
			id = hex.EncodeToString(sum[:4])
		}
		used[id] = true
		cells[i] = cells[i].with("id", textOf(id))
	}
}
