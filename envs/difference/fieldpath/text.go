package fieldpath

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// inText reads what is behind #.
func (r *reader) inText() (*Text, error) {
	from := r.at
	switch {
	case r.take('~'):
		re, err := pattern(r.text[r.at:])
		if err != nil {
			return nil, r.errorf(r.at, "%v", err)
		}
		r.at = len(r.text)
		return &Text{Pattern: re}, nil
	case r.peek() != '/':
		return nil, r.errorf(from, "behind # a place in the text is wanted, not %s: #/KEY/KEY in YAML or JSON, #~ and a regular expression with one group elsewhere", r.seen())
	}
	steps, err := r.steps()
	if err != nil {
		return nil, err
	}
	if r.at < len(r.text) {
		return nil, r.errorf(r.at, "a slash and a key are wanted, not %s: a key with other characters than letters, digits, _ and - is written [\"key\"]", r.seen())
	}
	if _, ok := selectsByItself(steps); ok || steps[len(steps)-1].Kind == Value {
		return nil, r.errorf(from, "the path leads to the very value that it selects by: select by another key, or by place as in [0]")
	}
	for _, s := range steps {
		if s.Kind == All {
			return nil, r.errorf(from, "a path inside a text leads to one value: [*] is not taken there")
		}
	}
	return &Text{Fields: steps}, nil
}

// selectsByItself reports whether steps end at a key that an element is
// selected by: with another value there they would lead nowhere.
func selectsByItself(steps []Step) (string, bool) {
	if len(steps) < 2 {
		return "", false
	}
	last, before := steps[len(steps)-1], steps[len(steps)-2]
	by := func(m Pair) bool { return last.Kind == Key && m.Key == last.Key }
	return last.Key, slices.ContainsFunc(before.Match, by)
}

func pattern(text string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(text)
	switch {
	case text == "":
		return nil, errors.New("a regular expression with one group is wanted behind #~")
	case err != nil:
		return nil, fmt.Errorf("not a regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	case re.NumSubexp() != 1:
		return nil, fmt.Errorf("the regular expression has %d groups: put ( ) around the one value that differs, (?: ) around all else", re.NumSubexp())
	}
	return re, nil
}
