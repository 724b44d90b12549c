//go:build integration

package drift_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/stack/noise"
)

var update = flag.Bool("update", false, "write the tables into docs/drift.md")

const page = "../../docs/drift.md"

// TestIntegrationTheTablesOfTheDocs: docs/drift.md has the tables of what the
// tests of this package do to an environment. With -update they are written.
func TestIntegrationTheTablesOfTheDocs(t *testing.T) {
	t.Parallel()
	have, err := os.ReadFile(page)
	require.NoError(t, err)
	text := string(have)
	var b strings.Builder
	b.WriteString("| # | what is done | what is found |\n|---|---|---|\n")
	for i, d := range differences() {
		found := make([]string, len(d.want))
		for n, w := range d.want {
			found[n] = "`" + strings.ReplaceAll(w, "|", `\|`) + "`"
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", i+1, d.what, strings.Join(found, "<br>"))
	}
	text = between(t, text, "differences", b.String())
	b.Reset()
	for i, q := range quiets() {
		fmt.Fprintf(&b, "%d. %s\n", i+1, q.what)
	}
	text = between(t, text, "quiet", b.String())
	b.Reset()
	b.WriteString("| rule | why |\n|---|---|\n")
	for _, r := range noise.Default().List() {
		fmt.Fprintf(&b, "| %s | %s |\n", r.Name, r.Reason)
	}
	text = between(t, text, "rules", b.String())
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(text), 0o644))
		return
	}
	require.Equal(t, text, string(have), "run the test with -update")
}

// between puts content between the page's marks of that name.
func between(t *testing.T, text, name, content string) string {
	t.Helper()
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
	before, rest, ok := strings.Cut(text, begin)
	require.True(t, ok, name)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok, name)
	return before + begin + content + end + after
}
