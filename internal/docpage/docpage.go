// Package docpage holds pages of the documentation to what tests really do.
package docpage

import (
	"os"
	"strings"
	"testing"
)

// Hold compares parts of a page, between its marks of that name, with what they
// are to be. With write they are written instead.
func Hold(t *testing.T, page string, write bool, parts map[string]string) {
	t.Helper()
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(have)
	for name, content := range parts {
		begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
		before, rest, begun := strings.Cut(want, begin)
		_, after, ended := strings.Cut(rest, end)
		if !begun || !ended {
			t.Fatalf("%s has no marks of %s", page, name)
		}
		want = before + begin + content + end + after
	}
	switch {
	case want == string(have):
	case !write:
		t.Errorf("%s is not what the test does: run it with -update. It would be:\n%s", page, want)
	default:
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Codes writes texts as code, one under another, into a cell of a table.
func Codes(texts []string) string {
	codes := make([]string, len(texts))
	for i, text := range texts {
		codes[i] = "`" + strings.ReplaceAll(text, "|", `\|`) + "`"
	}
	return strings.Join(codes, "<br>")
}
