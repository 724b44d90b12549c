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
	ranges := class(s[:end-1])
	if ranges == "" {
		return 0, false
	}
	if fold && s[:end-1] == "upper" {
		ranges = "az"
	}
	for i := 0; i < len(ranges); i += 2 {
		for c := ranges[i]; c <= ranges[i+1]; c++ {
			set[c] = true
		}
	}
	return end + 1, true
}

// class is which ASCII bytes are in a class, as pairs of the first and the last of
// a range. git has its own idea of space: without the vertical tab and the form
// feed.
func class(name string) (ranges string) {
	return map[string]string{
		"alnum":  "09AZaz",
		"alpha":  "AZaz",
		"blank":  "  \t\t",
		"cntrl":  "\x00\x1f\x7f\x7f",
		"digit":  "09",
		"graph":  "!~",
		"lower":  "az",
		"print":  " ~",
		"punct":  "!/:@[`{~",
		"space":  "  \t\n\r\r",
		"upper":  "AZ",
		"xdigit": "09AFaf",
	}[name]
}
