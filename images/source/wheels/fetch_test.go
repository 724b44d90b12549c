package wheels

import (
	"bufio"
	"context"
	"errors"
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

// fakePip makes this test's own program stand for pip: its value is the folder
// that wheels come from, under their file names.
const fakePip = "KFDEV_TEST_FAKE_PIP"

func TestMain(m *testing.M) {
	if index := os.Getenv(fakePip); index != "" {
		os.Exit(pip(index, os.Args[1:])) //nolint:forbidigo // here it is main
	}
	goleak.VerifyTestMain(m)
}

// pip does what pip download does with requirements that are pinned by hash,
// as far as these tests need it.
func pip(index string, args []string) int {
	if slices.Contains(args, "--version") {
		_, _ = os.Stdout.WriteString("pip 23.0.1 from somewhere (python 3.11)\n")
		return 0
	}
	value := func(name string) string {
		if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
			return args[i+1]
		}
		return ""
	}
	for _, must := range []string{"download", "--no-deps", "--require-hashes", "--only-binary"} {
		if !slices.Contains(args, must) {
			fmt.Fprintln(os.Stderr, "missing", must)
			return 2
		}
	}
	if _, err := os.Stat(filepath.Join(index, "hang")); err == nil {
		_ = os.WriteFile(filepath.Join(os.Getenv("TMPDIR"), "half.whl"), make([]byte, 100), 0o600)
		_ = os.WriteFile(filepath.Join(index, "hanging"), nil, 0o600)
		<-time.After(time.Minute)
	}
	list, err := os.Open(value("--requirement"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for lines := bufio.NewScanner(list); lines.Scan(); {
		requirement, _, _ := strings.Cut(lines.Text(), " ")
		name, version, _ := strings.Cut(requirement, "==")
		found, _ := filepath.Glob(filepath.Join(index, "*-"+version+"-*.whl"))
		found = slices.DeleteFunc(found, func(file string) bool {
			parsed, err := ParseFilename(filepath.Base(file))
			return err != nil || parsed.Distribution != name
		})
		if len(found) == 0 {
			fmt.Fprintf(os.Stderr, "ERROR: No matching distribution found for %s\n", requirement)
			return 1
		}
		data, err := os.ReadFile(found[0])
		if err == nil {
			err = os.WriteFile(filepath.Join(value("--dest"), filepath.Base(found[0])), data, 0o600)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		log, err := os.OpenFile(filepath.Join(index, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 1
		}
		_, _ = fmt.Fprintln(log, lines.Text())
		_ = log.Close()
	}
	return 0
}

// indexOf writes wheels into a folder for the fake pip, and returns it with the client.
func indexOf(t *testing.T, wheels ...built) (string, Client) {
	t.Helper()
	index := t.TempDir()
	for _, w := range wheels {
		require.NoError(t, os.WriteFile(filepath.Join(index, w.File), w.data, 0o600))
	}
	return index, Client{Commands: [][]string{{"/nonexistent/pip"}, {"false"}, {"env", fakePip + "=" + index, os.Args[0]}}}
}

func asked(t *testing.T, index string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(index, "log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func TestFetchBringsWhatIsMissingAndNoMore(t *testing.T) {
	t.Parallel()
	var wheels []built
	for i := range 40 {
		wheels = append(wheels, build(t, fmt.Sprintf("pkg-%02d", i), "1"))
	}
	index, client := indexOf(t, wheels...)
	s := newStore(t, wheels[0])
	scratch := filepath.Join(t.TempDir(), "scratch")
	var rec progress.Recorder
	m := New(s, client, scratch, &rec)
	spec := specOf(wheels...)
	inputs, err := m.Pin(t.Context(), spec, nil)
	require.NoError(t, err)
	require.NoError(t, m.Fetch(t.Context(), spec, inputs))
	require.Len(t, asked(t, index), 39)
	require.NotContains(t, asked(t, index), "pkg-00")
	for _, w := range wheels {
		there, err := s.Has(t.Context(), w.input().Hash)
		require.NoError(t, err)
		require.True(t, there, w.File)
	}
	events := rec.Events()
	last := events[len(events)-1]
	require.Equal(t, progress.Done, last.State)
	require.Equal(t, totalSize(inputs[1:]), last.Total)
	require.Equal(t, last.Total, last.Done)
	left, err := os.ReadDir(scratch)
	require.NoError(t, err)
	require.Empty(t, left)

	// The second time nothing is run at all.
	m = New(s, Client{}, scratch, &rec)
	require.NoError(t, m.Fetch(t.Context(), spec, inputs))
	events = rec.Events()
	require.Equal(t, progress.Skipped, events[len(events)-1].State)
	_, err = m.Tree(t.Context(), spec, inputs)
	require.NoError(t, err)
}

func TestFetchAsksByHash(t *testing.T) {
	t.Parallel()
	w := example(t)
	index, client := indexOf(t, w)
	m := New(newStore(t), client, t.TempDir(), progress.Discard)
	spec := specOf(w)
	require.NoError(t, m.Fetch(t.Context(), spec, []recipe.Input{w.input()}))
	require.Equal(t, []string{"ex-ample==1.0 --hash=sha256:" + w.SHA256}, asked(t, index))
}

func TestFetchRefusesOtherContent(t *testing.T) {
	t.Parallel()
	w := example(t)
	index, client := indexOf(t, w)
	s := newStore(t)
	m := New(s, client, t.TempDir(), progress.Discard)
	require.NoError(t, os.WriteFile(filepath.Join(index, w.File), []byte("something else"), 0o600))
	require.ErrorContains(t, m.Fetch(t.Context(), specOf(w), []recipe.Input{w.input()}), w.File)
	there, err := s.Has(t.Context(), w.input().Hash)
	require.NoError(t, err)
	require.False(t, there)

	// A file of another name that pip finds to fit is not the one locked.
	require.NoError(t, os.Rename(filepath.Join(index, w.File), filepath.Join(index, "ex_ample-1.0-py2.py3-none-any.whl")))
	err = m.Fetch(t.Context(), specOf(w), []recipe.Input{w.input()})
	require.Equal(t, 5, fault.ExitCode(err))
}

func TestFetchTellsWhatPipSaid(t *testing.T) {
	t.Parallel()
	w := example(t)
	_, client := indexOf(t)
	err := New(newStore(t), client, t.TempDir(), progress.Discard).Fetch(t.Context(), specOf(w), []recipe.Input{w.input()})
	require.ErrorContains(t, err, "No matching distribution found for ex-ample==1.0")
	require.Contains(t, fault.Hint(err)[0], "ex-ample==1.0")
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := example(t)
	index, client := indexOf(t, w)
	require.NoError(t, os.WriteFile(filepath.Join(index, "hang"), nil, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(index, "hanging")); err == nil {
				cancel()
			}
		}
	}()
	scratch := t.TempDir()
	err := New(newStore(t), client, scratch, progress.Discard).Fetch(ctx, specOf(w), []recipe.Input{w.input()})
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(scratch)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestFetchWithoutPip(t *testing.T) {
	t.Parallel()
	w := example(t)
	client := Client{
		Commands:  [][]string{{"/nonexistent/pip"}, {"echo", "pip 9.0.1 from somewhere"}, {"echo", "not pip"}},
		Bootstrap: func(context.Context, string) ([]string, error) { return nil, errors.New("no venv") },
	}
	m := New(newStore(t), client, t.TempDir(), progress.Discard)
	for _, err := range []error{m.Check(t.Context(), specOf(w)), m.Fetch(t.Context(), specOf(w), []recipe.Input{w.input()})} {
		require.Equal(t, 4, fault.ExitCode(err))
		require.Contains(t, fault.Hint(err)[0], "apt-get install python3-pip")
	}
	m = New(newStore(t, w), client, t.TempDir(), progress.Discard)
	require.NoError(t, m.Check(t.Context(), specOf(w)), "nothing is missing")
}

func TestFetchBootstrapsPip(t *testing.T) {
	t.Parallel()
	w := example(t)
	index, client := indexOf(t, w)
	command := client.Commands[2]
	client = Client{Bootstrap: func(_ context.Context, folder string) ([]string, error) {
		require.NoError(t, os.MkdirAll(folder, 0o755))
		return command, nil
	}}
	require.NoError(t, New(newStore(t), client, t.TempDir(), progress.Discard).Fetch(t.Context(), specOf(w), []recipe.Input{w.input()}))
	require.Len(t, asked(t, index), 1)
}

func TestBatchesHoldEverythingOnceAndStaySmall(t *testing.T) {
	t.Parallel()
	var inputs []recipe.Input
	for i := range 50 {
		inputs = append(inputs, recipe.Input{Name: fmt.Sprint(i), Size: int64(i) << 20})
	}
	seen := map[string]bool{}
	for i, batch := range batches(inputs) {
		require.LessOrEqual(t, len(batch), batchFiles)
		if len(batch) > 1 {
			require.LessOrEqual(t, totalSize(batch), int64(batchBytes))
		}
		if i == 0 {
			require.Equal(t, "49", batch[0].Name)
		}
		for _, each := range batch {
			require.False(t, seen[each.Name])
			seen[each.Name] = true
		}
	}
	require.Len(t, seen, 50)
}
