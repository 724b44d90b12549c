package yamledit

import (
	"bytes"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// offset returns where n begins, in bytes. A node's column counts characters.
func (t text) offset(n *yaml.Node) (int, error) {
	pos := 0
	for line := 1; line < n.Line; line++ {
		i := bytes.IndexByte(t.data[pos:], '\n')
		if i < 0 {
			return 0, errShape
		}
		pos += i + 1
	}
	if n.Line == 1 && bytes.HasPrefix(t.data, []byte("\xef\xbb\xbf")) {
		pos += 3
	}
	for column := 1; column < n.Column; column++ {
		_, size := utf8.DecodeRune(t.data[pos:])
		if size == 0 {
			return 0, errShape
		}
		pos += size
	}
	return pos, nil
}

// span returns where a scalar on one line begins and ends, in bytes.
func (t text) span(n *yaml.Node) (from, to int, err error) {
	from, err = t.offset(n)
	if err != nil {
		return 0, 0, err
	}
	rest := t.data[from:]
	switch {
	case n.Style == 0 && n.Value != "" && bytes.HasPrefix(rest, []byte(n.Value)):
		return from, from + len(n.Value), nil
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		if end := Quoted(rest); end > 0 {
			return from, from + end, nil
		}
	}
	return 0, 0, errShape
}

// Quoted returns the length of the quoted scalar that text begins with, bytes; 0
// where it begins with none or does not end.
func Quoted[T []byte | string](text T) int {
	if len(text) == 0 || text[0] != '"' && text[0] != '\'' {
		return 0
	}
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case quote == '"' && text[i] == '\\':
			i++
		case text[i] == quote && quote == '\'' && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return 0
}

// closing returns where the bracket that closes the one at open stands, -1
// where there is none.
func (t text) closing(open int) int {
	depth := 0
	for i := open; i < len(t.data); i++ {
		switch c := t.data[i]; {
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i
			}
		case c == '"' || c == '\'':
			// Only a quote at a token's start quotes; one within a word does not.
			if bytes.IndexByte([]byte(" \t\n{[,:"), t.data[i-1]) < 0 {
				continue
			}
			n := Quoted(t.data[i:])
			if n == 0 {
				return -1
			}
			i += n - 1
		case c == '#' && bytes.IndexByte([]byte(" \t\n"), t.data[i-1]) >= 0:
			end := bytes.IndexByte(t.data[i:], '\n')
			if end < 0 {
				return -1
			}
			i += end
		}
	}
	return -1
}
