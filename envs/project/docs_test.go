package project_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/envs/project"
)

// examples reads the parts of a project file that a page shows.
func examples(t *testing.T, page string, want int) []*project.File {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	require.NoError(t, err)
	shown := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllSubmatch(text, -1)
	require.Len(t, shown, want)
	var all []*project.File
	for _, example := range shown {
		file := append([]byte(head), example[1]...)
		f, err := project.Parse("kfdev.yaml", file)
		require.NoError(t, err)
		require.NoError(t, bySchema(t, file))
		all = append(all, f)
	}
	return all
}

// What the documentation shows is what the decoder and the schema take.
func TestTheExamplesOfTheDocumentation(t *testing.T) {
	t.Parallel()
	entries := examples(t, "differences.md", 3)
	require.NotEmpty(t, entries[0].Differences)
	require.NotEmpty(t, entries[1].Differences)
	require.Len(t, entries[2].Fingerprint, 2)
	require.Len(t, examples(t, "promotion.md", 1)[0].Environments.Others["prod"].Secrets, 2)
	teams := examples(t, "profiles.md", 2)
	require.Len(t, teams[0].Profiles, 1)
	require.Len(t, teams[1].Differences, 2)
	text, err := os.ReadFile("../../docs/differences.md")
	require.NoError(t, err)
	for name, rule := range fingerprint.DefaultRules() {
		require.Contains(t, string(text), fmt.Sprintf("| `%s` | %s | %s |", name, rule.Compare, rule.Why))
	}
	paths := regexp.MustCompile("(?m)^\\| [^|]+ \\| `([a-z0-9.]+/[^`]+)` \\|$").FindAllSubmatch(text, -1)
	require.Len(t, paths, 9)
	for _, path := range paths {
		_, err := fieldpath.Parse(string(path[1]))
		require.NoError(t, err, "%s", path[1])
	}
}
