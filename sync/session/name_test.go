package session_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/session"
)

func TestNamesOfAnyBytesAreTold(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"src/train.py": `"src/train.py"`,
		"Straße":       `"Straße"`,
		"caf\xe9.txt":  `{"bytes":"Y2Fm6S50eHQ="}`,
	} {
		data, err := json.Marshal(session.Conflict{Path: session.Name(name)})
		require.NoError(t, err)
		require.Contains(t, string(data), `"path":`+want)
		var back session.Conflict
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, name, string(back.Path))
	}
	var n session.Name
	require.Error(t, json.Unmarshal([]byte(`7`), &n))
	require.Error(t, json.Unmarshal([]byte(`{"bytes": "!"}`), &n))
}
