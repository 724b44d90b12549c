package ignore

import "strings"

// addClass adds a class such as "alpha:]" to a set and returns how long it is. 0
// is for what is no class but a bracket and a colon by themselves; an unknown
// class, or the end before it is closed, is not known.
func addClass(set *[256]bool, s string, fold bool) (n int, known bool) {
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return 0, false
	}
	if end == 0 || s[end-1] != ':' {
		return 0, true
	}
	in := class(s[:end-1])
	if in == nil {
		return 0, false
	}
	for c := range byte(0x80) {
		if in(c) || fold && s[:end-1] == "upper" && isLower(c) {
			set[c] = true
		}
	}
	return end + 1, true
}

// class is which ASCII bytes are in a class. git has its own idea of space: without
// the vertical tab and the form feed.
func class(name string) func(c byte) bool {
	switch name {
	case "alnum":
		return func(c byte) bool { return isLetter(c) || isDigit(c) }
	case "alpha":
		return isLetter
	case "blank":
		return func(c byte) bool { return c == ' ' || c == '\t' }
	case "cntrl":
		return func(c byte) bool { return c < ' ' || c == 0x7f }
	case "digit":
		return isDigit
	case "graph":
		return func(c byte) bool { return ' ' < c && c < 0x7f }
	case "lower":
		return isLower
	case "print":
		return func(c byte) bool { return ' ' <= c && c < 0x7f }
	case "punct":
		return func(c byte) bool { return ' ' < c && c < 0x7f && !isLetter(c) && !isDigit(c) }
	case "space":
		return func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
	case "upper":
		return func(c byte) bool { return 'A' <= c && c <= 'Z' }
	case "xdigit":
		return func(c byte) bool { return isDigit(c) || 'a' <= lowerByte(c) && lowerByte(c) <= 'f' }
	}
	return nil
}

func isLower(c byte) bool  { return 'a' <= c && c <= 'z' }
func isLetter(c byte) bool { return isLower(lowerByte(c)) }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
