package ignore

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var gitTime = flag.Duration("gittime", 4*time.Second, "how long to compare with git")

// alone gives git and Load no configuration but the test's.
func alone(tb testing.TB) string {
	tb.Helper()
	home := tb.TempDir()
	tb.Setenv("HOME", home)
	tb.Setenv("XDG_CONFIG_HOME", home+"/.config")
	tb.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	for _, name := range []string{"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"} {
		tb.Setenv(name, "")
		require.NoError(tb, os.Unsetenv(name))
	}
	return home
}

func git(tb testing.TB, dir string, args ...string) {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), "git", append([]string{"-C", dir}, args...)...).CombinedOutput()
	require.NoError(tb, err, string(out))
}

// asked is what git says of paths: which are ignored, and by which pattern.
func asked(t *testing.T, dir string, paths []string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "-C", dir, "check-ignore", "--no-index", "--stdin", "-z", "-v", "-n")
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil {
		require.ErrorAs(t, err, &exit, stderr.String())
		require.Equal(t, 1, exit.ExitCode(), stderr.String()) // none is ignored
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	require.Len(t, fields, 4*len(paths), stderr.String())
	by := map[string]string{}
	for i := 0; i < len(fields); i += 4 {
		by[fields[i+3]] = fields[i+2]
	}
	return by
}

// alphabet has what makes patterns difficult, and few letters, so that they
// match.
const (
	letters = "aabbcA.-]!# ~\xc3\xa9\t\v"
	special = "***??[]!^-\\\\//"
)

func randomName(r *rand.Rand) string {
	b := make([]byte, 1+r.IntN(4))
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	if name := string(b); name != "." && name != ".." {
		return name
	}
	return "a"
}

func randomPattern(r *rand.Rand, paths []string) string {
	var b strings.Builder
	if r.IntN(5) == 0 {
		b.WriteByte('!')
	}
	switch r.IntN(8) {
	case 0, 1: // anything
		for range 1 + r.IntN(8) {
			if r.IntN(3) == 0 {
				b.WriteByte(special[r.IntN(len(special))])
			} else {
				b.WriteByte(letters[r.IntN(len(letters))])
			}
		}
	case 2: // a set
		sets := []string{"[ab]", "[!a]", "[^b-]", "[]a]", "[!]a]", "[a-c]", "[c-a]", "[a-]", "[\\]]", "[[:alpha:]]", "[[:upper:][:space:]]", "[[:nope:]]",
			"[[:punct:]]", "[[:alpha:]-c]", "[a-\\c]", "[[:]", "[[a]", "[", "[a", "[!", "[[:alnum:]", "[.-/]", "[--a]", "[a-c-z]", "[[:graph:]b]", "[[:cntrl:]]", "[[:print:]]", "[[:lower:]]", "[[:xdigit:]]", "[[:blank:]]", "[[:digit:]]", "[!/]", "[\\", "[[::]]", "[[.a.]]"}
		for range 1 + r.IntN(3) {
			b.WriteString([]string{"*", "a", "?", "**/", "", "b/"}[r.IntN(6)])
			b.WriteString(sets[r.IntN(len(sets))])
		}
	default: // a path that is there, changed
		p := []byte(paths[r.IntN(len(paths))])
		for range r.IntN(4) {
			i := r.IntN(len(p))
			with := []string{"*", "**", "?", "/**/", "**/", "/**", "[a-z]", "\\", "/", "***", "*/", "", "\\/", "?*", "[!b]"}[r.IntN(15)]
			p = append(append(append([]byte{}, p[:i]...), with...), p[i+r.IntN(2):]...)
			if len(p) == 0 {
				p = []byte("*")
			}
		}
		if r.IntN(4) == 0 {
			b.WriteByte('/')
		}
		if r.IntN(3) == 0 { // the last element alone
			p = p[bytes.LastIndexByte(p, '/')+1:]
		}
		b.Write(p)
	}
	b.WriteString([]string{"", "", "", "/", " ", "\\ ", "  ", "\r", "\\"}[r.IntN(9)])
	return strings.ReplaceAll(b.String(), "\n", "")
}

// plant makes a random tree and returns its paths.
func plant(t *testing.T, r *rand.Rand, root string) (paths []string, isDir map[string]bool) {
	t.Helper()
	isDir = map[string]bool{}
	dirs := []string{""}
	for range 250 {
		path := join(dirs[r.IntN(len(dirs))], randomName(r))
		full := filepath.Join(root, path)
		if _, err := os.Lstat(full); err == nil || strings.Count(path, "/") > 4 {
			continue
		}
		if r.IntN(3) == 0 {
			require.NoError(t, os.Mkdir(full, 0o755))
			isDir[path] = true
			dirs = append(dirs, path)
		} else {
			require.NoError(t, os.WriteFile(full, nil, 0o644))
		}
		paths = append(paths, path)
	}
	return paths, isDir
}

func TestSameAsGit(t *testing.T) {
	for _, fold := range []bool{false, true} {
		t.Run(fmt.Sprintf("fold=%v", fold), func(t *testing.T) {
			home := alone(t)
			repo := t.TempDir()
			git(t, repo, "init", "-q")
			git(t, repo, "config", "core.ignorecase", fmt.Sprint(fold))
			seed := uint64(time.Now().UnixNano())
			r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
			paths, isDir := plant(t, r, repo)
			var dirs []string
			for _, p := range paths {
				if isDir[p] {
					dirs = append(dirs, p)
				}
			}
			require.NotEmpty(t, dirs)
			files := []string{".gitignore", ".git/info/exclude", "../" + "user"}
			require.NoError(t, os.MkdirAll(home+"/.config/git", 0o755))
			patterns, rounds, ignored := 0, 0, 0
			for end := time.Now().Add(*gitTime / 2); time.Now().Before(end); rounds++ {
				written := map[string]string{}
				for i := range 5 {
					file := filepath.Join(repo, dirs[r.IntN(len(dirs))], ".gitignore")
					switch i {
					case 0, 1:
						file = filepath.Join(repo, files[i])
					case 2:
						file = home + "/.config/git/ignore"
					}
					var text strings.Builder
					for range r.IntN(6) {
						text.WriteString(randomPattern(r, paths) + "\n")
						patterns++
					}
					written[file] = text.String()
					require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o644))
				}
				rules, err := load(repo, nil, nil)
				require.NoError(t, err)
				by := asked(t, repo, paths)
				for _, p := range paths {
					want := by[p] != "" && by[p][0] != '!'
					if want {
						ignored++
					}
					require.Equal(t, want, rules.Ignored(p, isDir[p]), "seed %d, path %q, dir %v, git's pattern %q, in\n%q", seed, p, isDir[p], by[p], written)
				}
				for file := range written {
					require.NoError(t, os.Remove(file))
				}
			}
			t.Logf("%d rounds, %d patterns, %d paths each, %d times ignored", rounds, patterns, len(paths), ignored)
			require.Greater(t, ignored, rounds)
		})
	}
}
