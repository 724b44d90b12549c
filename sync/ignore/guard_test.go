package ignore

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/tree"
)

// guarded is a folder that a guard watches over.
type guarded struct {
	*testing.T
	root, file string
	g          *Guard
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	dir := t.TempDir()
	g := &guarded{T: t, root: filepath.Join(dir, "root"), file: filepath.Join(dir, "state", "rules.json")}
	g.open()
	return g
}

func (g *guarded) open() {
	g.Helper()
	var err error
	g.g, err = OpenGuard(g.root, g.file)
	require.NoError(g, err)
}

func (g *guarded) write(path, content string) {
	g.Helper()
	at := filepath.Join(g.root, path)
	require.NoError(g, os.MkdirAll(filepath.Dir(at), 0o755))
	require.NoError(g, os.WriteFile(at, []byte(content), 0o644))
}

// arrives has the other side write a file, or delete it.
func (g *guarded) arrives(path, content string) {
	g.Helper()
	c := tree.Change{Path: path}
	if content != "" {
		c.To = tree.Entry{Kind: tree.File, Size: int64(len(content)), Digest: sha256.Sum256([]byte(content))}
	}
	done, err := g.g.Arriving([]tree.Change{c})
	require.NoError(g, err)
	if content == "" {
		require.NoError(g, os.Remove(filepath.Join(g.root, path)))
	} else {
		g.write(path, content)
	}
	done()
}

// load loads the rules, here and as they cross the wire.
func (g *guarded) load(ignored, not []string) *Rules {
	g.Helper()
	r, err := g.g.Load()
	require.NoError(g, err)
	there, err := Parse(r.Bytes())
	require.NoError(g, err)
	for _, each := range []*Rules{r, there} {
		for _, path := range ignored {
			require.True(g, each.Ignored(path, false), path)
		}
		for _, path := range not {
			require.False(g, each.Ignored(path, false), path)
		}
	}
	return r
}

func TestTheOtherSidesRulesOnlyNarrow(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.write(".gitignore", ".env\n")
	g.write(".env", "secret")
	g.write("sub/.gitignore", "keys\n")
	g.write("sub/keys", "secret")
	require.Zero(t, g.load([]string{".env", "sub/keys"}, []string{"a.log"}).Held())

	g.arrives(".kfdevignore", "*.log\n!.env\n")
	r := g.load([]string{".env", "sub/.env", "a.log"}, []string{"a.py"})
	require.Equal(t, Held{Files: []string{".kfdevignore"}, Paths: []string{".env"}}, r.Held())
	g.arrives("sub/.gitignore", "")
	require.Equal(t, []string{".env", "sub/keys"}, g.load([]string{".env", "sub/keys"}, nil).Held().Paths)
	g.arrives(".gitignore", "")
	g.open() // another session
	r = g.load([]string{".env", "sub/keys", "a.log"}, []string{"a.py"})
	require.Equal(t, []string{".gitignore", ".kfdevignore", "sub/.gitignore"}, r.Held().Files)

	// Whoever edits the file here has the last word, until it arrives from there again.
	g.write(".kfdevignore", "!a.log\n")
	g.load([]string{".env", "sub/keys"}, []string{"a.log"})
	g.arrives(".kfdevignore", "!.env\n!a.log\n")
	g.load([]string{".env", "sub/keys"}, []string{"a.log"})
	g.write(".kfdevignore", "*.log\n!.env\n") // as undo does
	g.load([]string{".env"}, nil)

	r = g.load(nil, nil)
	require.NoError(t, r.Accept())
	require.Zero(t, g.load([]string{"a.log"}, []string{".env", "sub/keys"}).Held())
	g.open()
	require.Zero(t, g.load([]string{"a.log"}, []string{".env", "sub/keys"}).Held())
	g.arrives(".kfdevignore", "!x.swp\n")
	g.load([]string{"a.log"}, []string{".env"})
}

func TestWhatIsNotAcceptedIsNotWhatWasSeen(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.write(".gitignore", "a\nb\n")
	g.write("a", "")
	g.write("b", "")
	g.arrives(".gitignore", "b\n")
	seen := g.load([]string{"a", "b"}, nil)
	g.arrives(".gitignore", "c\n")
	require.NoError(t, seen.Accept())
	g.load([]string{"a", "b", "c"}, nil)
}

func TestAChangeThatIsUnderWayHasNoRulesYet(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.write(".gitignore", "a\n")
	done, err := g.g.Arriving([]tree.Change{{Path: ".gitignore", To: tree.Entry{Kind: tree.File}}})
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(g.root, ".gitignore")))
	g.load([]string{"a"}, nil)
	done()
}

func TestADamagedRecordIsNotPassedOver(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rules.json")
	for _, bad := range []string{"x", "[]", `{"a.py":{}}`, `{".gitignore":null}`, `{"../.gitignore":{}}`} {
		require.NoError(t, os.WriteFile(file, []byte(bad), 0o600))
		_, err := OpenGuard(t.TempDir(), file)
		require.Error(t, err, bad)
	}
}

func FuzzKept(f *testing.F) {
	f.Add([]byte(`{".gitignore":{"before":"eA==","said":["-"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := decodeKept(b)
		if err != nil {
			return
		}
		for path, k := range all {
			require.True(t, k != nil && IsRuleFile(path))
		}
	})
}
