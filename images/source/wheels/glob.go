package wheels

import (
	"fmt"
	"regexp"
	"strings"
)

// globs is a set of path patterns: * and ? stay within a folder, ** crosses
// folders, and a pattern that names a folder takes what is below it too.
type globs []*regexp.Regexp

func compileGlobs(patterns []string) (globs, error) {
	out := make(globs, 0, len(patterns))
	for _, pattern := range patterns {
		if !safeName(pattern) {
			return nil, fmt.Errorf("the pattern %q is not a clean path below the prefix", pattern)
		}
		var b strings.Builder
		b.WriteString(`\A`)
		for rest := pattern; rest != ""; {
			switch {
			case strings.HasPrefix(rest, "**/"):
				b.WriteString(`(?:.*/)?`)
				rest = rest[3:]
			case strings.HasPrefix(rest, "**"):
				b.WriteString(`.*`)
				rest = rest[2:]
			case rest[0] == '*':
				b.WriteString(`[^/]*`)
				rest = rest[1:]
			case rest[0] == '?':
				b.WriteString(`[^/]`)
				rest = rest[1:]
			default:
				b.WriteString(regexp.QuoteMeta(rest[:1]))
				rest = rest[1:]
			}
		}
		b.WriteString(`(?:/.*)?\z`)
		re, err := regexp.Compile(b.String())
		if err != nil {
			return nil, fmt.Errorf("the pattern %q: %w", pattern, err)
		}
		out = append(out, re)
	}
	return out, nil
}

func (g globs) match(name string) bool {
	for _, re := range g {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}
