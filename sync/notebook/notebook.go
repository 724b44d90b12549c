// Package notebook merges Jupyter notebooks (nbformat 4) cell by cell, as a
// merge of their lines never could: cells are matched by their ids or by what
// is in them, outputs stay where kernels ran, and what editors and extensions
// scribble into the metadata makes no conflict. The format is nbformat's:
// nbformat.readthedocs.io/en/latest/format_description.html.
package notebook

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// CellConflict is a part of a notebook that both sides changed differently.
type CellConflict struct {
	ID            string // of the cell; empty where cells have none
	Local, Remote int    // the cell's index on each side; -1 where it isn't, and both where it is not about a cell
	Why           string // for people
	// The versions of the source; empty where it is not about the source.
	BaseSource, LocalSource, RemoteSource string
}

// Merge merges what two sides made of a base. With conflicts there is no merged
// notebook. An error means that one of the three is no notebook that this
// package understands, and is to be treated as any other file. Where the merged
// notebook is one of the sides, it has that side's bytes; else it is written as
// Jupyter writes it.
//
// Of outputs with their execution counts, and of noise in the metadata, the
// remote's count where both sides changed them, for there the kernels run.
// Outputs that only one side changed, or cleared, are taken from it.
func Merge(base, local, remote []byte) (merged []byte, conflicts []CellConflict, err error) {
	m := merger{budget: fullBudget}
	for _, side := range []struct {
		of   string
		data []byte
		to   **book
	}{{"base", base, &m.base}, {"local", local, &m.local}, {"remote", remote, &m.remote}} {
		if *side.to, err = read(side.data); err != nil {
			return nil, nil, fmt.Errorf("the %s notebook: %w", side.of, err)
		}
	}
	result := m.merge()
	switch {
	case len(m.conflicts) > 0:
		return nil, m.conflicts, nil
	case exact(result, m.remote.root):
		return bytes.Clone(remote), nil, nil
	case exact(result, m.local.root):
		return bytes.Clone(local), nil, nil
	}
	return encode(result), nil, nil
}

// Same is true for two notebooks that differ in nothing but noise: the layout
// of the file, and what editors keep in the metadata for themselves. Files that
// are no notebooks are the same where their bytes are.
func Same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err := read(a)
	if err != nil {
		return false
	}
	y, err := read(b)
	return err == nil && equal(quiet(x), quiet(y))
}

// book is a notebook that was read.
type book struct {
	root  *value
	minor int
	cells []*cell
}

// cell is a cell that was read.
type cell struct {
	root   *value
	id     string // empty where it has none of its own
	kind   string
	source string
}

// read checks what the merge relies on; the rest of a notebook may be anything.
func read(data []byte) (*book, error) {
	root, err := parse(data)
	if err != nil {
		return nil, err
	}
	if major := root.get("nbformat"); major == nil || major.kind != literal || major.text != "4" {
		return nil, errors.New("no notebook of nbformat 4")
	}
	b := &book{root: root}
	if minor := root.get("nbformat_minor"); minor == nil || minor.kind != literal {
		return nil, errors.New("no nbformat_minor")
	} else if b.minor, err = strconv.Atoi(minor.text); err != nil || b.minor < 0 {
		return nil, errors.New("nbformat_minor is no number")
	}
	if m := root.get("metadata"); m != nil && m.kind != object {
		return nil, errors.New("metadata is no object")
	}
	cells := root.get("cells")
	if cells == nil || cells.kind != list {
		return nil, errors.New("no list of cells")
	}
	times := map[string]int{}
	for i, v := range cells.items {
		c, err := readCell(v)
		if err != nil {
			return nil, fmt.Errorf("cell %d: %w", i, err)
		}
		times[c.id]++
		b.cells = append(b.cells, c)
	}
	for _, c := range b.cells {
		if times[c.id] > 1 {
			c.id = "" // it tells nothing
		}
	}
	return b, nil
}

func readCell(v *value) (*cell, error) {
	kind, source := v.get("cell_type"), v.get("source")
	if kind == nil || kind.kind != text {
		return nil, errors.New("no cell_type")
	}
	c := &cell{root: v, kind: kind.text}
	var ok bool
	if c.source, ok = source.joined(); !ok {
		return nil, errors.New("source is no text")
	}
	for _, key := range []string{"metadata", "attachments"} {
		if m := v.get(key); m != nil && m.kind != object {
			return nil, fmt.Errorf("%s is no object", key)
		}
	}
	if outputs := v.get("outputs"); outputs != nil && outputs.kind != list {
		return nil, errors.New("outputs is no list")
	}
	if id := v.get("id"); id != nil {
		if id.kind != text {
			return nil, errors.New("id is no text")
		}
		c.id = id.text
	}
	return c, nil
}

// withSource returns a cell's value with another source, in the form that it
// had: a text, or a list of its lines.
func withSource(v *value, source string) *value {
	if old, _ := v.get("source").joined(); old == source {
		return v
	}
	if v.get("source").kind == text {
		return v.with("source", textOf(source))
	}
	lines := &value{kind: list}
	for _, line := range splitLines(source) {
		lines.items = append(lines.items, textOf(line))
	}
	return v.with("source", lines)
}

// isNoise is true for keys of metadata that editors, kernels and extensions keep
// for themselves.
func isNoise(key string, of place) bool {
	if of == ofNotebook {
		return slices.Contains([]string{
			"widgets", "toc", "toc-autonumbering", "toc-showcode", "varInspector", "nbTranslate", "latex_envs",
			"vscode", "colab", "accelerator", "orig_nbformat", "signature", "trusted", "hide_input",
		}, key)
	}
	return slices.Contains([]string{
		"collapsed", "scrolled", "trusted", "execution", "ExecuteTime", "executionInfo", "outputId", "jupyter",
		"colab", "colab_type", "vscode", "pycharm", "heading_collapsed", "hidden", "jp-MarkdownHeadingCollapsed", "papermill",
	}, key)
}

// place is where metadata is.
type place uint8

const (
	ofCell place = iota
	ofNotebook
)

// quiet is a notebook without noise.
func quiet(b *book) *value {
	root := b.root.with("metadata", quietMetadata(b.root.get("metadata"), ofNotebook))
	cells := &value{kind: list}
	for _, c := range b.cells {
		cells.items = append(cells.items, c.root.edited(map[string]*value{
			"metadata": quietMetadata(c.root.get("metadata"), ofCell),
			"source":   textOf(c.source),
		}))
	}
	return root.with("cells", cells)
}

func quietMetadata(m *value, of place) *value {
	if m == nil {
		return emptyObject()
	}
	edits := map[string]*value{}
	for key, field := range m.fields {
		switch {
		case isNoise(key, of):
			edits[key] = nil
		case of == ofNotebook && key == "kernelspec" && field.kind == object:
			edits[key] = field.with("display_name", nil)
		case of == ofNotebook && key == "language_info" && field.kind == object:
			edits[key] = field.with("version", nil)
		}
	}
	return m.edited(edits)
}
