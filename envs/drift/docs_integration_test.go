//go:build integration

package drift_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/kfdev/kfdev/internal/docpage"
	"github.com/kfdev/kfdev/stack/noise"
)

var update = flag.Bool("update", false, "write the tables into docs/drift.md")

// TestIntegrationTheTablesOfTheDocs: docs/drift.md has the tables of what the
// tests of this package do to an environment. With -update they are written.
func TestIntegrationTheTablesOfTheDocs(t *testing.T) {
	t.Parallel()
	var found, quiet, rules strings.Builder
	found.WriteString("| # | what is done | what is found |\n|---|---|---|\n")
	for i, d := range differences() {
		fmt.Fprintf(&found, "| %d | %s | %s |\n", i+1, d.what, docpage.Codes(d.want))
	}
	for i, q := range quiets() {
		fmt.Fprintf(&quiet, "%d. %s\n", i+1, q.what)
	}
	rules.WriteString("| rule | why |\n|---|---|\n")
	for _, r := range noise.Default().List() {
		fmt.Fprintf(&rules, "| %s | %s |\n", r.Name, r.Reason)
	}
	docpage.Hold(t, "../../docs/drift.md", *update, map[string]string{"differences": found.String(), "quiet": quiet.String(), "rules": rules.String()})
}
