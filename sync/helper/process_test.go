package helper

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// processes writes a folder like /proc: a process for each line of groups.
func processes(t *testing.T, groups map[string]string) string {
	t.Helper()
	proc := t.TempDir()
	for pid, text := range groups {
		dir := filepath.Join(proc, pid)
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup"), []byte(text), 0o600))
		status := "Name:\tx\nUid:\t10" + pid + "\t20" + pid + "\t30\t40\nGid:\t1\t50\t3\t4\nGroups:\t50 51 \n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "status"), []byte(status), 0o600))
	}
	return proc
}

func TestFindProcess(t *testing.T) {
	t.Parallel()
	const id = "0123456789abcdef"
	for name, tc := range map[string]struct {
		groups map[string]string
		shared bool
		pid    int
		says   string
	}{
		"the lowest whose groups name it":    {map[string]string{"1": "0::/pause", "7": "0::/../cri-containerd-" + id + ".scope", "12": "0::/../cri-containerd-" + id + ".scope", "self": "0::/"}, true, 7, ""},
		"the first where groups say nothing": {map[string]string{"1": "0::/../x", "7": "0::/", "self": "0::/"}, false, 1, ""},
		"not the pause container":            {map[string]string{"1": "0::/../x", "self": "0::/"}, true, 0, "no process of the container " + id},
		"not the helper itself":              {map[string]string{"1": "0::/", "self": "0::/"}, false, 0, "does not share the process namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := findProcess(processes(t, tc.groups), id, tc.shared)
			if tc.says != "" {
				require.ErrorContains(t, err, tc.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.pid, p.pid)
			require.Equal(t, 50, p.gid)
			require.Equal(t, []int{50, 51}, p.groups)
		})
	}
}

func TestReadProcess(t *testing.T) {
	t.Parallel()
	p, err := readProcess("/proc", os.Getpid())
	require.NoError(t, err)
	require.Equal(t, os.Geteuid(), p.uid)
	require.Equal(t, os.Getegid(), p.gid)
	require.NoError(t, p.become()) // what it is already

	proc := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(proc, "3"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(proc, "3", "status"), []byte("Uid:\tx\n"), 0o600))
	_, err = readProcess(proc, 3)
	require.ErrorContains(t, err, "whose process 3 is")
}

func TestThePlaceOfAProcess(t *testing.T) {
	t.Parallel()
	p, err := process{pid: os.Getpid()}.place("/proc")
	require.NoError(t, err)
	work, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, work, p.work)
	require.Equal(t, os.Getenv("HOME"), p.home)
	root, err := p.root(work)
	require.NoError(t, err)
	_, err = os.Stat(filepath.Join(root, "place.go"))
	require.NoError(t, err)
	_, err = process{pid: 1 << 30}.place("/proc")
	require.ErrorIs(t, err, os.ErrNotExist)
}
