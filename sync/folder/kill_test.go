package folder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/tree"
)

// killVariable names the folder that a child of this test works in, until it is
// killed.
const killVariable = "KFDEV_TEST_KILLED_IN"

const killedFiles = 24

func killedPath(i int) string { return fmt.Sprintf("d%d/f%02d", i%3, i) }

// versionOf is a file's content at a version: a half one shows.
func versionOf(i, version int) []byte {
	line := fmt.Sprintf("file %d at version %d\n", i, version)
	return []byte(strings.Repeat(line, 200+i*20))
}

// parseVersion reads it back; false where it is no whole one.
func parseVersion(i int, data []byte) (int, bool) {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	version, err := strconv.Atoi(strings.TrimPrefix(string(line), fmt.Sprintf("file %d at version ", i)))
	return version, err == nil && bytes.Equal(data, versionOf(i, version))
}

// TestKilledChild is no test: it is what TestKilledAtAnyTime kills. It brings
// all files to the next version, again and again.
func TestKilledChild(t *testing.T) {
	root := os.Getenv(killVariable)
	if root == "" {
		t.Skip("it runs as a child of TestKilledAtAnyTime")
	}
	f := openStill(t, Options{Root: root})
	fmt.Println("applying") //nolint:forbidigo // the parent waits for it
	for {
		bringAll(t, f)
	}
}

// bringAll brings every file one version further, in one batch.
func bringAll(t *testing.T, f *Folder) int {
	t.Helper()
	from := endpointtest.NewMemory()
	var changes []tree.Change
	next := 0
	for i := range killedFiles {
		c := tree.Change{Path: killedPath(i), From: f.entry(killedPath(i))}
		version := 0
		if c.From.Kind == tree.File {
			data, err := os.ReadFile(f.o.Root + "/" + c.Path)
			require.NoError(t, err)
			var ok bool
			version, ok = parseVersion(i, data)
			require.True(t, ok)
		}
		next = version + 1
		data := versionOf(i, next)
		from.Write(t, c.Path, data, false)
		c.To = endpointtest.FileEntry(data, false)
		if parent := tree.Parent(c.Path); f.entry(parent).Kind != tree.Dir && i < 3 {
			changes = append(changes, tree.Change{Path: parent, To: tree.Entry{Kind: tree.Dir}})
		}
		changes = append(changes, c)
	}
	outcomes, err := f.Apply(t.Context(), changes, from)
	require.NoError(t, err)
	for i, o := range outcomes {
		require.NoError(t, o.Err, changes[i].Path)
	}
	return next
}

// A process that is killed, really and at any time, leaves every file whole: at
// one version or the next. Whoever comes after it goes on from there.
func TestKilledAtAnyTime(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	budget := 4 * time.Second
	if long, err := time.ParseDuration(os.Getenv("KFDEV_LONG")); err == nil {
		budget = long
	}
	kills, last, seen := 0, 0, map[int]bool{}
	for end := time.Now().Add(budget); time.Now().Before(end); kills++ {
		killChild(t, root)
		last = max(last, wholeFiles(t, root, seen))
	}
	require.Positive(t, last, "no child came to anything")
	f := openStill(t, Options{Root: root})
	bringAll(t, f)
	f.closeFor(t)
	wholeFiles(t, root, seen)
	require.Len(t, seen, killedFiles)
	t.Logf("%d kills, %d versions", kills, last)
}

func killChild(t *testing.T, root string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilledChild$") //nolint:gosec // this test itself
	cmd.Env = append(os.Environ(), killVariable+"="+root)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines, said := bufio.NewScanner(out), ""
	for lines.Scan() && lines.Text() != "applying" {
		said += lines.Text() + "\n"
	}
	timer := time.NewTimer(time.Duration(rand.IntN(40_000)) * time.Microsecond) //nolint:gosec // when does not matter
	<-timer.C
	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL), said)
	for lines.Scan() {
		said += lines.Text() + "\n"
	}
	err = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "%v\n%s", err, said)
}

// wholeFiles checks that every file is whole, and that none is gone that was
// there before; it returns the latest version.
func wholeFiles(t *testing.T, root string, seen map[int]bool) int {
	t.Helper()
	last := 0
	for i := range killedFiles {
		data, err := os.ReadFile(root + "/" + killedPath(i))
		if errors.Is(err, fs.ErrNotExist) {
			require.False(t, seen[i], "%s is gone", killedPath(i))
			continue
		}
		seen[i] = true
		require.NoError(t, err)
		version, ok := parseVersion(i, data)
		require.True(t, ok, "%s is half written: %.80q of %d bytes", killedPath(i), data, len(data))
		last = max(last, version)
	}
	return last
}
