package notebook

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// What a notebook may be. Above it, a file is opaque.
const (
	MaxSize  = 64 << 20 // bytes
	MaxDepth = 128      // of lists and objects in each other
)

// parser reads JSON as Python's json module does: with NaN and Infinity, which
// Jupyter writes into outputs. What would not be written again as it was read
// is refused: bytes that are no UTF-8, half a surrogate pair, a key that comes
// twice.
type parser struct {
	in    string
	at    int
	depth int
}

func parse(data []byte) (*value, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes, more than %d", len(data), MaxSize)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	p := &parser{in: string(data)}
	v, err := p.value()
	if err == nil {
		if p.space(); p.at != len(p.in) {
			err = errors.New("something comes after the end")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("byte %d: %w", p.at, err)
	}
	return v, nil
}

func (p *parser) space() {
	for p.at < len(p.in) && strings.IndexByte(" \t\r\n", p.in[p.at]) >= 0 {
		p.at++
	}
}

// next skips space and takes a byte if it is there.
func (p *parser) next(b byte) bool {
	p.space()
	if p.at < len(p.in) && p.in[p.at] == b {
		p.at++
		return true
	}
	return false
}

func (p *parser) value() (*value, error) {
	p.space()
	if p.at == len(p.in) {
		return nil, errors.New("it ends too early")
	}
	switch p.in[p.at] {
	case '{', '[':
		if p.depth++; p.depth > MaxDepth {
			return nil, fmt.Errorf("deeper than %d", MaxDepth)
		}
		defer func() { p.depth-- }()
		if p.in[p.at] == '{' {
			return p.object()
		}
		return p.list()
	case '"':
		s, err := p.string()
		return textOf(s), err
	}
	return p.literal()
}

func (p *parser) object() (*value, error) {
	p.at++
	o := emptyObject()
	if p.next('}') {
		return o, nil
	}
	for {
		if p.space(); p.at == len(p.in) || p.in[p.at] != '"' {
			return nil, errors.New("a key is missing")
		}
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if _, twice := o.fields[key]; twice {
			return nil, fmt.Errorf("the key %q comes twice", key)
		}
		if !p.next(':') {
			return nil, errors.New("a colon is missing")
		}
		field, err := p.value()
		if err != nil {
			return nil, err
		}
		o.keys = append(o.keys, key)
		o.fields[key] = field
		if p.next('}') {
			return o, nil
		}
		if !p.next(',') {
			return nil, errors.New("a comma is missing")
		}
	}
}

func (p *parser) list() (*value, error) {
	p.at++
	l := &value{kind: list}
	if p.next(']') {
		return l, nil
	}
	for {
		item, err := p.value()
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, item)
		if p.next(']') {
			return l, nil
		}
		if !p.next(',') {
			return nil, errors.New("a comma is missing")
		}
	}
}

// literals are the values that are one word, with a number's grammar from RFC
// 8259.
var literals = regexp.MustCompile(`^(true|false|null|NaN|-?Infinity|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?)`)

func (p *parser) literal() (*value, error) {
	end := p.at
	for end < len(p.in) && strings.IndexByte(" \t\r\n,]}", p.in[end]) < 0 {
		end++
	}
	word := p.in[p.at:end]
	if word == "" || literals.FindString(word) != word {
		return nil, errors.New("no value")
	}
	p.at = end
	return &value{kind: literal, text: word}, nil
}

// string reads a text at its opening quote.
func (p *parser) string() (string, error) {
	p.at++
	start := p.at
	for p.at < len(p.in) && p.in[p.at] != '"' && p.in[p.at] != '\\' && p.in[p.at] >= ' ' {
		p.at++
	}
	if p.at < len(p.in) && p.in[p.at] == '"' {
		p.at++
		return p.in[start : p.at-1], nil
	}
	var s strings.Builder
	s.WriteString(p.in[start:p.at])
	for p.at < len(p.in) {
		c := p.in[p.at]
		p.at++
		switch {
		case c == '"':
			return s.String(), nil
		case c < ' ':
			return "", errors.New("a control character in a text")
		case c != '\\':
			s.WriteByte(c)
			continue
		}
		r, err := p.escape()
		if err != nil {
			return "", err
		}
		s.WriteRune(r)
	}
	return "", errors.New("a text has no end")
}

// escape reads what comes after a backslash.
func (p *parser) escape() (rune, error) {
	if p.at == len(p.in) {
		return 0, errors.New("a text has no end")
	}
	c := p.in[p.at]
	p.at++
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, errors.New("an unknown escape")
	}
	r, err := p.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if strings.HasPrefix(p.in[p.at:], `\u`) {
		p.at += 2
		low, err := p.hex()
		if err != nil {
			return 0, err
		}
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			return r, nil
		}
	}
	return 0, errors.New("half a surrogate pair")
}

func (p *parser) hex() (rune, error) {
	if p.at+4 > len(p.in) {
		return 0, errors.New("a text has no end")
	}
	n, err := strconv.ParseUint(p.in[p.at:p.at+4], 16, 16)
	if err != nil {
		return 0, errors.New("an escape without four digits")
	}
	p.at += 4
	return rune(n), nil
}
