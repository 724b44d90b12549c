package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEditedNamesTheFileOfTheCommandLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args    []string
		file    string
		process bool
	}{
		{args: []string{"--root", "/r", "create", "--bundle", "/b", "--pid-file", "p", "id"}, file: "/b/config.json"},
		{args: []string{"run", "-b", "/b", "id"}, file: "/b/config.json"},
		{args: []string{"create", "--bundle=/b", "id"}, file: "/b/config.json"},
		{args: []string{"create", "id"}, file: "config.json"},
		{args: []string{"--log", "l", "exec", "--process", "/p.json", "--detach", "id"}, file: "/p.json", process: true},
		{args: []string{"state", "id"}},
		{args: []string{"delete", "--force", "id"}},
	} {
		file, process := edited(test.args)
		require.Equal(t, test.file, file, test.args)
		require.Equal(t, test.process, process, test.args)
	}
}

func TestDropTakesOutOneCapabilityAndNothingElse(t *testing.T) {
	t.Parallel()
	config := `{"ociVersion":"1.0.2","process":{"args":["x"],"noNewPrivileges":false,"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"]}},"mounts":[{"destination":"/proc"}],"unknown":1.50}`
	out, changed, err := drop([]byte(config), false)
	require.NoError(t, err)
	require.True(t, changed)
	require.JSONEq(t, `{"ociVersion":"1.0.2","process":{"args":["x"],"noNewPrivileges":false,"capabilities":{"bounding":["CAP_CHOWN"],"effective":[]}},"mounts":[{"destination":"/proc"}],"unknown":1.50}`, string(out))

	out, changed, err = drop([]byte(`{"args":["y"],"capabilities":{"permitted":["CAP_SYS_RESOURCE","CAP_KILL"]}}`), true)
	require.NoError(t, err)
	require.True(t, changed)
	require.JSONEq(t, `{"args":["y"],"capabilities":{"permitted":["CAP_KILL"]}}`, string(out))
}

func TestDropLeavesWhatDoesNotAskForIt(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{`{}`, `{"process":{}}`, `{"process":{"capabilities":{"bounding":["CAP_CHOWN"]}}}`} {
		out, changed, err := drop([]byte(doc), false)
		require.NoError(t, err)
		require.False(t, changed)
		require.Equal(t, doc, string(out), "the bytes are the same, also in their spelling")
	}
	_, _, err := drop([]byte(`{"process":[]}`), false)
	require.Error(t, err)
}

func TestEditRewritesTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"process":{"capabilities":{"bounding":["CAP_SYS_RESOURCE"]}}}`), 0o600))
	require.NoError(t, edit(file, false))
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(raw), capability)
	require.Error(t, edit(filepath.Join(t.TempDir(), "missing"), false))
}

func FuzzDrop(f *testing.F) {
	f.Add([]byte(`{"process":{"capabilities":{"bounding":["CAP_SYS_RESOURCE"]}}}`), false)
	f.Add([]byte(`{"capabilities":{"bounding":["CAP_SYS_RESOURCE"]}}`), true)
	f.Add([]byte(`null`), false)
	f.Fuzz(func(t *testing.T, raw []byte, process bool) {
		out, changed, err := drop(raw, process)
		if err != nil || !changed {
			return
		}
		require.True(t, json.Valid(out))
		_, again, err := drop(out, process)
		require.NoError(t, err)
		require.False(t, again, "what was dropped is gone")
	})
}
