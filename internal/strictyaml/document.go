package strictyaml

import "gopkg.in/yaml.v3"

// Document is a decoded file that still knows where everything stood, for the
// checks that come after decoding.
type Document struct {
	file string
	root *yaml.Node
}

// At returns a problem at the value that path leads to, or at the nearest
// part of it that is in the file. A path's parts are keys (string) and indexes
// (int).
func (d *Document) At(text string, path ...any) Problem {
	node := d.root
	for _, part := range path {
		next := child(node, part)
		if next == nil {
			break
		}
		node = next
	}
	return d.problem(node, text)
}

// Key is At for the key itself, not its value: a name that a person chose.
func (d *Document) Key(text string, path ...any) Problem {
	node := d.root
	for i, part := range path {
		next := child(node, part)
		if next == nil {
			break
		}
		if i == len(path)-1 {
			for j := 0; j+1 < len(node.Content); j += 2 {
				if node.Content[j+1] == next {
					next = node.Content[j]
				}
			}
		}
		node = next
	}
	return d.problem(node, text)
}

// Has reports whether path leads to a value; null is none.
func (d *Document) Has(path ...any) bool {
	node := d.root
	for _, part := range path {
		if node = child(node, part); node == nil {
			return false
		}
	}
	return node.Kind != yaml.ScalarNode || node.Tag != "!!null"
}

func (d *Document) problem(n *yaml.Node, text string) Problem {
	return Problem{File: d.file, Line: n.Line, Column: n.Column, Text: text}
}

func child(node *yaml.Node, part any) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch key := part.(type) {
	case string:
		if node.Kind != yaml.MappingNode {
			return nil
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == key {
				return node.Content[i+1]
			}
		}
	case int:
		if node.Kind == yaml.SequenceNode && key < len(node.Content) {
			return node.Content[key]
		}
	}
	return nil
}
