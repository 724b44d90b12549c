package ignore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
)

func write(tb testing.TB, path, content string) {
	tb.Helper()
	require.NoError(tb, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(tb, os.WriteFile(path, []byte(content), 0o644))
}

// rules loads, and reads what was loaded from its stored form, as the other side
// does.
func rules(tb testing.TB, root string) *Rules {
	tb.Helper()
	loaded, err := Load(root)
	require.NoError(tb, err)
	r, err := Parse(loaded.Bytes())
	require.NoError(tb, err)
	require.Equal(tb, loaded.Bytes(), r.Bytes())
	return r
}

// check asks about paths; one with a slash at its end is a folder.
func check(t *testing.T, r *Rules, want map[string]bool) {
	t.Helper()
	for path, ignored := range want {
		p, dir := strings.CutSuffix(path, "/")
		require.Equal(t, ignored, r.Ignored(p, dir), path)
	}
}

func TestDefaults(t *testing.T) {
	alone(t)
	check(t, rules(t, t.TempDir()), map[string]bool{
		"":                                     false,
		"main.py":                              false,
		".git/":                                true,
		".git":                                 true,
		"a/.git/config":                        true,
		".gitignore":                           false,
		".github/":                             false,
		"a/__pycache__/x.py":                   true,
		"__pycache__":                          false, // a file
		"x.pyc":                                true,
		".ipynb_checkpoints/a.ipynb":           true,
		".jupyter_ystore.db":                   true,
		".jupyter_ystore.db-wal":               true,
		".jupyter/":                            false,
		".jupyter/collaboration_sessions.json": true,
		".local/share/x":                       true,
		".cache/pip":                           true,
		".kfdev-sync/":                         true,
		"a/.x.swp":                             true,
		"a/.x.swo":                             true,
		"x.swp":                                false,
		"x~":                                   true,
		".#x":                                  true,
		"4913":                                 true,
		".~x.ipynb":                            true,
		".DS_Store":                            true,
	})
}

func TestOwnRulesComeLast(t *testing.T) {
	alone(t)
	root := t.TempDir()
	write(t, root+"/.gitignore", "*.bin\ndata/\nbuild\n")
	write(t, root+"/sub/.gitignore", "keep.bin\nown.txt\n")
	write(t, root+"/.kfdevignore", "!keep.bin\n!data/\n!.cache/\nsecret\n")
	write(t, root+"/sub/.kfdevignore", "!secret\n")
	check(t, rules(t, root), map[string]bool{
		"x.bin":        true,
		"keep.bin":     false,
		"sub/keep.bin": false, // though the deeper .gitignore ignores it
		"sub/own.txt":  true,
		"own.txt":      false,
		"data/":        false,
		"data/x":       false,
		"build/x":      true,
		"secret":       true,
		"sub/secret":   false,
		".cache/x":     false,
	})
}

func TestRulesInIgnoredFoldersDoNotCount(t *testing.T) {
	alone(t)
	root := t.TempDir()
	write(t, root+"/.gitignore", "out/\n")
	write(t, root+"/out/.kfdevignore", "!*\n")
	r := rules(t, root)
	check(t, r, map[string]bool{"out/x": true})
	require.Len(t, r.lists, 2)
}

func TestReservedNamesStayIgnored(t *testing.T) {
	alone(t)
	root := t.TempDir()
	write(t, root+"/.kfdevignore", "!.git\n!*\n!.kfdev-sync/\n!/a/.GIT/config\n!.gitignore\n")
	loaded, err := Load(root)
	require.NoError(t, err)
	require.Equal(t, []string{
		`"!.git" in .kfdevignore has no effect: .git and .kfdev-sync are never synced`,
		`"!.kfdev-sync/" in .kfdevignore has no effect: .git and .kfdev-sync are never synced`,
		`"!/a/.GIT/config" in .kfdevignore has no effect: .git and .kfdev-sync are never synced`,
	}, loaded.Notes())
	for _, r := range []*Rules{rules(t, root), {}} {
		check(t, r, map[string]bool{
			".git/":               true,
			".GIT/":               true,
			"a/.Git/hooks/x":      true,
			".g\u200cit/config":   true,
			"\u200c.git/config":   true,
			"\ufeff.git":          true,
			".kfdev-sync/x":       true,
			".KFDEV-sync/x":       true,
			".g\u200dit-lfs/x":    false,
			".gitattributes":      false,
			".gi":                 false,
			"\xe2\x80":            false,
			"git/config":          false,
			"\u200c.github/x.yml": false,
		})
	}
}

func TestRepositoryAboveTheRoot(t *testing.T) {
	alone(t)
	repo := t.TempDir()
	git(t, repo, "init", "-q")
	root := repo + "/services/nb"
	write(t, repo+"/.gitignore", "*.log\n/services/nb/out\nnb/no\n/top\nservices/*/gen/**/x\n")
	write(t, repo+"/services/.gitignore", "!keep.log\nnb/data/\n")
	write(t, repo+"/services/other/.gitignore", "mine\n")
	write(t, repo+"/.git/info/exclude", "services/nb/excluded\n")
	write(t, root+"/.gitignore", "!out\n")
	want := map[string]bool{
		"a.log": true, "keep.log": false, "out": false, "top": false, "no": false, "data/x": true,
		"data": false, "mine": false, "excluded": true, "gen/a/b/x": true, "gen/x": true, "gen/y": false,
	}
	check(t, rules(t, root), want)
	// And so says git.
	for p := range want {
		write(t, filepath.Join(root, p), "")
		for path, pattern := range asked(t, repo, []string{"services/nb/" + p}) {
			require.Equal(t, want[p], pattern != "" && pattern[0] != '!', path)
		}
		if p == "data" || p == "data/x" || p == "gen/x" || p == "gen/a/b/x" || p == "gen/y" {
			require.NoError(t, os.RemoveAll(filepath.Join(root, strings.Split(p, "/")[0])))
		}
	}
	require.Equal(t, repo+"/.git/index.lock", Hold(root))
	// A root that is ignored as a whole was chosen all the same.
	write(t, repo+"/.gitignore", "services\n")
	check(t, rules(t, root), map[string]bool{"x": false})
}

func TestWorktree(t *testing.T) {
	alone(t)
	repo, tree := t.TempDir(), t.TempDir()+"/tree"
	git(t, repo, "init", "-q")
	git(t, repo, "-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-q", "--allow-empty", "-m", "m")
	git(t, repo, "worktree", "add", "-q", tree)
	write(t, repo+"/.git/info/exclude", "excluded\n")
	check(t, rules(t, tree), map[string]bool{"excluded": true, "x": false})
	require.Equal(t, repo+"/.git/worktrees/tree/index.lock", Hold(tree))
	require.Empty(t, Hold(t.TempDir()))
}

func TestUsersOwnRules(t *testing.T) {
	home := alone(t)
	root := t.TempDir()
	write(t, home+"/.config/git/ignore", "by-default\n")
	write(t, home+"/mine", "named\n")
	check(t, rules(t, root), map[string]bool{"by-default": true, "named": false})
	write(t, home+"/.gitconfig", "[user]\n\tname = n\n[include]\n\tpath = more\n")
	write(t, home+"/more", "[core] ; section\n\tautocrlf\n\texcludesFile = \"~/\"mi\\\nne # mine\n")
	check(t, rules(t, root), map[string]bool{"by-default": false, "named": true})
	write(t, home+"/.gitconfig", "[core]\nexcludesfile =\n")
	check(t, rules(t, root), map[string]bool{"by-default": false, "named": false})
}

// What a repository's own configuration names is no rule file: it could be any
// file of the machine.
func TestRepositoryCanNotNameARuleFile(t *testing.T) {
	alone(t)
	root := t.TempDir()
	git(t, root, "init", "-q")
	write(t, root+"-secret", "token\n")
	git(t, root, "config", "core.excludesFile", root+"-secret")
	check(t, rules(t, root), map[string]bool{"token": false})
}

func TestRuleFileThatIsALinkIsNotRead(t *testing.T) {
	alone(t)
	root := t.TempDir()
	write(t, root+"-secret", "token\n")
	require.NoError(t, os.Symlink(root+"-secret", root+"/.gitignore"))
	require.NoError(t, os.Symlink(root+"-secret", root+"/.kfdevignore"))
	require.NoError(t, os.Mkdir(root+"-dir", 0o755))
	write(t, root+"-dir/.gitignore", "token\n")
	require.NoError(t, os.Symlink(root+"-dir", root+"/sub"))
	r := rules(t, root)
	check(t, r, map[string]bool{"token": false, "sub/token": false})
	require.NotContains(t, string(r.Bytes()), "token")
}

func TestLoadRefusesTooMuch(t *testing.T) {
	alone(t)
	for name, content := range map[string]string{
		"pattern": strings.Repeat("x", maxPattern+1),
		"file":    strings.Repeat("x\n", maxFile),
		"sum":     "",
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root+"/.gitignore", content)
			if name == "sum" {
				for i := range 3 {
					write(t, fmt.Sprintf("%s/%d/.gitignore", root, i), strings.Repeat("x\n", MaxBytes/5))
				}
			}
			_, err := Load(root)
			var f *fault.Error
			require.ErrorAs(t, err, &f)
			require.Contains(t, err.Error(), "more than")
		})
	}
	_, err := Load(t.TempDir() + "/not/there")
	require.NoError(t, err)
}

func TestIsRuleFile(t *testing.T) {
	for path, want := range map[string]bool{".gitignore": true, "a/b/.kfdevignore": true, "gitignore": false, ".gitignore/x": false, "": false} {
		require.Equal(t, want, IsRuleFile(path), path)
	}
}

// The time for a pattern that is made to be slow, and the longest path.
func TestNoPatternIsVerySlow(t *testing.T) {
	text := strings.Repeat(strings.Repeat("a", 254)+"/", 16)
	for _, s := range []string{
		strings.Repeat("*a", 500) + "b",
		strings.Repeat("**/*a", 200) + "b",
		strings.Repeat("**/", 800) + "b",
		strings.Repeat("*", 2000) + "b",
		"**/" + strings.Repeat("a*", 600) + "b",
	} {
		for _, path := range []bool{true, false} {
			begin := time.Now()
			require.False(t, compile(s, path, false).match(text[:len(text)-1]))
			require.Less(t, time.Since(begin), 2*time.Second, s)
		}
	}
}
