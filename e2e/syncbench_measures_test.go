//go:build e2e && bench

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair makes folders for one measure with one tool: one here, one in the pod's
// volume with its name in the pod. Both are removed again.
func (r *rig) pair(t *testing.T, name string) (local, volume, remote string) {
	t.Helper()
	local, volume, remote = filepath.Join(r.work, name), filepath.Join(r.volume, name), "/data/"+name
	require.NoError(t, os.MkdirAll(local, 0o755))
	t.Cleanup(func() {
		_ = os.RemoveAll(local)
		_ = os.RemoveAll(volume)
	})
	return local, volume, remote
}

// complete waits until all files of a tree that plant made are in the folder
// with their sizes, looking every few milliseconds, and then holds the trees
// against each other. How long that last takes is not counted.
func complete(t *testing.T, local, volume string, folders, files, size int, within time.Duration) time.Time {
	t.Helper()
	whole := func() bool {
		for i := range folders {
			names, err := os.ReadDir(filepath.Join(volume, fmt.Sprintf("d%04d", i)))
			if err != nil || len(names) < files {
				return false
			}
		}
		for i := range folders {
			for j := range files {
				info, err := os.Stat(filepath.Join(volume, fmt.Sprintf("d%04d/f%04d", i, j)))
				if err != nil || info.Size() != int64(size) {
					return false
				}
			}
		}
		return true
	}
	deadline := time.Now().Add(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !whole() {
		require.True(t, time.Now().Before(deadline), "the tree is not there within %v", within)
		<-tick.C
	}
	when := time.Now()
	require.Equal(t, listing(t, local), listing(t, volume))
	return when
}

func benchFirst(t *testing.T, r *rig) {
	t.Helper()
	for run := range 3 {
		for _, each := range r.tools {
			local, volume, remote := r.pair(t, fmt.Sprintf("first-%d-%.3s", run, each.name))
			plant(t, local, treeFolders, treeFiles, fileSize)
			began := time.Now()
			stop := each.start(t, local, remote)
			took := complete(t, local, volume, treeFolders, treeFiles, fileSize, 2*time.Minute).Sub(began)
			stop()
			r.figures.of.add(firstSync, each.name, took.Seconds())
			r.figures.add(t, firstSync, each.name, fmt.Sprintf("%.2f s", took.Seconds()))
		}
		local, volume, remote := r.pair(t, fmt.Sprintf("first-%d-cp", run))
		plant(t, local, treeFolders, treeFiles, fileSize)
		began := time.Now()
		require.NoError(t, r.copyTo(t, r.kubectl, local, remote))
		took := time.Since(began)
		complete(t, local, volume, treeFolders, treeFiles, fileSize, time.Second)
		r.figures.of.add(firstSync, "kubectl cp", took.Seconds())
		r.figures.add(t, firstSync, "kubectl cp", fmt.Sprintf("%.2f s", took.Seconds()))
	}
}

// counts are how many samples a tool gives: those that wait for a poll of ten
// seconds give fewer.
func counts(tool string) (hot, cold int) {
	if tool == "kfdev" {
		return 200, 200
	}
	return 40, 8
}

func benchSave(t *testing.T, r *rig) {
	t.Helper()
	for _, each := range r.tools {
		local, volume, remote := r.pair(t, "save-"+each.name[:3])
		plant(t, local, treeFolders, treeFiles, fileSize)
		stop := each.start(t, local, remote)
		complete(t, local, volume, treeFolders, treeFiles, fileSize, 2*time.Minute)
		pause(3 * time.Second)
		hot, cold := counts(each.name)
		for _, way := range []struct{ name, from, to string }{{"to the pod", local, volume}, {"from the pod", volume, local}} {
			r.figures.latency(t, "save to readable, "+way.name+", a hot file", each.name, saves(t, way.from, way.to, hot, func(int) string { return "d0007/f0007" }))
			offset := 1000
			if way.from == volume {
				offset = 3000
			}
			r.figures.latency(t, "save to readable, "+way.name+", cold files", each.name, saves(t, way.from, way.to, cold, func(i int) string {
				return fmt.Sprintf("d%04d/f%04d", (offset+i*7)/treeFiles%treeFolders, (offset+i*7)%treeFiles)
			}))
		}
		stop()
		require.Equal(t, listing(t, local), listing(t, volume))
	}
	local, volume, remote := r.pair(t, "save-cp")
	var all samples
	file := filepath.Join(local, "one")
	for range 20 {
		content := random(t, fileSize)
		began := time.Now()
		write(t, file, content)
		require.NoError(t, os.MkdirAll(volume, 0o755))
		require.NoError(t, r.copyTo(t, r.kubectl, file, remote+"/one"))
		all = append(all, time.Since(began))
		require.True(t, reads(filepath.Join(volume, "one"), []byte(content)))
	}
	r.figures.latency(t, "save to readable, to the pod, one file", "kubectl cp", all)
}

// saves writes files as an editor does that writes in place, each after a
// pause, and takes the time from before the save until the other side's file
// has exactly its content.
func saves(t *testing.T, from, to string, n int, name func(i int) string) samples {
	t.Helper()
	var all samples
	for i := range n {
		content := []byte(random(t, fileSize))
		target := filepath.Join(to, name(i))
		look := newEye(t, filepath.Dir(target))
		began := time.Now()
		require.NoError(t, os.WriteFile(filepath.Join(from, name(i)), content, 0o644))
		when, _, ok := look.until(30*time.Second, func() bool { return reads(target, content) })
		look.close()
		require.True(t, ok, "sample %d: %s did not arrive within 30 s", i, name(i))
		all = append(all, when.Sub(began))
		pause(time.Duration(100+rand.IntN(150)) * time.Millisecond) //nolint:gosec // so that no timer is met in step
	}
	return all
}

const bigSize = 256 << 20

// benchBig changes one byte in a large file.
func benchBig(t *testing.T, r *rig) {
	t.Helper()
	for _, each := range r.tools {
		local, volume, remote := r.pair(t, "big-"+each.name[:3])
		here, there := filepath.Join(local, "model.bin"), filepath.Join(volume, "model.bin")
		write(t, here, random(t, bigSize))
		sent, began := r.bench.onTheWire(t), time.Now()
		stop := each.start(t, local, remote)
		eventually(t, 3*time.Minute, "256 MB", func() (bool, string) {
			info, err := os.Stat(there)
			return err == nil && info.Size() == bigSize, fmt.Sprint(err)
		})
		r.figures.add(t, "256 MB, the first time", each.name, fmt.Sprintf("%.1f s, %.1f MB on the wire", time.Since(began).Seconds(), float64(r.bench.onTheWire(t)-sent)/1e6))
		pause(5 * time.Second)
		look := newEye(t, volume)
		for i := range 3 {
			at := int64(bigSize/4*i + 12345)
			before := r.bench.onTheWire(t)
			value := []byte(random(t, 1))
			began := time.Now()
			poke(t, here, at, value)
			when, _, ok := look.until(time.Minute, func() bool { return peek(there, at, value) })
			require.True(t, ok, "the byte did not arrive within a minute")
			pause(500 * time.Millisecond)
			took, wire := when.Sub(began).Seconds(), float64(r.bench.onTheWire(t)-before)/1e6
			r.figures.of.add(oneByte, each.name, took)
			r.figures.of.add(onWire, each.name, wire)
			r.figures.add(t, oneByte, each.name, fmt.Sprintf("%.2f s, %.3f MB on the wire", took, wire))
		}
		look.close()
		require.Equal(t, listing(t, local), listing(t, volume))
		stop()
	}
}

// poke changes a byte of a file in place, to one that it was not.
func poke(t *testing.T, path string, at int64, value []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	old := make([]byte, 1)
	_, err = f.ReadAt(old, at)
	require.NoError(t, err)
	if old[0] == value[0] {
		value[0]++
	}
	_, err = f.WriteAt(value, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// peek says whether a file of the large size has that byte there.
func peek(path string, at int64, value []byte) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	got := make([]byte, 1)
	if err != nil || info.Size() != bigSize {
		return false
	}
	_, err = f.ReadAt(got, at)
	return err == nil && got[0] == value[0]
}
