package project_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/project"
)

// What docs/differences.md shows is what the decoder and the schema take.
func TestTheExamplesOfTheDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/differences.md")
	require.NoError(t, err)
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	require.Len(t, examples, 2)
	for _, example := range examples {
		file := append([]byte(head), example[1]...)
		f, err := project.Parse("kfdev.yaml", file)
		require.NoError(t, err)
		require.NotEmpty(t, f.Differences)
		require.NoError(t, bySchema(t, file))
	}
	paths := regexp.MustCompile("(?m)^\\| [^|]+ \\| `([a-z0-9.]+/[^`]+)` \\|$").FindAllSubmatch(text, -1)
	require.Len(t, paths, 9)
	for _, path := range paths {
		_, err := fieldpath.Parse(string(path[1]))
		require.NoError(t, err, "%s", path[1])
	}
}
