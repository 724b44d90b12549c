//go:build integration

package collect

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kfdev/kfdev/internal/docpage"
)

var update = flag.Bool("update", false, "write the table into docs/parity.md")

// TestIntegrationTheTableOfTheDocs: docs/parity.md has the table of what the
// tests of this package make different. With -update it is written.
func TestIntegrationTheTableOfTheDocs(t *testing.T) {
	t.Parallel()
	wants := map[string][]string{}
	for name, d := range differences() {
		wants[name] = d.want
	}
	for name, s := range servers() {
		wants[name] = s.want
	}
	names := slices.SortedFunc(maps.Keys(wants), func(a, b string) int { return cmp.Or(slices.Compare(wants[a], wants[b]), cmp.Compare(a, b)) })
	var table strings.Builder
	table.WriteString("| # | what is not the same | what is found |\n|---|---|---|\n")
	for i, name := range names {
		paths := make([]string, len(wants[name]))
		for n, path := range wants[name] {
			paths[n] = "fingerprint/" + path
		}
		fmt.Fprintf(&table, "| %d | %s | %s |\n", i+1, name, docpage.Codes(paths))
	}
	docpage.Hold(t, "../../../docs/parity.md", *update, map[string]string{"differences": table.String()})
}
