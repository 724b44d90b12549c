package ignore

import (
	"bytes"
	"strings"
)

// pattern is one line of a rule file, ready to be matched.
type pattern struct {
	text     string // the line as git understands it, without what it drops
	negative bool
	dirOnly  bool
	name     bool // it has no slash, and is matched with a path's last element
	// literal is what the text must begin with, byte for byte; where glob is nil,
	// that is all. A name pattern of the form "*literal" is an ending.
	literal string
	ending  bool
	glob    *glob
}

// readPatterns reads a rule file as git does: a byte order mark is skipped, a
// carriage return before the end of a line is dropped, and a NUL byte ends the
// line.
func readPatterns(content []byte, fold bool) []pattern {
	var patterns []pattern
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	for line := range bytes.SplitSeq(content, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		line, _, _ = bytes.Cut(line, []byte{0})
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if text := trimSpaces(string(line)); text != "" {
			patterns = append(patterns, newPattern(text, fold))
		}
	}
	return patterns
}

// trimSpaces drops spaces at the end that are not escaped. A line that ends in a
// lone backslash is left as it is.
func trimSpaces(s string) string {
	keep := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
			continue
		case '\\':
			i++
			if i == len(s) {
				return s
			}
		}
		keep = i + 1
	}
	return s[:keep]
}

// newPattern understands a line.
func newPattern(text string, fold bool) pattern {
	p := pattern{text: text}
	s, negative := strings.CutPrefix(text, "!")
	p.negative = negative
	s, p.dirOnly = strings.CutSuffix(s, "/")
	p.name = !strings.Contains(s, "/")
	if fold {
		// A class keeps its case, as git has it; see glob.
		p.literal = lower(s[:plain(s)])
	} else {
		p.literal = s[:plain(s)]
	}
	if p.name {
		switch {
		case p.literal == s || fold && len(p.literal) == len(s):
		case s[0] == '*' && plain(s[1:]) == len(s)-1:
			p.ending, p.literal = true, s[1:]
			if fold {
				p.literal = lower(p.literal)
			}
		default:
			p.literal, p.glob = "", compile(s, false, fold)
		}
		return p
	}
	rest := s[len(p.literal):]
	p.literal = strings.TrimPrefix(p.literal, "/")
	// What follows the literal begins anew: so it is that "a**/b" is not "a*/b".
	if rest != "" {
		p.glob = compile(rest, true, fold)
	}
	return p
}

// plain is how long s has no character that is special in a pattern.
func plain(s string) int {
	if i := strings.IndexAny(s, `*?[\`); i >= 0 {
		return i
	}
	return len(s)
}

// matches is true for a path, relative to the pattern's folder, with its last
// element.
func (p *pattern) matches(path, name string) bool {
	switch {
	case p.ending:
		return strings.HasSuffix(name, p.literal)
	case p.name && p.glob != nil:
		return p.glob.match(name)
	case p.name:
		return name == p.literal
	case p.glob == nil:
		return path == p.literal
	}
	rest, ok := strings.CutPrefix(path, p.literal)
	return ok && p.glob.match(rest)
}
