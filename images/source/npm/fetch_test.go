package npm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// fakeNpm makes this test's own program stand for npm: its value is the folder
// that packages come from, as name@version with + for /.
const fakeNpm = "KFDEV_TEST_FAKE_NPM"

func TestMain(m *testing.M) {
	if registry := os.Getenv(fakeNpm); registry != "" {
		os.Exit(npm(registry, os.Args[1:])) //nolint:forbidigo // here it is main
	}
	goleak.VerifyTestMain(m)
}

// npm does what npm pack does, as far as these tests need it.
func npm(registry string, args []string) int {
	i := slices.Index(args, "--pack-destination")
	if len(args) < 4 || args[0] != "pack" || i < 0 || !slices.Contains(args, "--ignore-scripts") {
		fmt.Fprintln(os.Stderr, "unexpected", args)
		return 2
	}
	if _, err := os.Stat(filepath.Join(registry, "hang")); err == nil {
		_ = os.WriteFile(filepath.Join(registry, "hanging"), nil, 0o600)
		<-time.After(time.Minute)
	}
	for _, spec := range args[i+2:] {
		data, err := os.ReadFile(filepath.Join(registry, strings.ReplaceAll(spec, "/", "+")))
		if err != nil {
			fmt.Fprintln(os.Stderr, "npm error 404 no such package", spec)
			return 1
		}
		name := strings.NewReplacer("/", "-").Replace(strings.TrimPrefix(spec, "@"))
		at := strings.LastIndex(name, "@")
		if err := os.WriteFile(filepath.Join(args[i+1], name[:at]+"-"+name[at+1:]+".tgz"), data, 0o600); err != nil {
			return 1
		}
	}
	return 0
}

func registryOf(t *testing.T, packages map[string][]byte) (string, Client) {
	t.Helper()
	registry := t.TempDir()
	for spec, data := range packages {
		require.NoError(t, os.WriteFile(filepath.Join(registry, strings.ReplaceAll(spec, "/", "+")), data, 0o600))
	}
	return registry, Client{Command: []string{"env", fakeNpm + "=" + registry, os.Args[0]}}
}

func TestFetchBringsWhatIsMissing(t *testing.T) {
	t.Parallel()
	packages := map[string][]byte{}
	var inputs []recipe.Input
	add := func(name string) {
		data := tgz(t, "package/", map[string]string{"package.json": name})
		packages[name+"@1.0.0"] = data
		inputs = append(inputs, recipe.Input{Kind: Kind, Name: name, Version: "1.0.0", Hash: integrity(data)})
	}
	for i := range 30 {
		add(fmt.Sprintf("p%d", i))
	}
	add("@a/b")
	add("a-b") // npm gives both one file name
	_, client := registryOf(t, packages)
	s := newStore(t, packages["p0@1.0.0"])
	scratch := t.TempDir()
	var rec progress.Recorder
	spec := specOf(nil)
	require.NoError(t, New(s, client, scratch, &rec).Fetch(t.Context(), spec, inputs))
	events := rec.Events()
	require.EqualValues(t, 31, events[len(events)-1].Done)
	for _, input := range inputs {
		there, err := s.Has(t.Context(), input.Hash)
		require.NoError(t, err)
		require.True(t, there, input.Name)
	}
	left, err := os.ReadDir(scratch)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, New(s, Client{Command: []string{"/nonexistent"}}, scratch, &rec).Fetch(t.Context(), spec, inputs))
}

func TestFetchRefusesOtherContent(t *testing.T) {
	t.Parallel()
	_, client := registryOf(t, map[string][]byte{"a@1.0.0": []byte("other")})
	err := New(newStore(t), client, t.TempDir(), progress.Discard).Fetch(t.Context(), specOf(nil),
		[]recipe.Input{{Kind: Kind, Name: "a", Version: "1.0.0", Hash: integrity([]byte("locked"))}})
	require.ErrorContains(t, err, "a@1.0.0: npm brought none with the locked integrity")
}

func TestFetchTellsWhatNpmSaid(t *testing.T) {
	t.Parallel()
	_, client := registryOf(t, nil)
	inputs := []recipe.Input{{Kind: Kind, Name: "a", Version: "1.0.0", Hash: integrity(nil)}}
	err := New(newStore(t), client, t.TempDir(), progress.Discard).Fetch(t.Context(), specOf(nil), inputs)
	require.ErrorContains(t, err, "404 no such package a@1.0.0")
	entries := three(t)
	spec := specOf(lockOf(t, entries...))
	without := Client{Command: []string{"/nonexistent/npm"}}
	m := New(newStore(t), without, t.TempDir(), progress.Discard)
	require.Equal(t, 4, fault.ExitCode(m.Fetch(t.Context(), spec, inputs)))
	require.Equal(t, 4, fault.ExitCode(m.Check(t.Context(), spec)))
	m = New(newStore(t, contentsOf(entries)...), without, t.TempDir(), progress.Discard)
	require.NoError(t, m.Check(t.Context(), spec), "nothing is missing")
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	registry, client := registryOf(t, map[string][]byte{"hang": nil})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(registry, "hanging")); err == nil {
				cancel()
			}
		}
	}()
	err := New(newStore(t), client, t.TempDir(), progress.Discard).Fetch(ctx, specOf(nil),
		[]recipe.Input{{Kind: Kind, Name: "a", Version: "1.0.0", Hash: integrity(nil)}})
	require.ErrorIs(t, err, context.Canceled)
}
