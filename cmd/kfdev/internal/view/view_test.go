package view_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/cmd/kfdev/internal/view"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

func TestResult(t *testing.T) {
	t.Parallel()
	value := map[string]any{"name": "a<b", "size": 1}
	text := func(w io.Writer) error { _, err := fmt.Fprintln(w, "a table"); return err }
	for format, want := range map[view.Format]string{
		view.Text: "a table\n",
		view.JSON: "{\n  \"name\": \"a<b\",\n  \"size\": 1\n}\n",
		view.YAML: "name: a<b\nsize: 1\n",
	} {
		var out bytes.Buffer
		require.NoError(t, view.Result(&out, format, value, text))
		require.Equal(t, want, out.String())
	}
	require.Error(t, view.Result(io.Discard, view.JSON, func() {}, text))
	require.Error(t, view.Result(io.Discard, view.YAML, func() {}, text))
}

func TestItemsComeOneAfterTheOther(t *testing.T) {
	t.Parallel()
	text := func(w io.Writer) error { _, err := fmt.Fprintln(w, "a line"); return err }
	for format, want := range map[view.Format]string{
		view.Text: "a line\na line\n",
		view.JSON: "{\"pod\":\"a\",\"text\":\"<\"}\n{\"pod\":\"a\",\"text\":\"<\"}\n",
		view.YAML: "---\npod: a\ntext: <\n---\npod: a\ntext: <\n",
	} {
		var out bytes.Buffer
		for range 2 {
			require.NoError(t, view.Item(&out, format, map[string]string{"pod": "a", "text": "<"}, text))
		}
		require.Equal(t, want, out.String())
	}
}

func problems(n int) error {
	var all strictyaml.Problems
	for i := range n {
		all = append(all, strictyaml.Problem{File: "kfdev.yaml", Line: i + 1, Column: 3, Text: "wrong"})
	}
	return &fault.Error{Op: "reading the project", Kind: fault.Usage, Hint: "see kfdev schema", Err: all.Err()}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"plain":       {errors.New("boom"), "error: boom\n"},
		"hints":       {&fault.Error{Op: "going up", Hint: "outer", Err: &fault.Error{Op: "pulling", Hint: "inner", Err: errors.New("no")}}, "error: going up: pulling: no\nhint: outer\nhint: inner\n"},
		"one problem": {problems(1), "error: reading the project: kfdev.yaml:1:3: wrong\nhint: see kfdev schema\n"},
		"problems":    {problems(2), "error: reading the project: 2 problems\nkfdev.yaml:1:3: wrong\nkfdev.yaml:2:3: wrong\nhint: see kfdev schema\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			require.NoError(t, view.ErrorText(&out, tc.err))
			require.Equal(t, tc.want, out.String())
		})
	}
}

func TestErrorForPrograms(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := problems(2)
	require.NoError(t, view.ErrorEvent(&out, err, fault.ExitCode(err)))
	require.Equal(t, 1, strings.Count(out.String(), "\n"), "one object on one line")
	var f view.Failure
	require.NoError(t, json.Unmarshal(out.Bytes(), &f))
	require.Equal(t, "error", f.State)
	require.False(t, f.Time.IsZero())
	require.Equal(t, err.Error(), f.Error)
	require.Equal(t, "usage", f.Kind)
	require.Equal(t, 2, f.ExitCode)
	require.Equal(t, []string{"see kfdev schema"}, f.Hints)
	require.Len(t, f.Problems, 2)
	require.Equal(t, 2, f.Problems[1].Line)
}

func TestEveryExitCodeHasAName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for kind := fault.Failure; kind <= fault.Canceled; kind++ {
		err := &fault.Error{Kind: kind}
		var out bytes.Buffer
		require.NoError(t, view.ErrorEvent(&out, err, fault.ExitCode(err)))
		var got view.Failure
		require.NoError(t, json.Unmarshal(out.Bytes(), &got))
		require.False(t, seen[got.Kind], got.Kind)
		seen[got.Kind] = true
	}
}

func TestParseFormat(t *testing.T) {
	t.Parallel()
	f, err := view.ParseFormat("yaml")
	require.NoError(t, err)
	require.Equal(t, view.YAML, f)
	_, err = view.ParseFormat("toml")
	require.Error(t, err)
}
