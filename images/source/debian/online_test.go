//go:build online

package debian_test

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/catalog"
	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/debian"
	"github.com/kfdev/kfdev/internal/progress"
)

// built is one Debian layer of a recipe, made for real.
type built struct {
	inputs []recipe.Input
	tree   *layer.Tree
}

// build makes every Debian layer of a recipe and of those it stands on. With
// pinned, those inputs are taken.
func build(t *testing.T, maker *debian.Maker, name string, pinned []built) []built {
	t.Helper()
	image, err := recipe.Load(catalog.Files(), name)
	require.NoError(t, err)
	var out []built
	var below [][]recipe.Input
	for _, part := range image.Parts {
		if part.Layer.Debian == nil {
			continue
		}
		s := source.LayerSpec{Recipe: part.Recipe, Layer: part.Layer, Folder: part.Folder, Below: below}
		var inputs []recipe.Input
		if pinned != nil {
			inputs = pinned[len(out)].inputs
		} else {
			inputs, err = maker.Pin(t.Context(), s, nil)
			require.NoError(t, err)
		}
		require.NoError(t, maker.Fetch(t.Context(), s, inputs))
		tree, err := maker.Tree(t.Context(), s, inputs)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, tree.Close()) })
		out = append(out, built{inputs, tree})
		below = append(below, inputs)
	}
	return out
}

// digest sums everything about a tree that a layer holds.
func digest(t *testing.T, tree *layer.Tree) string {
	t.Helper()
	sum := sha256.New()
	for _, e := range tree.Entries() {
		_, err := fmt.Fprintf(sum, "%q %d %o %d %d %q %d\n", e.Path, e.Type, e.Mode, e.UID, e.GID, e.Link, e.Size)
		require.NoError(t, err)
		if e.Type == layer.File {
			r, err := e.Open()
			require.NoError(t, err)
			_, err = io.Copy(sum, r)
			require.NoError(t, err)
			require.NoError(t, r.Close())
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func realMaker(t *testing.T) *debian.Maker {
	t.Helper()
	return debian.New(debian.Options{Store: folderStore{t.TempDir()}, Dir: t.TempDir(), Sink: progress.Discard})
}

// TestPythonIsTheSameTwice builds into two stores, with another time zone and
// umask the second time.
func TestPythonIsTheSameTwice(t *testing.T) {
	first := build(t, realMaker(t), "python", nil)
	t.Setenv("TZ", "Pacific/Kiritimati")
	t.Setenv("LANG", "de_DE.UTF-8")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	second := build(t, realMaker(t), "python", first)
	require.Len(t, second, len(first))
	for i := range first {
		require.Equal(t, digest(t, first[i].tree), digest(t, second[i].tree))
	}
}

// TestTreesRun unpacks the trees and runs their programs in a changed root,
// which needs root, and checks that every ELF file finds its libraries.
func TestTreesRun(t *testing.T) {
	require.Zero(t, os.Getuid(), "a changed root needs root")
	maker := realMaker(t)
	for name, commands := range map[string][][]string{
		"debian-base": {
			{"/bin/sh", "-c", "ls -l / | tar c /etc | gzip -d 2>/dev/null; id root && getent services https && locale -a | grep -i c.utf"},
			{"/bin/bash", "-c", "printf '%s\n' {1..3} | grep 2 | sed s/2/x/ && date -d @0 && which awk find"},
		},
		"python": {
			{"/usr/bin/python3", "-c", pythonCheck},
		},
		"busybox": {
			{"/bin/sh", "-c", "mkdir -m 0777 -p /tmp/a/b && rm -rf /tmp/a && seq 3 | tail -1 && nslookup localhost 127.0.0.1 || true; type nslookup wget tar"},
		},
		"node-root": {
			{"/usr/lib/systemd/systemd", "--version"},
			{"/bin/bash", "-c", "set -e; for c in " + nodeCommands + "; do which $c >/dev/null || { echo no $c; exit 1; }; done"},
			{"/bin/bash", "-ec", "update-alternatives --set iptables /usr/sbin/iptables-legacy; iptables --version | grep legacy; update-alternatives --set iptables /usr/sbin/iptables-nft; iptables --version | grep nf_tables"},
			{"/bin/bash", "-ec", "runc --version; conntrack --version; ip -V; nft --version; kmod --version; losetup --version; ethtool --version; dpkg -l | tail -3"},
		},
		"kube-proxy-root": {
			{"/usr/sbin/iptables-save", "--version"},
			{"/usr/sbin/ip6tables-restore", "--version"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			layers := build(t, maker, name, nil)
			root := t.TempDir()
			packages, unpacked, packed := 0, int64(0), int64(0)
			for _, l := range layers {
				extract(t, l.tree, root)
				packages += len(l.inputs)
				for _, in := range l.inputs {
					packed += in.Size
				}
				for _, e := range l.tree.Entries() {
					unpacked += e.Size
				}
			}
			t.Logf("%s: %d packages, %.1f MB packed, %.1f MB unpacked", name, packages, float64(packed)/1e6, float64(unpacked)/1e6)
			require.Empty(t, missingLibraries(t, root))
			for _, command := range commands {
				cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
				cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
				cmd.Dir = "/"
				cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s\n%s", command, out)
				t.Logf("%s", out)
			}
		})
	}
}

// pythonCheck imports what wheels count on and proves that it works.
const pythonCheck = `
import ssl, sqlite3, ctypes, lzma, bz2, zlib, hashlib, readline, uuid, curses, dbm, mimetypes, zoneinfo, xml.etree.ElementTree, venv, distutils
assert len(ssl.create_default_context().get_ca_certs()) > 100
assert sqlite3.connect(":memory:").execute("select 6*7").fetchone() == (42,)
assert ctypes.CDLL("libstdc++.so.6") and ctypes.CDLL("libgomp.so.1") and ctypes.CDLL(None).getpid() > 0
assert mimetypes.guess_type("a.ipynb") and zoneinfo.ZoneInfo("Europe/Berlin")
assert hashlib.new("sha512")
import sys, os
assert sys.version_info[:3] == (3, 11, 2), sys.version
assert os.access("/tmp", os.W_OK)
print(sys.version)
`

// nodeCommands are what kind's entry point, kubeadm, the kubelet and CNI call.
const nodeCommands = "awk bash cat chmod chown conntrack cp cut date df env ethtool find findmnt getent grep gzip head hostname id ip iptables iptables-save iptables-restore " +
	"ip6tables iptables-legacy-save iptables-nft-save ip6tables-legacy-save ip6tables-nft-save journalctl kmod ln losetup ls mkdir mktemp modprobe mount mountpoint nft nsenter ps " +
	"rm rmdir runc sed sh sleep stat swapon sync sysctl systemctl systemd-machine-id-setup systemd-tmpfiles tail tar tc timeout touch tr umount uname update-alternatives which xargs"

// extract writes a tree to a folder, over what is there.
func extract(t *testing.T, tree *layer.Tree, root string) {
	t.Helper()
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	for _, e := range tree.Entries() {
		at := filepath.Join(root, e.Path)
		switch e.Type {
		case layer.Dir:
			require.NoError(t, os.MkdirAll(at, 0o755))
			require.NoError(t, os.Lchown(at, e.UID, e.GID))
			require.NoError(t, os.Chmod(at, e.Mode))
			continue
		case layer.Symlink:
			_ = os.Remove(at)
			require.NoError(t, os.Symlink(e.Link, at))
		case layer.Hardlink:
			require.NoError(t, os.Link(filepath.Join(root, e.Link), at))
		case layer.File:
			_ = os.Remove(at)
			r, err := e.Open()
			require.NoError(t, err)
			f, err := os.Create(at)
			require.NoError(t, err)
			_, err = io.Copy(f, r)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.NoError(t, r.Close())
		case layer.Removed:
			require.NoError(t, os.RemoveAll(at))
			continue
		}
		require.NoError(t, os.Lchown(at, e.UID, e.GID))
		if e.Type == layer.File {
			require.NoError(t, os.Chmod(at, e.Mode))
		}
	}
}

// missingLibraries names every ELF file of the root that asks for a library
// that the root does not hold anywhere.
func missingLibraries(t *testing.T, root string) []string {
	t.Helper()
	have := map[string]bool{}
	needs := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		have[d.Name()] = true
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := elf.Open(name)
		if err != nil {
			return nil // not an ELF file
		}
		defer func() { _ = f.Close() }()
		libraries, err := f.ImportedLibraries()
		if err != nil {
			return nil // a static one
		}
		for _, l := range libraries {
			needs[l] = append(needs[l], strings.TrimPrefix(name, root))
		}
		return nil
	})
	require.NoError(t, err)
	var missing []string
	for library, by := range needs {
		if !have[path.Base(library)] {
			slices.Sort(by)
			missing = append(missing, library+" for "+strings.Join(by, " "))
		}
	}
	slices.Sort(missing)
	return missing
}
