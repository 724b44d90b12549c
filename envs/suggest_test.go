package envs

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

func TestSuggestedEntriesAreAppended(t *testing.T) {
	t.Parallel()
	path, err := fieldpath.Parse("apps/Deployment/a:b/spec/replicas")
	require.NoError(t, err)
	entries := []difference.Entry{{ID: "replicas", Paths: []fieldpath.Path{path}, Allow: difference.Domain{Type: difference.Integer, Min: "1", Max: "2"}, Values: map[string]any{"a": 1, "b": 2}}}
	text, err := difference.YAML(entries)
	require.NoError(t, err)
	for name, tc := range map[string]struct{ before, after, fails string }{
		"none yet":      {"kind: Project # ours\n", "kind: Project # ours\ndifferences:\n" + indented(text, "  "), ""},
		"more":          {"kind: Project\ndifferences:\n- id: x # keep\n", "kind: Project\ndifferences:\n- id: x # keep\n" + text, ""},
		"indented":      {"differences:\n    - id: x\n", "differences:\n    - id: x\n" + indented(text, "    "), ""},
		"no line end":   {"kind: Project", "kind: Project\ndifferences:\n" + indented(text, "  "), ""},
		"in the middle": {"differences: [{id: x}]\nkind: Project\n", "", "other keys come after"},
		"on one line":   {"kind: Project\ndifferences: [{id: x}]\n", "", "no list with an item on each line"},
		"no mapping":    {"- a\n", "", "no mapping"},
	} {
		got, err := withEntries([]byte(tc.before), entries)
		if tc.fails != "" {
			require.ErrorContains(t, err, tc.fails, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, tc.after, string(got), name)
	}
}
