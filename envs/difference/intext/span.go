package intext

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/internal/yamledit"
)

// spanOf returns the bytes of a scalar on one line.
func spanOf(text string, n *yaml.Node) (Span, error) {
	refuse := func(what string) (Span, error) {
		return Span{}, fmt.Errorf("line %d of the text: %s: lead there with #~ and a regular expression", n.Line, what)
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return refuse("an alias, whose value stands elsewhere")
	case n.Kind != yaml.ScalarNode:
		return Span{}, fmt.Errorf("line %d of the text: one value is wanted, not a mapping or a list", n.Line)
	case n.Anchor != "":
		return refuse("an anchor, whose value stands elsewhere too")
	case n.Style&yaml.TaggedStyle != 0:
		return refuse("a value with a tag")
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return refuse("a value over several lines")
	}
	value, err := valueOf(n)
	if err != nil {
		return refuse(err.Error())
	}
	start, ok := offset(text, n.Line, n.Column)
	if !ok {
		return refuse("a value that cannot be found again")
	}
	length := 0
	switch rest := text[start:]; {
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		length = yamledit.Quoted(rest)
	case n.Value != "" && strings.HasPrefix(rest, n.Value):
		length = len(n.Value)
	}
	if length == 0 || strings.ContainsAny(text[start:start+length], "\n\r") {
		return refuse("a value that is not written on one line")
	}
	return Span{Start: start, End: start + length, Value: value}, nil
}

// valueOf decodes a scalar as unstructured objects have it.
func valueOf(n *yaml.Node) (any, error) {
	if n.Tag == "!!timestamp" {
		return n.Value, nil // a text to everything that reads JSON
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, errors.New("a number that JSON does not know")
		}
		return v, nil
	case nil, string, bool, int64:
		return v, nil
	}
	return nil, fmt.Errorf("a value of the kind %s", n.Tag)
}

// offset turns a line and a column, in characters and from one, into bytes.
// The library breaks lines at \n, \r\n and \r alone.
func offset(text string, line, column int) (int, bool) {
	pos := len(text) - len(strings.TrimPrefix(text, "\ufeff"))
	if line > 1 {
		pos = 0
	}
	for ; line > 1; line-- {
		i := strings.IndexByte(text[pos:], '\n')
		if i < 0 {
			return 0, false
		}
		pos += i + 1
	}
	for ; column > 1; column-- {
		_, size := utf8.DecodeRuneInString(text[pos:])
		if size == 0 {
			return 0, false
		}
		pos += size
	}
	return pos, true
}
