package fieldpath

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// SyntaxError says where a path went wrong and what would be right.
type SyntaxError struct {
	At   int    // the character, from 1
	Text string // what is wrong there, and what to write
}

// Error renders the place and the text.
func (e *SyntaxError) Error() string { return fmt.Sprintf("at character %d: %s", e.At, e.Text) }

// bounds on what is read as a path.
const (
	maxLength = 4096
	maxSteps  = 100
	maxIndex  = 1 << 20
)

// Parse reads a path. An error is a *SyntaxError.
func Parse(text string) (Path, error) {
	r := &reader{text: text}
	if len(text) > maxLength {
		return Path{}, r.errorf(0, "the path has %d characters: at most %d are taken", len(text), maxLength)
	}
	p, err := r.path()
	if err != nil {
		return Path{}, err
	}
	return p, nil
}

// ParseField reads what stands behind an object: its fields, and what is in
// their text.
func ParseField(text string) ([]Step, *Text, error) {
	p, err := Parse(Core + "/X/x/" + text)
	if err != nil {
		return nil, nil, err
	}
	return p.Fields, p.Text, nil
}

type reader struct {
	text string
	at   int
}

func (r *reader) errorf(at int, format string, args ...any) error {
	at = min(at, len(r.text))
	return &SyntaxError{At: utf8.RuneCountInString(r.text[:at]) + 1, Text: fmt.Sprintf(format, args...)}
}

// peek returns the byte at hand, 0 at the end.
func (r *reader) peek() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

func (r *reader) take(c byte) bool {
	if r.peek() == c && r.at < len(r.text) {
		r.at++
		return true
	}
	return false
}

// seen names what is at hand, for errors.
func (r *reader) seen() string {
	if r.at >= len(r.text) {
		return "the path's end"
	}
	c, _ := utf8.DecodeRuneInString(r.text[r.at:])
	return strconv.Quote(string(c))
}

func (r *reader) run(allowed func(byte) bool) string {
	from := r.at
	for r.at < len(r.text) && allowed(r.text[r.at]) {
		r.at++
	}
	return r.text[from:r.at]
}

func (r *reader) path() (Path, error) {
	var p Path
	if r.text == "" {
		return p, r.errorf(0, "the path is empty: write GROUP/KIND/NAME/FIELD, as in apps/Deployment/*/spec/replicas")
	}
	p.Group = r.run(isNameChar)
	if p.Group == "" || !r.take('/') {
		return p, r.errorf(r.at, "an API group and a slash are wanted, not %s: as in apps/Deployment/*/spec/replicas; %s is the group of Pods and ConfigMaps", r.seen(), Core)
	}
	if p.Group == fingerprint {
		return r.dimension()
	}
	if p.Group == "v1" {
		return p, r.errorf(0, "v1 is a version: write the group, which is %s, as in core/ConfigMap/NAME", Core)
	}
	if p.Group == Core {
		p.Group = ""
	}
	from := r.at
	if p.Kind = r.run(isKeyChar); p.Kind == "" {
		return p, r.errorf(r.at, "a kind is wanted, not %s: kinds are named one by one, as in apps/Deployment/NAME", r.seen())
	}
	if len(p.Kind) > 1 && p.Kind[0] == 'v' && p.Kind[1] >= '0' && p.Kind[1] <= '9' {
		return p, r.errorf(from, "%s is a version: it is left out, as in apps/Deployment/NAME", p.Kind)
	}
	if !r.take('/') {
		return p, r.errorf(r.at, "a slash and an object's name are wanted, not %s", r.seen())
	}
	if err := r.object(&p); err != nil {
		return p, err
	}
	return p, r.within(&p)
}

// within reads what is behind the object.
func (r *reader) within(p *Path) error {
	if r.at == len(r.text) || r.text[r.at:] == "/" {
		r.at = len(r.text)
		return nil
	}
	var err error
	if r.peek() != '/' {
		return r.errorf(r.at, "a slash and a field are wanted, not %s", r.seen())
	}
	from := r.at
	if p.Fields, err = r.steps(); err != nil {
		return err
	}
	if key, ok := selectsByItself(p.Fields); ok {
		return r.errorf(from, "the path leads to the very %q that it selects by: select by another key, or by place as in [0]", key)
	}
	if r.at == len(r.text) {
		return nil
	}
	if !r.take('#') {
		return r.errorf(r.at, "a slash and a field, or # and a place in the text are wanted, not %s: a key with other characters than letters, digits, _ and - is written [\"key\"]", r.seen())
	}
	p.Text, err = r.inText()
	return err
}

func (r *reader) dimension() (Path, error) {
	from := r.at
	name := r.run(isNameChar)
	if name == "" || r.at < len(r.text) {
		return Path{}, r.errorf(max(from, r.at), "a dimension of the fingerprint is wanted, not %s: as in %s/kubernetes", r.seen(), fingerprint)
	}
	return Path{Dimension: name}, nil
}

// object reads a name, or a namespace and a name.
func (r *reader) object(p *Path) error {
	first, err := r.name()
	if err != nil {
		return err
	}
	p.Name = first
	if !r.take(':') {
		if first == Every {
			p.Namespace = Every
		}
		return nil
	}
	p.Namespace = first
	p.Name, err = r.name()
	return err
}

func (r *reader) name() (string, error) {
	from := r.at
	switch r.peek() {
	case '"':
		s, err := r.quoted()
		if err == nil && (s == "" || s == Every) {
			err = r.errorf(from, "%q is no object's name", s)
		}
		return s, err
	case '*':
		r.at++
		if c := r.peek(); isNameChar(c) || c == '*' {
			return "", r.errorf(from, "* stands for every name and is no part of one: name the objects, or write * alone")
		}
		return Every, nil
	}
	name := r.run(isNameChar)
	switch {
	case name == "":
		return "", r.errorf(r.at, "an object's name is wanted, not %s: NAME, NAMESPACE:NAME, or * for every one; one with other characters is quoted", r.seen())
	case r.peek() == '*':
		return "", r.errorf(r.at, "* stands for every name and is no part of one: name the objects, or write * alone")
	}
	return name, nil
}

// steps reads fields from their slash on, up to # or the end.
func (r *reader) steps() ([]Step, error) {
	var steps []Step
	for r.at < len(r.text) && r.peek() != '#' {
		if len(steps) == maxSteps {
			return nil, r.errorf(r.at, "the path is too deep: at most %d steps are taken", maxSteps)
		}
		slash := r.take('/')
		var s Step
		var err error
		switch c := r.peek(); {
		case c == '[' && (slash || len(steps) > 0):
			s, err = r.selector()
		case slash && c == '*':
			err = r.errorf(r.at, "a field is named, never *: [*] behind a list is each of its elements")
		case slash:
			if s.Key = r.run(isKeyChar); s.Key == "" {
				err = r.errorf(r.at, "a field's name is wanted, not %s: letters, digits, _ and -; any other is written [\"key\"]", r.seen())
			}
		default:
			return steps, nil
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func (r *reader) quoted() (string, error) {
	prefix, err := strconv.QuotedPrefix(r.text[r.at:])
	if err != nil {
		return "", r.errorf(r.at, "the quote does not end, or has an escape that is none")
	}
	s, err := strconv.Unquote(prefix)
	if err != nil {
		return "", r.errorf(r.at, "the quote has an escape that is none")
	}
	r.at += len(prefix)
	return s, nil
}
