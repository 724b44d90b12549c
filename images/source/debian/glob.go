package debian

import (
	"fmt"
	"regexp"
	"strings"
)

// filter decides which paths of the packages a layer leaves out.
type filter []rule

type rule struct {
	keep    bool
	pattern *regexp.Regexp
}

// newFilter reads a recipe's globs of absolute paths: * and ? stay within a
// folder, ** crosses folders, and a leading ! takes back in what an earlier
// glob left out.
func newFilter(globs []string) (filter, error) {
	var f filter
	for _, glob := range globs {
		text, keep := strings.CutPrefix(glob, "!")
		if !strings.HasPrefix(text, "/") || text == "/" {
			return nil, fmt.Errorf("exclude %q is not a glob of absolute paths", glob)
		}
		pattern, err := regexp.Compile("^" + translate(text[1:]) + "$")
		if err != nil {
			return nil, fmt.Errorf("exclude %q: %w", glob, err)
		}
		f = append(f, rule{keep, pattern})
	}
	return f, nil
}

func translate(glob string) string {
	var b strings.Builder
	for i := 0; i < len(glob); i++ {
		switch {
		case strings.HasPrefix(glob[i:], "**"):
			b.WriteString(".*")
			i++
		case glob[i] == '*':
			b.WriteString("[^/]*")
		case glob[i] == '?':
			b.WriteString("[^/]")
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	return b.String()
}

// excludes reports whether the path, relative to the root, is left out.
func (f filter) excludes(path string) bool {
	out := false
	for _, r := range f {
		if out == r.keep && r.pattern.MatchString(path) {
			out = !r.keep
		}
	}
	return out
}
