package kubeconfig

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

func scalar(value string) *yaml.Node {
	node := &yaml.Node{}
	node.SetString(value)
	if value == "" {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

// get returns the value of a mapping's key, nil where there is none.
func get(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// set puts a value under a mapping's key, in its place where the key is there.
func set(mapping *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			mapping.Content[i+1] = value
			return
		}
	}
	mapping.Content = append(mapping.Content, scalar(key), value)
}

// listOf returns the sequence under a key, nil where there is none or it is null.
func listOf(root *yaml.Node, key string) (*yaml.Node, error) {
	items := get(root, key)
	switch {
	case items == nil, items.Kind == yaml.ScalarNode && items.Tag == "!!null":
		return nil, nil //nolint:nilnil // no list, and no error
	case items.Kind != yaml.SequenceNode:
		return nil, fmt.Errorf("line %d: %s is not a list", items.Line, key)
	}
	return items, nil
}

func nameOf(item *yaml.Node) string {
	if name := get(item, "name"); name != nil {
		return name.Value
	}
	return ""
}

// upsert puts item into the list under key, in place of the one of that name.
func upsert(root *yaml.Node, key, name string, item *yaml.Node) error {
	items, err := listOf(root, key)
	if err != nil {
		return err
	}
	if items == nil {
		set(root, key, &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}})
		return nil
	}
	found := false
	kept := items.Content[:0:0]
	for _, old := range items.Content {
		if nameOf(old) != name {
			kept = append(kept, old)
			continue
		}
		if !found { // a second one of the name goes
			kept = append(kept, item)
			found = true
		}
	}
	if !found {
		kept = append(kept, item)
	}
	if len(items.Content) == 0 {
		items.Style = 0 // it was written as "[]"
	}
	items.Content = kept
	return nil
}
