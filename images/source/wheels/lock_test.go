package wheels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLockRoundTrip(t *testing.T) {
	t.Parallel()
	lock := lockOf(example(t), build(t, "b.c_d", "2.0"), build(t, "A", "1"))
	data := lock.Marshal("Written by a test.")
	require.True(t, strings.HasPrefix(string(data), "# Written by a test.\napiVersion: "))
	read, err := ParseLock(data)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b-c-d", "ex-ample"}, []string{read.Wheels[0].Name, read.Wheels[1].Name, read.Wheels[2].Name})
	require.Equal(t, data, read.Marshal("Written by a test."))
}

func TestParseLockTellsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("0a", 32)
	_, err := ParseLock([]byte(`apiVersion: other/v1
kind: WheelLock
python: 3.11.2
platform: manylinux_2_36_x86_64
wheels:
  - {file: a-1-py3-none-any.whl, size: 1, sha256: ` + sum + `}
  - {file: A-2-py3-none-any.whl, size: 1, sha256: ` + sum + `}
  - {file: b-1.tar.gz, size: 1, sha256: ` + sum + `}
  - {file: ../c-1-py3-none-any.whl, size: 1, sha256: ` + sum + `}
  - {file: d-1-cp312-cp312-linux_x86_64.whl, size: 1, sha256: ` + sum + `}
  - {file: e-1-py3-none-any.whl, size: 0, sha256: ` + sum + `}
  - {file: f-1-py3-none-any.whl, size: 1, sha256: ABC}
`))
	for _, want := range []string{"other/v1", "a comes twice", `"b-1.tar.gz" is not`, `"../c-1-py3-none-any.whl" is not`, "is not for CPython 3.11", "size 0", `sha256 "ABC"`} {
		require.ErrorContains(t, err, want)
	}
}

func TestParseLockRefuses(t *testing.T) {
	t.Parallel()
	head := "apiVersion: " + LockVersion + "\nkind: WheelLock\n"
	for name, text := range map[string]string{
		"nothing":            "",
		"an unknown key":     head + "python: 3.11.2\nplatform: manylinux_2_36_x86_64\nurl: x\n",
		"no wheels":          head + "python: 3.11.2\nplatform: manylinux_2_36_x86_64\n",
		"a range of Pythons": head + "python: '3.11'\nplatform: manylinux_2_36_x86_64\n",
		"another platform":   head + "python: 3.11.2\nplatform: macosx_11_0_arm64\n",
	} {
		_, err := ParseLock([]byte(text))
		require.Error(t, err, name)
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add(Lock{Python: "3.11.2", Platform: "manylinux_2_36_x86_64", Wheels: []Wheel{
		{File: "a-1-py3-none-any.whl", Size: 1, SHA256: strings.Repeat("0a", 32)}}}.Marshal())
	f.Add([]byte("wheels: [{file: x}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lock, err := ParseLock(data)
		if err != nil {
			return
		}
		again, err := ParseLock(lock.Marshal())
		require.NoError(t, err)
		require.Equal(t, lock.Marshal(), again.Marshal())
	})
}

// catalogLocks are the committed locks, by path in the catalog.
func catalogLocks(t *testing.T) map[string]Lock {
	t.Helper()
	files, err := filepath.Glob("../../catalog/*/*.lock.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	locks := map[string]Lock{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotContains(t, string(data), "://", "%s: a lock names no host", file)
		lock, err := ParseLock(data)
		require.NoError(t, err, file)
		locks[strings.TrimPrefix(file, "../../catalog/")] = lock
	}
	return locks
}

// The notebook's kernels see the packages of both locks, and its single-user
// server talks with the Hub.
func TestLocksOfTheCatalogAgree(t *testing.T) {
	t.Parallel()
	locks := catalogLocks(t)
	version := func(file string) map[string]string {
		out := map[string]string{}
		for _, w := range locks[file].Wheels {
			out[w.Name] = w.Version
		}
		require.NotEmpty(t, out, file)
		return out
	}
	notebook, tensorflow, hub := version("notebook/wheels.lock.yaml"), version("tensorflow/wheels.lock.yaml"), version("jupyterhub/wheels.lock.yaml")
	for name, v := range notebook {
		if other, ok := tensorflow[name]; ok {
			require.Equal(t, other, v, name)
		}
	}
	require.Equal(t, hub["jupyterhub"], notebook["jupyterhub"])
	require.NotContains(t, tensorflow, "tensorflow", "tensorflow-cpu has the same files")
}
