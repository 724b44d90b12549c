package docpage_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/docpage"
)

func TestHold(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.md")
	const marks = "a\n<!-- one: begin -->\n%<!-- one: end -->\nb\n<!-- two: begin -->\n<!-- two: end -->\n"
	require.NoError(t, os.WriteFile(page, []byte(marks), 0o600))
	docpage.Hold(t, page, true, map[string]string{"one": "1\n", "two": "2\n"})
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, "a\n<!-- one: begin -->\n1\n<!-- one: end -->\nb\n<!-- two: begin -->\n2\n<!-- two: end -->\n", string(text))
	docpage.Hold(t, page, false, map[string]string{"two": "2\n"})
	require.Equal(t, "`a`<br>`b\\|c`", docpage.Codes([]string{"a", "b|c"}))
}
