package debtest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Archive is a signed Debian archive in a folder, which apt reads through a
// file: source. Its packages can be exchanged, as Debian exchanges its own.
type Archive struct {
	t     testing.TB
	root  string
	suite string
	key   key
}

// NewArchive makes an empty signed archive of a suite, with a key of its own.
func NewArchive(tb testing.TB, suite string) *Archive {
	tb.Helper()
	a := &Archive{t: tb, root: tb.TempDir(), suite: suite, key: newKey(tb)}
	require.NoError(tb, os.WriteFile(filepath.Join(a.root, "key.gpg"), a.key.public(tb), 0o644))
	a.Publish()
	return a
}

// Publish makes the archive hold exactly these packages; what it held before
// is gone, as superseded versions are.
func (a *Archive) Publish(packages ...Package) {
	a.t.Helper()
	pool := filepath.Join(a.root, "pool")
	require.NoError(a.t, os.RemoveAll(pool))
	require.NoError(a.t, os.MkdirAll(pool, 0o755))
	var index bytes.Buffer
	for _, p := range packages {
		content := Build(a.t, p)
		name := fmt.Sprintf("%s_%s_amd64.deb", p.Name, p.Version)
		require.NoError(a.t, os.WriteFile(filepath.Join(pool, name), content, 0o644))
		fmt.Fprintf(&index, "%sFilename: pool/%s\nSize: %d\nSHA256: %x\n\n", p.Control(), name, len(content), sha256.Sum256(content))
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := w.Write(index.Bytes())
	require.NoError(a.t, err)
	require.NoError(a.t, w.Close())

	dist := filepath.Join(a.root, "dists", a.suite)
	files := map[string][]byte{
		"main/binary-amd64/Packages":    index.Bytes(),
		"main/binary-amd64/Packages.gz": zipped.Bytes(),
	}
	release := fmt.Sprintf("Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: %s\nDate: %s\nArchitectures: amd64\nComponents: main\nSHA256:\n",
		a.suite, time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	for _, name := range []string{"main/binary-amd64/Packages", "main/binary-amd64/Packages.gz"} {
		path := filepath.Join(dist, name)
		require.NoError(a.t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(a.t, os.WriteFile(path, files[name], 0o644))
		release += fmt.Sprintf(" %x %d %s\n", sha256.Sum256(files[name]), len(files[name]), name)
	}
	require.NoError(a.t, os.WriteFile(filepath.Join(dist, "InRelease"), a.key.clearsign(a.t, release), 0o644))
}

// Tamper changes the index without signing it anew.
func (a *Archive) Tamper() {
	a.t.Helper()
	path := filepath.Join(a.root, "dists", a.suite, "InRelease")
	text, err := os.ReadFile(path)
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(path, bytes.Replace(text, []byte("Label: Debian"), []byte("Label: debian"), 1), 0o644))
}

// Remove takes a package's file away and leaves the index, as an archive that
// is being updated does for a moment.
func (a *Archive) Remove(name, version string) {
	a.t.Helper()
	require.NoError(a.t, os.Remove(filepath.Join(a.root, "pool", fmt.Sprintf("%s_%s_amd64.deb", name, version))))
}

// Config is apt configuration that makes this archive the only source.
func (a *Archive) Config() string {
	a.t.Helper()
	list := filepath.Join(a.root, "sources.list")
	line := fmt.Sprintf("deb [signed-by=%s] file:%s %s main\n", filepath.Join(a.root, "key.gpg"), a.root, a.suite)
	require.NoError(a.t, os.WriteFile(list, []byte(line), 0o644))
	return fmt.Sprintf("Dir::Etc::sourcelist %q;\nDir::Etc::sourceparts %q;\n", list, filepath.Join(a.root, "none.d"))
}
