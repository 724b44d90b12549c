package debian_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/debian"
	"github.com/kfdev/kfdev/images/source/debian/debtest"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/progress"
)

// The image store is one.
var _ source.Inputs = (*store.Store)(nil)

// deposit puts packages into a store as if they had been fetched.
func deposit(t *testing.T, store source.Inputs, packages ...debtest.Package) []recipe.Input {
	t.Helper()
	var inputs []recipe.Input
	for _, p := range packages {
		raw := debtest.Build(t, p)
		in := recipe.Input{
			Kind: debian.Kind, Name: p.Name, Version: p.Version, Size: int64(len(raw)),
			File: p.Name + "_" + p.Version + "_amd64.deb", Hash: fmt.Sprintf("sha256:%x", sha256.Sum256(raw)),
		}
		require.NoError(t, store.Put(t.Context(), in.Hash, bytes.NewReader(raw)))
		inputs = append(inputs, in)
	}
	return inputs
}

// unpack makes the tree of packages by a layer's rules.
func unpack(t *testing.T, d recipe.Debian, packages ...debtest.Package) (*layer.Tree, error) {
	t.Helper()
	store := folderStore{t.TempDir()}
	maker := debian.New(debian.Options{Store: store, Dir: t.TempDir(), Sink: progress.Discard})
	s := spec(d)
	s.Folder = fstest.MapFS{"files/motd": {Data: []byte("hello\n")}}
	tree, err := maker.Tree(t.Context(), s, deposit(t, store, packages...))
	if tree != nil {
		t.Cleanup(func() { require.NoError(t, tree.Close()) })
	}
	return tree, err
}

// list is a tree in words: path, mode, owner where it is not root, link.
func list(tree *layer.Tree) []string {
	var out []string
	for _, e := range tree.Entries() {
		text := fmt.Sprintf("%s %v", e.Path, e.Mode)
		switch e.Type {
		case layer.Dir:
			text += " dir"
		case layer.Symlink:
			text = e.Path + " -> " + e.Link
		case layer.Hardlink:
			text = e.Path + " = " + e.Link
		case layer.File:
		case layer.Removed:
			text = e.Path + " removed"
		}
		if e.UID != 0 || e.GID != 0 {
			text += fmt.Sprintf(" %d:%d", e.UID, e.GID)
		}
		out = append(out, text)
	}
	return out
}

// merged are the entries that every layer has.
var merged = []string{
	"bin -> usr/bin", "lib -> usr/lib", "lib64 -> usr/lib64", "sbin -> usr/sbin",
	"usr -rwxr-xr-x dir", "usr/bin -rwxr-xr-x dir", "usr/lib -rwxr-xr-x dir", "usr/lib64 -rwxr-xr-x dir", "usr/sbin -rwxr-xr-x dir",
}

// own is list without merged.
func own(tree *layer.Tree) []string {
	return slices.DeleteFunc(list(tree), func(e string) bool { return slices.Contains(merged, e) })
}

func TestTreeMergesUsrAndKeepsModesAndOwners(t *testing.T) {
	t.Parallel()
	tree, err := unpack(t, recipe.Debian{}, debtest.Package{
		Name: "a", Version: "1", Compression: ".xz",
		Entries: []tar.Header{
			{Name: "./"},
			{Name: "./bin/"},
			{Name: "./bin/mount", Mode: 0o4755},
			{Name: "./lib64", Typeflag: tar.TypeSymlink, Linkname: "usr/lib64"},
			{Name: "./lib/x86_64-linux-gnu/libc.so.6", Typeflag: tar.TypeSymlink, Linkname: "libc-2.so"},
			{Name: "./sbin/tool", Mode: 0o755},
			{Name: "./tmp/", Mode: 0o1777},
			{Name: "./var/local/", Mode: 0o2775, Gid: 50},
			{Name: "./usr/bin/nobodys", Uid: 65534, Gid: 65534},
		},
	})
	require.NoError(t, err)
	for _, e := range merged {
		require.Contains(t, list(tree), e)
	}
	require.Equal(t, []string{
		"tmp dtrwxrwxrwx dir", "usr/bin/mount urwxr-xr-x", "usr/bin/nobodys -rw-r--r-- 65534:65534",
		"usr/lib/x86_64-linux-gnu -rwxr-xr-x dir", "usr/lib/x86_64-linux-gnu/libc.so.6 -> libc-2.so",
		"usr/sbin/tool -rwxr-xr-x", "var -rwxr-xr-x dir", "var/local dgrwxrwxr-x dir 0:50",
	}, normalise(own(tree)))
}

// normalise drops the d that fs.FileMode writes only where special bits are.
func normalise(entries []string) []string {
	for i, e := range entries {
		entries[i] = strings.NewReplacer(" trwx", " dtrwx", " grwxrwxr-x dir", " dgrwxrwxr-x dir").Replace(e)
	}
	return entries
}

func TestTreeDoesNotDependOnTheOrderOrThePlace(t *testing.T) {
	packages := []debtest.Package{pkg("b", "1", ""), pkg("a", "1", ""), pkg("c", "1", "")}
	packages[0].Entries = append(packages[0].Entries, tar.Header{Name: "./var/mail/", Mode: 0o2775, Gid: 8}, tar.Header{Name: "./var/mail/x"})
	packages[1].Entries = append(packages[1].Entries, tar.Header{Name: "./var/mail/"}, tar.Header{Name: "./z"}, tar.Header{Name: "./y", Typeflag: tar.TypeLink, Linkname: "./z"})
	one, err := unpack(t, recipe.Debian{Status: true}, packages...)
	require.NoError(t, err)
	slices.Reverse(packages)
	t.Setenv("TZ", "Asia/Kathmandu")
	t.Setenv("TMPDIR", t.TempDir())
	two, err := unpack(t, recipe.Debian{Status: true}, packages...)
	require.NoError(t, err)
	require.Equal(t, list(one), list(two))
	for _, e := range one.Entries() {
		if e.Type == layer.File {
			require.Equal(t, content(t, one, e.Path), content(t, two, e.Path), e.Path)
		}
	}
	require.Contains(t, list(one), "z = y")
	entry, _ := one.Get("var/mail")
	require.Equal(t, fs.ModeSetgid|0o775, entry.Mode)
}

func TestTreeExcludes(t *testing.T) {
	t.Parallel()
	tree, err := unpack(t, recipe.Debian{Exclude: []string{"/usr/share/man/**", "/usr/share/doc/**", "!/usr/share/doc/*", "!/usr/share/doc/*/copyright", "/usr/bin/?d"}},
		debtest.Package{Name: "a", Version: "1", Entries: []tar.Header{
			{Name: "./bin/ed"}, {Name: "./bin/sed"}, {Name: "./bin/e/"}, {Name: "./bin/e/d"},
			{Name: "./usr/share/man/man1/a.1.gz"}, {Name: "./usr/share/doc/a/"}, {Name: "./usr/share/doc/a/changelog"},
			{Name: "./usr/share/doc/a/copyright"}, {Name: "./usr/share/doc/b", Typeflag: tar.TypeSymlink, Linkname: "a"},
			{Name: "./usr/share/manual"},
		}})
	require.NoError(t, err)
	require.Equal(t, []string{
		"usr/bin/e -rwxr-xr-x dir", "usr/bin/e/d -rw-r--r--", "usr/bin/sed -rw-r--r--",
		"usr/share -rwxr-xr-x dir", "usr/share/doc -rwxr-xr-x dir", "usr/share/doc/a -rwxr-xr-x dir",
		"usr/share/doc/a/copyright -rw-r--r--", "usr/share/doc/b -> a", "usr/share/manual -rw-r--r--",
	}, own(tree))
}

func TestTreeHardLinksSurviveTheExclusionOfTheirFile(t *testing.T) {
	t.Parallel()
	p := debtest.Package{Name: "a", Version: "1", Content: map[string]string{"./bin/m": "text"}, Entries: []tar.Header{
		{Name: "./bin/m", Mode: 0o755},
		{Name: "./bin/a", Typeflag: tar.TypeLink, Linkname: "./bin/m"},
		{Name: "./bin/z", Typeflag: tar.TypeLink, Linkname: "./bin/a"},
	}}
	tree, err := unpack(t, recipe.Debian{}, p)
	require.NoError(t, err)
	require.Equal(t, []string{"usr/bin/a -rwxr-xr-x", "usr/bin/m = usr/bin/a", "usr/bin/z = usr/bin/a"}, own(tree))
	require.Equal(t, "text", content(t, tree, "usr/bin/a"))

	tree, err = unpack(t, recipe.Debian{Exclude: []string{"/usr/bin/[a]", "/usr/bin/a", "/usr/bin/m"}}, p)
	require.NoError(t, err)
	require.Equal(t, []string{"usr/bin/z -rwxr-xr-x"}, own(tree))
	require.Equal(t, "text", content(t, tree, "usr/bin/z"))
}

func TestTreeRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		entries []tar.Header
		want    string
	}{
		"a path out of the root":      {[]tar.Header{{Name: "../x"}}, "not a path below the root"},
		"one in the middle":           {[]tar.Header{{Name: "./usr/../../x"}}, "not a path below the root"},
		"an absolute path":            {[]tar.Header{{Name: "/etc/x"}}, "not a path below the root"},
		"a device":                    {[]tar.Header{{Name: "./dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, "type '3'"},
		"a pipe":                      {[]tar.Header{{Name: "./p", Typeflag: tar.TypeFifo}}, "type '6'"},
		"an unknown owner":            {[]tar.Header{{Name: "./x", Uid: 1000}}, "belongs to 1000:0"},
		"a file twice":                {[]tar.Header{{Name: "./x"}, {Name: "x"}}, "is in a too"},
		"a file and a folder":         {[]tar.Header{{Name: "./x/"}, {Name: "./x"}}, "is a folder in one"},
		"a path through a link":       {[]tar.Header{{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, {Name: "./l/passwd"}}, "leads through /l"},
		"a hard link out of the root": {[]tar.Header{{Name: "./x", Typeflag: tar.TypeLink, Linkname: "../y"}}, "not a path below the root"},
		"a hard link to nothing":      {[]tar.Header{{Name: "./x", Typeflag: tar.TypeLink, Linkname: "./y"}}, "not a file of the layer"},
		"a hard link to itself":       {[]tar.Header{{Name: "./x", Typeflag: tar.TypeLink, Linkname: "./x"}}, "not a file of the layer"},
		"hard links in a ring":        {[]tar.Header{{Name: "./w", Typeflag: tar.TypeLink, Linkname: "./x"}, {Name: "./x", Typeflag: tar.TypeLink, Linkname: "./y"}, {Name: "./y", Typeflag: tar.TypeLink, Linkname: "./x"}}, "not a file of the layer"},
		"extended attributes":         {[]tar.Header{{Name: "./x", PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}}}, "extended attributes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := unpack(t, recipe.Debian{}, debtest.Package{Name: "a", Version: "1", Entries: tc.entries})
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestTreeOfPackagesThatShareAPath(t *testing.T) {
	t.Parallel()
	shared := func(name, version, replaces string) debtest.Package {
		p := debtest.Package{Name: name, Version: version, Fields: map[string]string{"Replaces": replaces}}
		p.Entries = []tar.Header{{Name: "./usr/x"}}
		p.Content = map[string]string{"./usr/x": name}
		return p
	}
	_, err := unpack(t, recipe.Debian{}, shared("a", "1", ""), shared("b", "1", ""))
	require.ErrorContains(t, err, "is in a too")
	_, err = unpack(t, recipe.Debian{}, shared("a", "1", "b (<< 1)"), shared("b", "1", ""))
	require.ErrorContains(t, err, "is in a too")
	for name, packages := range map[string][]debtest.Package{
		"a": {shared("a", "1", "b (<= 1)"), shared("b", "1", "")},
		"b": {shared("a", "1", ""), shared("b", "1", "z, a")},
	} {
		tree, err := unpack(t, recipe.Debian{}, packages...)
		require.NoError(t, err)
		require.Equal(t, name, content(t, tree, "usr/x"))
	}
}

func TestTreeSteps(t *testing.T) {
	t.Parallel()
	p := debtest.Package{Name: "a", Version: "1", Entries: []tar.Header{{Name: "./var/run/"}, {Name: "./var/run/x"}, {Name: "./sbin/real"}}}
	tree, err := unpack(t, recipe.Debian{Steps: []recipe.File{
		{Path: "/var/run", Remove: true},
		{Path: "/var/run", Link: "/run"},
		{Path: "/sbin/init", Link: "/sbin/real"},
		{Path: "/etc/motd", From: "files/motd", Mode: "0600", UID: 1, GID: 2},
		{Path: "/etc/empty"},
		{Path: "/srv", Dir: true},
		{Path: "/tmp", Dir: true, Mode: "1777"},
		{Path: "/etc/text", Content: "text\n"},
	}}, p)
	require.NoError(t, err)
	require.Equal(t, []string{
		"etc -rwxr-xr-x dir", "etc/empty -rw-r--r--", "etc/motd -rw------- 1:2", "etc/text -rw-r--r--", "srv -rwxr-xr-x dir", "tmp dtrwxrwxrwx dir",
		"usr/sbin/init -> /sbin/real", "usr/sbin/real -rw-r--r--", "var -rwxr-xr-x dir", "var/run -> /run",
	}, normalise(own(tree)))
	require.Equal(t, "hello\n", content(t, tree, "etc/motd"))

	for name, tc := range map[string]struct {
		step recipe.File
		want string
	}{
		"relative":           {recipe.File{Path: "etc/x"}, "not an absolute path"},
		"out of the root":    {recipe.File{Path: "/../x"}, "not an absolute path"},
		"removes nothing":    {recipe.File{Path: "/nothing", Remove: true}, "not there"},
		"overwrites":         {recipe.File{Path: "/sbin/real", Content: "x"}, "comes twice"},
		"no such file":       {recipe.File{Path: "/x", From: "files/nothing"}, "files/nothing"},
		"a bad mode":         {recipe.File{Path: "/x", Mode: "rwx"}, "octal"},
		"below what is file": {recipe.File{Path: "/sbin/real/x", Content: "x"}, "leads through"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := unpack(t, recipe.Debian{Steps: []recipe.File{tc.step}}, p)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// accountsPackage holds what accounts are made from.
func accountsPackage(sysusers string) debtest.Package {
	return debtest.Package{Name: "base", Version: "1", Entries: []tar.Header{
		{Name: "./usr/share/base-passwd/passwd.master"}, {Name: "./usr/share/base-passwd/group.master"}, {Name: "./usr/lib/sysusers.d/a.conf"},
	}, Content: map[string]string{
		"./usr/share/base-passwd/passwd.master": "root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"./usr/share/base-passwd/group.master":  "root:*:0:\nadm:*:4:nobody,root\nnogroup:*:65534:\n",
		"./usr/lib/sysusers.d/a.conf":           sysusers,
	}}
}

func TestTreeAccounts(t *testing.T) {
	t.Parallel()
	tree, err := unpack(t, recipe.Debian{Accounts: true}, accountsPackage(`
# comment
u root 0:0 "Super User" /root
u auto - "Auto User" /var/lib/auto /bin/sh
u! fixed 998 - -
u named 997:adm
g some -
g given 300
m auto adm
m fresh newer
r - 500-600
`))
	require.NoError(t, err)
	require.Equal(t, `root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
fixed:x:998:998::/:/usr/sbin/nologin
named:x:997:4::/:/usr/sbin/nologin
auto:x:999:999:Auto User:/var/lib/auto:/bin/sh
fresh:x:995:995::/:/usr/sbin/nologin
`, content(t, tree, "etc/passwd"))
	require.Equal(t, "root:x:0:\nadm:x:4:nobody,root,auto\nnogroup:x:65534:\nfixed:x:998:\ngiven:x:300:\nauto:x:999:\nsome:x:996:\nfresh:x:995:\nnewer:x:994:fresh\n",
		content(t, tree, "etc/group"))
	require.Equal(t, "root:*::0:99999:7:::", strings.SplitN(content(t, tree, "etc/shadow"), "\n", 2)[0])
	require.Equal(t, "adm:*::nobody,root,auto", strings.Split(content(t, tree, "etc/gshadow"), "\n")[1])
	shadow, _ := tree.Get("etc/shadow")
	require.Equal(t, fs.FileMode(0o640), shadow.Mode)
	require.Equal(t, 42, shadow.GID)

	for name, line := range map[string]string{
		"a specifier": "u x - %H", "an unknown kind": "x y -", "a path": "u x /etc", "an open quote": `u x - "a`, "no name": "u", "no such group": "u x 5:none",
	} {
		_, err := unpack(t, recipe.Debian{Accounts: true}, accountsPackage(line))
		require.Error(t, err, name)
	}
	_, err = unpack(t, recipe.Debian{Accounts: true}, pkg("a", "1", ""))
	require.ErrorContains(t, err, "passwd.master")
}

func TestTreeReadsTheLayersBelow(t *testing.T) {
	t.Parallel()
	store := folderStore{t.TempDir()}
	maker := debian.New(debian.Options{Store: store, Dir: t.TempDir(), Sink: progress.Discard})
	s := source.LayerSpec{Recipe: "upper", Layer: recipe.Layer{Debian: &recipe.Debian{Suite: "bookworm", Accounts: true, Status: true}}}
	s.Below = [][]recipe.Input{
		append(deposit(t, store, accountsPackage("u low -")), recipe.Input{Kind: "wheel", Name: "x"}),
		deposit(t, store, pkg("middle", "1", "")),
	}
	upper := pkg("upper", "2", "")
	upper.Entries = append(upper.Entries, tar.Header{Name: "./usr/lib/sysusers.d/b.conf"})
	upper.Content["./usr/lib/sysusers.d/b.conf"] = "u high -\n"
	tree, err := maker.Tree(t.Context(), s, deposit(t, store, upper))
	require.NoError(t, err)
	require.Contains(t, content(t, tree, "etc/passwd"), "low:x:999:999::/:/usr/sbin/nologin\nhigh:x:998:998:")
	status := content(t, tree, "var/lib/dpkg/status")
	require.Equal(t, 3, strings.Count(status, "Status: install ok installed\n"))
	require.Equal(t, []int{0, 1, 2}, order(status, "Package: base", "Package: middle", "Package: upper"))
	require.True(t, strings.HasSuffix(status, "\n\n"))
}

// order ranks where each of parts lies in text.
func order(text string, parts ...string) []int {
	sorted := slices.Clone(parts)
	slices.SortFunc(sorted, func(a, b string) int { return strings.Index(text, a) - strings.Index(text, b) })
	var ranks []int
	for _, p := range parts {
		ranks = append(ranks, slices.Index(sorted, p))
	}
	return ranks
}

func TestTreeCABundle(t *testing.T) {
	t.Parallel()
	certificate := func(text string) string {
		return "-----BEGIN CERTIFICATE-----\n" + text + "\n-----END CERTIFICATE-----"
	}
	p := debtest.Package{Name: "ca", Version: "1", Entries: []tar.Header{
		{Name: "./usr/share/ca-certificates/m/b.crt"}, {Name: "./usr/share/ca-certificates/m/a.crt"},
	}, Content: map[string]string{
		"./usr/share/ca-certificates/m/a.crt": certificate("YWFh") + "\n\n",
		"./usr/share/ca-certificates/m/b.crt": certificate("YmJi"),
	}}
	tree, err := unpack(t, recipe.Debian{CABundle: true, Exclude: []string{"/usr/share/ca-certificates/**"}}, p)
	require.NoError(t, err)
	require.Equal(t, certificate("YWFh")+"\n"+certificate("YmJi")+"\n", content(t, tree, "etc/ssl/certs/ca-certificates.crt"))
	require.Contains(t, list(tree), "usr/lib/ssl/cert.pem -> /etc/ssl/certs/ca-certificates.crt")
	_, found := tree.Get("usr/share/ca-certificates/m/a.crt")
	require.False(t, found)

	p.Content["./usr/share/ca-certificates/m/a.crt"] = "no certificate"
	_, err = unpack(t, recipe.Debian{CABundle: true}, p)
	require.ErrorContains(t, err, "a.crt holds no certificate")
	_, err = unpack(t, recipe.Debian{CABundle: true}, pkg("a", "1", ""))
	require.ErrorContains(t, err, "no package of the layer has certificates")
}

func TestTreeChecksWhatItUnpacks(t *testing.T) {
	t.Parallel()
	store := folderStore{t.TempDir()}
	work := t.TempDir()
	maker := debian.New(debian.Options{Store: store, Dir: work, Sink: progress.Discard})
	inputs := deposit(t, store, pkg("a", "1", ""))
	inputs[0].Name = "b"
	_, err := maker.Tree(t.Context(), spec(recipe.Debian{}), inputs)
	require.ErrorContains(t, err, "holds the package a")

	raw := []byte("not a package")
	bad := recipe.Input{Kind: debian.Kind, Name: "x", File: "x_1_amd64.deb", Hash: fmt.Sprintf("sha256:%x", sha256.Sum256(raw))}
	require.NoError(t, store.Put(t.Context(), bad.Hash, bytes.NewReader(raw)))
	_, err = maker.Tree(t.Context(), spec(recipe.Debian{}), []recipe.Input{bad})
	require.ErrorContains(t, err, "x_1_amd64.deb")

	_, err = maker.Tree(t.Context(), spec(recipe.Debian{Exclude: []string{"relative"}}), nil)
	require.ErrorContains(t, err, "relative")

	left, err := os.ReadDir(filepath.Join(work, "tmp"))
	require.NoError(t, err)
	require.Empty(t, left, "nothing is left behind")
}
