package kubeconfig

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const fresh = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://127.0.0.1:40001
  name: kind-kfdev-demo
contexts:
- context:
    cluster: kind-kfdev-demo
    user: kind-kfdev-demo
  name: kind-kfdev-demo
current-context: kind-kfdev-demo
kind: Config
users:
- name: kind-kfdev-demo
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
`

const others2 = `# mine, by hand
apiVersion: v1
kind: Config
current-context: prod # keep
preferences: {}
clusters:
- name: prod
  cluster:
    server: https://prod.example
    extensions:
    - name: odd
      extension: {answer: 42}
contexts:
- name: prod
  context: {cluster: prod, user: "me", namespace: team-a}
users:
- name: me
  user:
    exec: # not ours to know
      command: login
      env: null
`

func one(tb testing.TB, server string) One {
	tb.Helper()
	o, err := Rename([]byte(strings.ReplaceAll(fresh, "https://127.0.0.1:40001", server)), "kfdev-demo")
	require.NoError(tb, err)
	return o
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o640))
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}

func TestMergeIntoNothingMakesAPrivateFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "config")
	changed, err := Merge(path, one(t, "https://127.0.0.1:1"), false)
	require.NoError(t, err)
	require.True(t, changed)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	var config map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(read(t, path)), &config))
	require.Equal(t, "v1", config["apiVersion"])
	require.Equal(t, "Config", config["kind"])
	require.NotContains(t, config, "current-context", "it changes only when asked")
	require.NoFileExists(t, path+".lock")
}

func TestMergeAndRemoveLeaveTheRestAsItWas(t *testing.T) {
	t.Parallel()
	path := file(t, others2)
	lacks, err := Lacks(path, one(t, "https://127.0.0.1:1"), false)
	require.NoError(t, err)
	require.True(t, lacks)
	require.Equal(t, others2, read(t, path), "it was only looked at")
	changed, err := Merge(path, one(t, "https://127.0.0.1:1"), false)
	require.NoError(t, err)
	require.True(t, changed)
	lacks, err = Lacks(path, one(t, "https://127.0.0.1:1"), false)
	require.NoError(t, err)
	require.False(t, lacks)
	lacks, err = Lacks(path, one(t, "https://127.0.0.1:1"), true)
	require.NoError(t, err)
	require.True(t, lacks, "another context is the current one")
	merged := read(t, path)
	for _, line := range []string{"# mine, by hand", "current-context: prod # keep", "exec: # not ours to know", `context: {cluster: prod, user: "me", namespace: team-a}`} {
		require.Contains(t, merged, line)
	}
	require.Contains(t, merged, "server: https://127.0.0.1:1")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())

	changed, err = Merge(path, one(t, "https://127.0.0.1:1"), false)
	require.NoError(t, err)
	require.False(t, changed, "a second merge changes nothing")
	require.Equal(t, merged, read(t, path))

	changed, err = Remove(path, "kfdev-demo")
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, others2, read(t, path), "byte for byte what it was")
	changed, err = Remove(path, "kfdev-demo")
	require.NoError(t, err)
	require.False(t, changed)
}

func TestMergeReplacesItsOwnEntriesInTheirPlace(t *testing.T) {
	t.Parallel()
	path := file(t, others2)
	_, err := Merge(path, one(t, "https://127.0.0.1:1"), true)
	require.NoError(t, err)
	require.Contains(t, read(t, path), "current-context: kfdev-demo")
	_, err = Merge(path, one(t, "https://127.0.0.1:2"), false)
	require.NoError(t, err)
	text := read(t, path)
	require.NotContains(t, text, "https://127.0.0.1:1\n")
	require.Equal(t, 1, strings.Count(text, "https://127.0.0.1:2"))
	_, err = Remove(path, "kfdev-demo")
	require.NoError(t, err)
	require.Contains(t, read(t, path), `current-context: ""`)
}

func TestASymlinkStaysOne(t *testing.T) {
	t.Parallel()
	target := file(t, others2)
	link := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.Symlink(target, link))
	_, err := Merge(link, one(t, "https://127.0.0.1:1"), false)
	require.NoError(t, err)
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)
	require.Contains(t, read(t, target), "kfdev-demo")
}

func TestWhatIsNotAKubeconfigIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"a list":        "- a\n",
		"broken":        "a: [\n",
		"two documents": "a: 1\n---\nb: 2\n",
		"odd clusters":  "clusters: {a: 1}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, content)
			_, err := Merge(path, one(t, "https://127.0.0.1:1"), true)
			require.ErrorContains(t, err, path)
			_, err = Lacks(path, one(t, "https://127.0.0.1:1"), true)
			require.ErrorContains(t, err, path)
			require.Equal(t, content, read(t, path))
			require.NoFileExists(t, path+".lock")
		})
	}
}

func TestAnAliasThatWouldBreakIsRefused(t *testing.T) {
	t.Parallel()
	content := "clusters:\n- name: kfdev-demo\n  cluster: &c {server: https://x}\n- name: other\n  cluster: *c\n"
	path := file(t, content)
	_, err := Remove(path, "kfdev-demo")
	require.Error(t, err)
	require.Equal(t, content, read(t, path))
}

func TestALockThatStaysIsNamed(t *testing.T) {
	t.Parallel()
	path := file(t, others2)
	require.NoError(t, os.WriteFile(path+".lock", nil, 0o600))
	_, err := Merge(path, one(t, "https://127.0.0.1:1"), false)
	require.ErrorContains(t, err, ".lock")
	require.Equal(t, others2, read(t, path))
}

func TestMergesAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	path := file(t, others2)
	var wg sync.WaitGroup
	names := []string{"kfdev-a", "kfdev-b", "kfdev-c", "kfdev-d"}
	for _, name := range names {
		wg.Add(1)
		go func() {
			defer wg.Done()
			o, err := Rename([]byte(fresh), name)
			if err == nil {
				_, err = Merge(path, o, false)
			}
			if err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	for _, name := range names {
		require.Contains(t, read(t, path), "name: "+name)
	}
}

func TestPathsAreThoseOfKubectl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	env := func(kubeconfig string) func(string) string {
		return func(key string) string { return map[string]string{"HOME": dir, "KUBECONFIG": kubeconfig}[key] }
	}
	require.Equal(t, filepath.Join(dir, ".kube", "config"), PathForMerge(env("")))
	require.Equal(t, b, PathForMerge(env(a+":"+b)), "none is there: the last")
	require.NoError(t, os.WriteFile(a, nil, 0o600))
	require.Equal(t, a, PathForMerge(env(a+":"+b)), "the first that is there")
	require.Equal(t, []string{a, b}, Paths(env(a+"::"+b+":"+a)))
}

func TestRenameRefusesWhatIsNotOneContext(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "clusters: []", others2 + "\n", "clusters: [{}, {}]", strings.ReplaceAll(fresh, "context:\n", "other:\n")} {
		_, err := Rename([]byte(strings.ReplaceAll(raw, "- name: me", "- name: a\n- name: me")), "x")
		require.Error(t, err)
	}
}

func FuzzMergeTouchesNoOtherEntry(f *testing.F) {
	f.Add([]byte(others2))
	f.Add([]byte(fresh))
	f.Add([]byte("clusters: null\nusers: []\n"))
	f.Add([]byte(`{"clusters":[{"name":"x"}],"kind":"Config"}`))
	f.Add([]byte("clusters:\n- name: kfdev-demo\n  cluster: &c {server: a}\n- name: b\n  cluster: *c\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "config")
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		var before map[string]any
		valid := yaml.Unmarshal(raw, &before) == nil
		changed, err := Merge(path, one(t, "https://127.0.0.1:1"), false)
		after, readErr := os.ReadFile(path)
		require.NoError(t, readErr)
		if err != nil || !changed {
			require.Equal(t, raw, after)
			return
		}
		require.True(t, valid)
		var got map[string]any
		require.NoError(t, yaml.Unmarshal(after, &got))
		require.Equal(t, before["current-context"], got["current-context"])
		require.Equal(t, others(before, "kfdev-demo"), others(got, "kfdev-demo"))
		again, err := Merge(path, one(t, "https://127.0.0.1:1"), false)
		require.NoError(t, err)
		require.False(t, again)
	})
}
