package imageref

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// span is a scalar of a YAML or JSON text: where its characters are.
type span struct {
	start, end int // bytes
	value      string
	at         string // dotted
}

// findInText returns the scalars that steps lead to in a text of YAML
// documents, JSON among them. A scalar that is written with escapes, so that
// its characters are not there as they are, is an error.
func findInText(text string, steps []string) ([]span, error) {
	var found []span
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading the text: %w", err)
		}
		for _, root := range doc.Content {
			spans, err := follow(text, root, nil, steps, 0)
			if err != nil {
				return nil, err
			}
			found = append(found, spans...)
		}
	}
}

// maxAliases bounds how many aliases are followed one behind the other.
const maxAliases = 100

func follow(text string, node *yaml.Node, at, steps []string, aliases int) ([]span, error) {
	if node.Kind == yaml.AliasNode {
		if aliases++; aliases > maxAliases {
			return nil, errors.New("aliases lead in a circle")
		}
		return follow(text, node.Alias, at, steps, aliases)
	}
	if len(steps) == 0 {
		if node.Kind != yaml.ScalarNode {
			return nil, nil
		}
		s, err := scalar(text, node)
		s.at = strings.Join(at, ".")
		return []span{s}, err
	}
	var found []span
	step := func(key string, child *yaml.Node) error {
		if steps[0] != "*" && steps[0] != key {
			return nil
		}
		spans, err := follow(text, child, append(at[:len(at):len(at)], key), steps[1:], aliases)
		found = append(found, spans...)
		return err
	}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if err := step(node.Content[i].Value, node.Content[i+1]); err != nil {
				return nil, err
			}
		}
	case yaml.SequenceNode:
		for i, child := range node.Content {
			if err := step(strconv.Itoa(i), child); err != nil {
				return nil, err
			}
		}
	case yaml.DocumentNode, yaml.ScalarNode, yaml.AliasNode:
	}
	return found, nil
}

// scalar finds where a scalar's characters are. The library counts lines and
// characters from one, and points at the quote where there is one.
func scalar(text string, node *yaml.Node) (span, error) {
	value := strings.TrimSpace(node.Value)
	offset, ok := offsetOf(text, node.Line, node.Column)
	if value == "" {
		return span{}, nil
	}
	if ok {
		if i := strings.Index(text[offset:], value); i >= 0 && near(text[offset:offset+i], node.Style) {
			return span{start: offset + i, end: offset + i + len(value), value: value}, nil
		}
	}
	return span{}, fmt.Errorf("line %d: %q is not written out as it is", node.Line, value)
}

// near reports whether what is between a scalar's mark and its characters is
// no more than a quote, an anchor or tag, or the head of a block.
func near(between string, style yaml.Style) bool {
	lines := strings.Count(between, "\n")
	if style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		head, rest, _ := strings.Cut(between, "\n")
		return lines >= 1 && len(head) < 40 && strings.TrimSpace(rest) == ""
	}
	if lines > 0 {
		return false
	}
	between = strings.TrimRight(between, `"'`)
	for _, word := range strings.Fields(between) {
		if !strings.HasPrefix(word, "&") && !strings.HasPrefix(word, "!") {
			return false
		}
	}
	return true
}

// offsetOf turns a line and a column into bytes.
func offsetOf(text string, line, column int) (int, bool) {
	offset := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(text[offset:], '\n')
		if i < 0 {
			return 0, false
		}
		offset += i + 1
	}
	for ; column > 1; column-- {
		if offset >= len(text) {
			return 0, false
		}
		_, size := utf8.DecodeRuneInString(text[offset:])
		offset += size
	}
	return offset, true
}
