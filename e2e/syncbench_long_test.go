//go:build e2e && bench

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchBranch switches between two branches that differ in 2,000 of 5,000 files:
// 1,800 others, 100 gone, 100 new.
func benchBranch(t *testing.T, r *rig) {
	t.Helper()
	for _, each := range r.tools {
		local, volume, remote := r.pair(t, "branch-"+each.name[:3])
		plant(t, local, treeFolders, treeFiles, fileSize)
		git(t, local, "init", "-q", "-b", "main")
		git(t, local, "add", "-A")
		git(t, local, "commit", "-q", "-m", "one")
		git(t, local, "checkout", "-q", "-b", "other")
		for i := range 2000 {
			path := filepath.Join(local, fmt.Sprintf("d%04d/f%04d", i%treeFolders, i/treeFolders))
			switch {
			case i < 1800:
				write(t, path, random(t, fileSize))
			case i < 1900:
				require.NoError(t, os.Remove(path))
			default:
				write(t, path+"-new", random(t, fileSize))
			}
		}
		git(t, local, "add", "-A")
		git(t, local, "commit", "-q", "-m", "two")
		git(t, local, "checkout", "-q", "main")
		stop := each.start(t, local, remote)
		complete(t, local, volume, treeFolders, treeFiles, fileSize, 2*time.Minute)
		pause(5 * time.Second)
		var folders []string
		for i := range treeFolders {
			folders = append(folders, filepath.Join(volume, fmt.Sprintf("d%04d", i)))
		}
		for _, branch := range []string{"other", "main", "other"} {
			look := newEye(t, folders...)
			before := listing(t, volume)
			began := time.Now()
			git(t, local, "checkout", "-q", branch)
			switched := time.Now()
			left := differences(t, local, before)
			when, first, ok := look.until(time.Minute, func() bool { left = stillDifferent(local, volume, left); return len(left) == 0 })
			look.close()
			require.True(t, ok, "%d files of the branch did not arrive within a minute", len(left))
			r.figures.of.add(branchTime, each.name, when.Sub(switched).Seconds())
			r.figures.add(t, branchTime, each.name, fmt.Sprintf("%.2f s after git ended (git took %.2f s); first to last file %.2f s",
				when.Sub(switched).Seconds(), switched.Sub(began).Seconds(), when.Sub(first).Seconds()))
			pause(3 * time.Second)
			require.Equal(t, listing(t, local), listing(t, volume))
		}
		stop()
	}
}

// differences are the paths at which a folder is not what was listed.
func differences(t *testing.T, local string, before map[string]string) []string {
	t.Helper()
	now := listing(t, local)
	var paths []string
	for path, what := range now {
		if before[path] != what {
			paths = append(paths, path)
		}
	}
	for path := range before {
		if _, ok := now[path]; !ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// stillDifferent drops from the front the paths at which both folders are the
// same by now; they stay that way.
func stillDifferent(a, b string, paths []string) []string {
	for len(paths) > 0 {
		one, errOne := os.ReadFile(filepath.Join(a, paths[0]))
		other, errOther := os.ReadFile(filepath.Join(b, paths[0]))
		if (errOne == nil) != (errOther == nil) || string(one) != string(other) {
			return paths
		}
		paths = paths[1:]
	}
	return paths
}

// cost is what processes have used: CPU time and memory.
type cost struct {
	cpu    time.Duration
	memory int64
}

// costOf reads it from /proc (proc(5)): the process's name is in parentheses
// and may hold anything; times are fields 14 and 15, in hundredths of a second.
func costOf(t *testing.T, pids []int) cost {
	t.Helper()
	var c cost
	for _, pid := range pids {
		stat := readAll(t, filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
		for _, f := range fields[11:13] {
			ticks, err := strconv.ParseInt(f, 10, 64)
			require.NoError(t, err)
			c.cpu += time.Duration(ticks) * 10 * time.Millisecond
		}
		pages, err := strconv.ParseInt(strings.Fields(readAll(t, filepath.Join("/proc", strconv.Itoa(pid), "statm")))[1], 10, 64)
		require.NoError(t, err)
		c.memory += pages * int64(os.Getpagesize())
	}
	return c
}

// inPod finds the tool's processes in the pod, as this kernel numbers them.
func (r *rig) inPod(t *testing.T, program string) []int {
	t.Helper()
	root, _ := r.hostRoot(t)
	namespace, err := os.Readlink(strings.TrimSuffix(root, "root") + "ns/pid")
	require.NoError(t, err)
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		its, err := os.Readlink(filepath.Join("/proc", e.Name(), "ns/pid"))
		if err != nil || its != namespace {
			continue
		}
		command, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && strings.Contains(strings.Split(string(command), "\x00")[0], program) {
			pids = append(pids, pid)
		}
	}
	require.NotEmpty(t, pids, "no %s in the pod", program)
	return pids
}

// benchIdle has 100,000 files lie still for a minute, and then starts again on
// them. That start is timed by a file that was changed while nothing ran.
func benchIdle(t *testing.T, r *rig) {
	t.Helper()
	const folders, files, size = 1000, 100, 100
	for _, each := range r.tools {
		local, volume, remote := r.pair(t, "idle-"+each.name[:3])
		plant(t, local, folders, files, size)
		began := time.Now()
		stop := each.start(t, local, remote)
		took := complete(t, local, volume, folders, files, size, 5*time.Minute).Sub(began)
		r.figures.add(t, "first sync of 100,000 files", each.name, fmt.Sprintf("%.1f s", took.Seconds()))
		pause(15 * time.Second)
		here, there := costOf(t, each.pids()), costOf(t, r.inPod(t, each.remote))
		const span = time.Minute
		pause(span)
		for _, side := range []struct {
			name        string
			before, now cost
		}{{idleHere, here, costOf(t, each.pids())}, {idleThere, there, costOf(t, r.inPod(t, each.remote))}} {
			core := 100 * (side.now.cpu - side.before.cpu).Seconds() / span.Seconds()
			r.figures.of.add(side.name+", core", each.name, core)
			r.figures.of.add(side.name+", memory", each.name, float64(side.now.memory)/1e6)
			r.figures.add(t, side.name, each.name, fmt.Sprintf("%.2f %% of a core, %d MB resident", core, side.now.memory/1e6))
		}
		if each.name != "kfdev" { // mutagen's is stopped by ending its session for good
			stop()
			continue
		}
		stop()
		for range 3 {
			content := random(t, size)
			write(t, filepath.Join(local, "d0500/f0050"), content)
			target := filepath.Join(volume, "d0500/f0050")
			look := newEye(t, filepath.Dir(target))
			began := time.Now()
			stop := each.start(t, local, remote)
			when, _, ok := look.until(time.Minute, func() bool { return reads(target, []byte(content)) })
			look.close()
			require.True(t, ok, "the one change did not arrive within a minute")
			r.figures.of.add(warmStart, each.name, when.Sub(began).Seconds())
			r.figures.add(t, "start on 100,000 files, one of them changed", each.name, fmt.Sprintf("%.2f s to its arrival", when.Sub(began).Seconds()))
			pause(2 * time.Second)
			stop()
		}
	}
}

// TestSoak has ten edits a second made, on both sides, for as long as
// KFDEV_SOAK says (an hour), and looks whether anything grows and whether the
// trees are equal at the end.
func TestSoak(t *testing.T) {
	span := time.Hour
	if set := os.Getenv("KFDEV_SOAK"); set != "" {
		var err error
		span, err = time.ParseDuration(set)
		require.NoError(t, err)
	}
	r := newRig(t)
	each := r.tools[0]
	local, volume, remote := r.pair(t, "soak")
	plant(t, local, treeFolders, treeFiles, fileSize)
	stop := each.start(t, local, remote)
	complete(t, local, volume, treeFolders, treeFiles, fileSize, time.Minute)
	start := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var early [2]cost
	edits, noted := 0, time.Duration(0)
	for time.Since(start) < span {
		<-tick.C
		soakEdit(t, edits, [2]string{local, volume})
		edits++
		if since := time.Since(start); since-noted > span/20 {
			noted = since
			now := [2]cost{costOf(t, each.pids()), costOf(t, r.inPod(t, each.remote))}
			t.Logf("%v, %d edits: %d MB here, %d MB in the pod", since.Round(time.Second), edits, now[0].memory/1e6, now[1].memory/1e6)
			if early[0].memory == 0 && since > span/5 {
				early = now
			}
		}
	}
	pause(10 * time.Second)
	require.Equal(t, listing(t, local), listing(t, volume))
	for i, pids := range [][]int{each.pids(), r.inPod(t, each.remote)} {
		end := costOf(t, pids)
		t.Logf("%s: %d MB after a fifth of the time, %d MB at the end, %.1f %% of a core", []string{"here", "in the pod"}[i],
			early[i].memory/1e6, end.memory/1e6, 100*end.cpu.Seconds()/time.Since(start).Seconds())
		require.Less(t, end.memory, early[i].memory*5/4+32<<20, "it grows")
	}
	stop()
	t.Logf("%d edits", edits)
}

// soakEdit makes one edit: on one side or the other, at paths that the two
// don't share, so that there is no conflict: a new content, a new file, a
// rename, a removal.
func soakEdit(t *testing.T, n int, sides [2]string) {
	t.Helper()
	side := n % 2
	dir := filepath.Join(sides[side], fmt.Sprintf("d%04d", (n*31)%(treeFolders/2)*2+side))
	made := filepath.Join(dir, fmt.Sprintf("soak%d", n%16/2))
	switch n % 32 / 2 {
	case 5:
		_ = os.Remove(made) // where it is there
	case 9:
		_ = os.Rename(made, made+"-moved") // "
	case 13:
		write(t, made, random(t, 64<<10))
	default:
		write(t, filepath.Join(dir, fmt.Sprintf("f%04d", n%treeFiles)), random(t, fileSize))
	}
}
