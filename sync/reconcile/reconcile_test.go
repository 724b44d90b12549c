package reconcile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/tree"
)

// parse reads a tree: "d/ d/f=1 run*=2 link>target"; "-" has no root.
func parse(t *testing.T, s string) *tree.Tree {
	t.Helper()
	tr := &tree.Tree{}
	if s == "-" {
		return tr
	}
	require.NoError(t, tr.Put("", tree.Entry{Kind: tree.Dir}))
	for _, word := range strings.Fields(s) {
		if path, target, ok := strings.Cut(word, ">"); ok {
			require.NoError(t, tr.Put(path, tree.Entry{Kind: tree.Symlink, Target: target}))
			continue
		}
		path, content, isFile := strings.Cut(word, "=")
		if !isFile {
			require.NoError(t, tr.Put(strings.TrimSuffix(path, "/"), tree.Entry{Kind: tree.Dir}))
			continue
		}
		e := file(content[0])
		path, e.Exec = strings.CutSuffix(path, "*")
		require.NoError(t, tr.Put(path, e))
	}
	return tr
}

func show(changes []tree.Change) string {
	var words []string
	for _, c := range changes {
		switch path := c.Path; {
		case path == "":
			words = append(words, "root:"+c.To.Kind.String())
		case c.To.Kind == tree.Absent:
			words = append(words, "-"+path)
		case c.To.Kind == tree.Dir:
			words = append(words, path+"/")
		case c.To.Kind == tree.Symlink:
			words = append(words, path+">"+c.To.Target)
		case c.To.Exec:
			words = append(words, fmt.Sprintf("%s*=%c", path, c.To.Digest[0]))
		default:
			words = append(words, fmt.Sprintf("%s=%c", path, c.To.Digest[0]))
		}
	}
	return strings.Join(words, " ")
}

type row struct {
	name, base, local, remote string
	options                   Options
	toLocal, toRemote, agreed string
	conflicts                 string // "path: why", separated by " | "
}

func (c row) check(t *testing.T) {
	t.Helper()
	res := Reconcile(parse(t, c.base), parse(t, c.local), parse(t, c.remote), nil, c.options)
	require.Equal(t, c.toLocal, show(res.ToLocal), "to local")
	require.Equal(t, c.toRemote, show(res.ToRemote), "to remote")
	require.Equal(t, c.agreed, show(res.Agreed), "agreed")
	var conflicts []string
	for _, f := range res.Conflicts {
		conflicts = append(conflicts, f.Path+": "+f.Why)
	}
	require.Equal(t, c.conflicts, strings.Join(conflicts, " | "))
}

func TestTwoWay(t *testing.T) {
	t.Parallel()
	for _, c := range []row{
		{name: "first", base: "-", local: "d/ d/f=1", remote: "-", toRemote: "root:folder d/ d/f=1"},
		{name: "first, both", base: "-", local: "a=1 b=1", remote: "b=1 c=1", toLocal: "c=1", toRemote: "a=1", agreed: "root:folder b=1"},
		{name: "edit", base: "f=1", local: "f=2", remote: "f=1", toRemote: "f=2"},
		{name: "edit in the pod", base: "f=1", local: "f=1", remote: "f=2", toLocal: "f=2"},
		{name: "the same edit", base: "f=1", local: "f=2", remote: "f=2", agreed: "f=2"},
		{name: "two edits", base: "f=1", local: "f=2", remote: "f=3", conflicts: "f: changed on both sides"},
		{name: "two new files", base: "", local: "f=2", remote: "f=3", conflicts: "f: created on both sides with different content"},
		{name: "deleted", base: "d/ d/e/ d/e/f=1", local: "", remote: "d/ d/e/ d/e/f=1", toRemote: "-d/e/f -d/e -d"},
		{name: "deleted and edited", base: "f=1", local: "", remote: "f=2", conflicts: "f: file deleted locally, and changed remotely"},
		{name: "edited and deleted", base: "f=1", local: "f=2", remote: "", conflicts: "f: file deleted remotely, and changed locally"},
		{name: "deleted whole and in part", base: "d/ d/a=1 d/b=1", local: "", remote: "d/ d/b=1", toRemote: "-d/b -d", agreed: "-d/a"},
		{name: "deleted, with news in it", base: "d/ d/a=1 d/b=1 x=1", local: "", remote: "d/ d/a=1 d/b=2 x=1", toRemote: "-x", conflicts: "d: folder deleted locally, and in it b changed remotely"},
		{name: "a folder becomes a file", base: "d/ d/a=1", local: "d=2", remote: "d/ d/a=1", toRemote: "-d/a d=2"},
		{name: "a file becomes a folder", base: "d=1", local: "d=1", remote: "d/ d/a=1", toLocal: "d/ d/a=1"},
		{name: "a folder becomes a link, with news", base: "d/ d/a=1", local: "d>x", remote: "d/ d/n=1", conflicts: "d: a symbolic link locally, and a folder remotely, with n changed remotely"},
		{name: "deleted by both, in parts", base: "d/ d/a=1 d/b=1", local: "", remote: "", agreed: "-d/b -d/a -d"},
		{name: "link", base: "l>a", local: "l>b", remote: "l>a", toRemote: "l>b"},
		{name: "exec", base: "f=1", local: "f*=1", remote: "f=2", toLocal: "f*=2", toRemote: "f*=2"},
		{name: "exec taken away", base: "f*=1", local: "f*=2", remote: "f=1", toLocal: "f=2", toRemote: "f=2"},
		{name: "exec, same edit", base: "f=1", local: "f*=2", remote: "f=2", toRemote: "f*=2"},
		{name: "exec, new files", base: "", local: "f=1", remote: "f*=1", toLocal: "f*=1"},
		{name: "moved", base: "a=1", local: "b=1", remote: "a=1", toRemote: "-a b=1"},
		{name: "prefer local", base: "d/ d/a=1", local: "", remote: "d/ d/a=2", options: Options{Prefer: PreferLocal}, toRemote: "-d/a -d"},
		{name: "prefer remote", base: "d/ d/a=1 d/b=1", local: "", remote: "d/ d/a=2", options: Options{Prefer: PreferRemote}, toLocal: "d/ d/a=2", agreed: "-d/b"},
		{
			name: "prefer for some", base: "d/ d/a=1 d/b=1 c=1", local: "d/ d/a=2 d/b=2 c=2", remote: "d/ d/a=3 d/b=3 c=3",
			options: Options{PreferAt: map[string]Preference{"d": PreferLocal, "d/b": PreferRemote}},
			toLocal: "d/b=3", toRemote: "d/a=2", conflicts: "c: changed on both sides",
		},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t) })
	}
}

func TestOneWay(t *testing.T) {
	t.Parallel()
	one, replica, pull := Options{Mode: OneWay}, Options{Mode: OneWayReplica}, Options{Mode: Pull}
	for _, c := range []row{
		{name: "its own stays", options: one, base: "", local: "a=1", remote: "own=1", toRemote: "a=1"},
		{name: "changed there", options: one, base: "a=1 b=1", local: "a=1 b=1", remote: "a=2 b=1", conflicts: "a: changed remotely, where changes are only received"},
		{name: "changed on both", options: one, base: "a=1", local: "a=2", remote: "a=3", conflicts: "a: changed on both sides"},
		{name: "deleted there", options: one, base: "a=1", local: "a=1", remote: "", toRemote: "a=1"},
		{name: "exec there", options: one, base: "a=1", local: "a=2", remote: "a*=1", toRemote: "a=2"},
		{name: "in the way", options: one, base: "", local: "a=1", remote: "a=2", conflicts: "a: created on both sides with different content"},
		{name: "deleted here, changed there", options: one, base: "a=1", local: "", remote: "a=2", conflicts: "a: file deleted locally, and changed remotely"},
		{name: "a folder with its own", options: one, base: "d/ d/a=1 e/ e/b=1", local: "", remote: "d/ d/a=1 d/own=1 e/ e/b=1", toRemote: "-e/b -e -d/a"},
		{
			name: "bring back", options: Options{Mode: OneWay, Prefer: PreferRemote},
			base: "d/ d/a=1 d/b=1", local: "", remote: "d/ d/a=2 d/b=1", toLocal: "d/ d/a=2", toRemote: "-d/b",
		},
		{name: "replica", options: replica, base: "a=1", local: "a=1 b/", remote: "a=2 b=1 c/ c/d=1", toRemote: "-c/d -c a=1 b/"},
		{name: "pull", options: pull, base: "a=1 b=1", local: "a=1 b=1 own=1", remote: "a=2 n=1", toLocal: "-b a=2 n=1"},
		{name: "changed here", options: pull, base: "a=1", local: "a=2", remote: "a=1", conflicts: "a: changed locally, where changes are only received"},
		{name: "pulled over an edit", options: Options{Mode: Pull, Prefer: PreferRemote}, base: "a=1", local: "a=2", remote: "a=1", toLocal: "a=1"},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t) })
	}
}

func TestNamesThatCollide(t *testing.T) {
	t.Parallel()
	mac := Options{Local: Side{FoldsCase: true, FoldsUnicode: true}}
	collision := func(path, other, what string) string {
		return path + ": differs from " + other + " only in " + what + ", and the local file system can't hold both: rename one of them"
	}
	aA := collision("A", "a", "case") + " | " + collision("a", "A", "case")
	for _, c := range []row{
		{name: "both new", options: mac, remote: "A=1 a=2", conflicts: aA},
		{name: "one known", options: mac, base: "A=1", local: "A=1", remote: "A=1 a=2", conflicts: collision("a", "A", "case")},
		{name: "renamed", options: mac, base: "a=1", local: "a=1", remote: "A=1", toLocal: "-a A=1"},
		{
			name: "renamed over an edit", options: mac, base: "a=1", local: "a=2", remote: "A=1",
			conflicts: collision("A", "a", "case") + " | a: file deleted remotely, and changed locally",
		},
		{name: "in a new folder", options: mac, remote: "d/ d/A=1 d/a=1 d/b=1", toLocal: "d/ d/b=1",
			conflicts: collision("d/A", "a", "case") + " | " + collision("d/a", "A", "case")},
		{name: "form", options: mac, local: "\u00e9=1", remote: "e\u0301=1", toRemote: "\u00e9=1", conflicts: collision("e\u0301", "\u00e9", "Unicode form")},
		{name: "no side folds", base: "A=1", local: "A=1", remote: "A=1 a=2", toLocal: "a=2"},
		{name: "invalid names are themselves", options: mac, local: "\xff=1", remote: "\xfe=1", toLocal: "\xfe=1", toRemote: "\xff=1"},
		{name: "prefer can't help", options: Options{Local: mac.Local, Prefer: PreferRemote}, remote: "A=1 a=2", conflicts: aA},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t) })
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	both := Side{FoldsCase: true, FoldsUnicode: true}
	require.Equal(t, both.key("\u00c9"), both.key("e\u0301"))
	require.Equal(t, both.key("\u212a"), both.key("k"), "the Kelvin sign")
	require.Equal(t, both.key("\u03c2"), both.key("\u03a3"), "final sigma")
	require.NotEqual(t, Side{FoldsCase: true}.key("\u00e9"), Side{FoldsCase: true}.key("e\u0301"))
	require.NotEqual(t, Side{FoldsUnicode: true}.key("A"), Side{FoldsUnicode: true}.key("a"))
}

func TestOnlyThePaths(t *testing.T) {
	t.Parallel()
	base, local, remote := parse(t, "a=1 b=1 d/ d/c=1"), parse(t, "a=2 b=2 d/ d/c=2 n/ n/m/ n/m/f=1 n/g=1"), parse(t, "a=1 b=3 d/ d/c=1")
	paths := func(p ...string) Result { return Reconcile(base, local, remote, p, Options{}) }
	require.Equal(t, "d/c=2", show(paths("d/c").ToRemote))
	require.Equal(t, "n/ n/g=1 n/m/ n/m/f=1", show(paths("n/m/f", "n/g").ToRemote), "from the folder that is missing")
	require.Equal(t, []string{"n"}, paths("n/m/f", "n/g").Looked)
	require.Empty(t, paths("nowhere/at/all").ToRemote)
	require.Empty(t, Reconcile(base, local, remote, []string{}, Options{}).ToRemote)

	known := paths("b").Carry(nil)
	require.Len(t, known, 1)
	require.Equal(t, known, paths("a").Carry(known))
	require.NoError(t, remote.Put("b", local.Get("b")))
	require.Empty(t, paths("b").Carry(known))
	require.Empty(t, Reconcile(base, local, remote, nil, Options{}).Carry(known))
}

func TestReading(t *testing.T) {
	t.Parallel()
	for _, m := range Modes() {
		got, err := ParseMode(string(m))
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	m, err := ParseMode("")
	require.NoError(t, err)
	require.Equal(t, TwoWaySafe, m)
	_, err = ParseMode("two-way")
	require.EqualError(t, err, `"two-way" is no mode of sync; there are two-way-safe, one-way, one-way-replica, pull`)
	p, err := ParsePreference("remote")
	require.NoError(t, err)
	require.Equal(t, PreferRemote, p)
	_, err = ParsePreference("mine")
	require.Error(t, err)
}

func TestRebase(t *testing.T) {
	t.Parallel()
	base := parse(t, "app=1 gone=1 d/ d/x=1")
	local := parse(t, "app=2 new=1 d/ d/x=1")
	remote := parse(t, "app=0 gone=0 image/ image/lib=1 d/ d/extra=1")
	ancestor := Rebase(base, local, remote)
	require.True(t, tree.Equal(parse(t, "app=0 gone=0 d/"), ancestor))
	res := Reconcile(ancestor, local, remote, nil, Options{})
	require.Equal(t, "-gone app=2 d/x=1 new=1", show(res.ToRemote))
	require.Equal(t, "d/extra=1 image/ image/lib=1", show(res.ToLocal))
	require.Empty(t, res.Conflicts)
	require.Zero(t, Rebase(base, local, &tree.Tree{}).Len())
}

// Each deletion alone is right, and both would take away the last copy.
func TestAFileThatBothRenamedStaysUnderOneName(t *testing.T) {
	t.Parallel()
	for _, c := range []row{
		{name: "crosswise", base: "a=1 b=1", local: "b=1", remote: "a=1", toLocal: "-b a=1", agreed: "-a"},
		{name: "the other way", base: "a=1 b=1", local: "a=1", remote: "b=1", toRemote: "-b a=1", agreed: "-a"},
		{name: "a copy is left", base: "a=1 b=1 c=1", local: "b=1 c=1", remote: "a=1 c=1", toLocal: "-b", toRemote: "-a"},
		{name: "it comes elsewhere", base: "a=1 b=1", local: "b=1 n=1", remote: "a=1", toLocal: "-b", toRemote: "-a n=1"},
		{name: "other content", base: "a=1 b=2", local: "b=2", remote: "a=1", toLocal: "-b", toRemote: "-a"},
		{name: "a person said so", base: "a=1 b=1", local: "b=1", remote: "a=1", options: Options{Prefer: PreferRemote}, toLocal: "-b", toRemote: "-a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.check(t)
		})
	}
}
