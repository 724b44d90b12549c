package wheels

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

func example(t *testing.T) built {
	t.Helper()
	return build(t, "Ex-ample", "1.0",
		file{name: "ex/__init__.py", text: "answer = 42\n"},
		file{name: "ex/tool", mode: 0o755, text: "#!/bin/sh\necho a tool that is long enough to be deflated\n"},
		file{name: "Ex_ample-1.0.data/purelib/pure.py", text: "pure = True\n"},
		file{name: "Ex_ample-1.0.data/platlib/plat.py", text: "plat = True\n"},
		file{name: "Ex_ample-1.0.data/scripts/old", text: "#!python\nprint('old')\n"},
		file{name: "Ex_ample-1.0.data/scripts/shell", text: "#!/bin/sh\necho shell\n"},
		file{name: "Ex_ample-1.0.data/data/share/ex/data.txt", text: "data\n"},
		file{name: "Ex_ample-1.0.data/headers/ex.h", text: "#define EX\n"},
		file{name: "Ex_ample-1.0.dist-info/entry_points.txt", text: "[console_scripts]\nex = ex.cli:main.run [extra]\n[other]\nx = y\n"},
	)
}

func TestTreeIsAVirtualEnvironment(t *testing.T) {
	t.Parallel()
	w := example(t)
	tree, err := makeTree(t, newStore(t, w), specOf(w))
	require.NoError(t, err)
	require.Equal(t, []string{
		"bin/ex 755",
		"bin/old 755",
		"bin/python -> python3",
		"bin/python3 -> /usr/bin/python3.11",
		"bin/python3.11 -> python3",
		"bin/shell 755",
		"include/site/python3.11/Ex_ample/ex.h 644",
		site("Ex_ample-1.0.dist-info/INSTALLER 644"),
		site("Ex_ample-1.0.dist-info/METADATA 644"),
		site("Ex_ample-1.0.dist-info/RECORD 644"),
		site("Ex_ample-1.0.dist-info/WHEEL 644"),
		site("Ex_ample-1.0.dist-info/entry_points.txt 644"),
		site("ex/__init__.py 644"),
		site("ex/tool 755"),
		site("plat.py 644"),
		site("pure.py 644"),
		"pyvenv.cfg 644",
		"share/ex/data.txt 644",
	}, listing(tree))
	require.Equal(t, "#!/opt/venv/bin/python3\nimport sys\n\nfrom ex.cli import main\n\nif __name__ == \"__main__\":\n    sys.exit(main.run())\n",
		content(t, tree, "bin/ex"))
	require.Equal(t, "#!/opt/venv/bin/python3\nprint('old')\n", content(t, tree, "bin/old"))
	require.Equal(t, "#!/bin/sh\necho shell\n", content(t, tree, "bin/shell"))
	require.Contains(t, content(t, tree, "pyvenv.cfg"), "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n")
}

func TestRecordTellsEveryInstalledFileAndItsHash(t *testing.T) {
	t.Parallel()
	w := example(t)
	tree, err := makeTree(t, newStore(t, w), specOf(w))
	require.NoError(t, err)
	rows, err := csv.NewReader(strings.NewReader(content(t, tree, site("Ex_ample-1.0.dist-info/RECORD")))).ReadAll()
	require.NoError(t, err)
	recorded := map[string]bool{}
	for _, row := range rows {
		name := path.Join(site(""), row[0])
		recorded[name] = true
		text := content(t, tree, name)
		if row[1] == "" {
			require.Equal(t, "Ex_ample-1.0.dist-info/RECORD", row[0])
			continue
		}
		sum := sha256.Sum256([]byte(text))
		require.Equal(t, "sha256="+base64.RawURLEncoding.EncodeToString(sum[:]), row[1], row[0])
	}
	for _, e := range tree.Entries() {
		name := strings.TrimPrefix(e.Path, "opt/venv/")
		if e.Type == layer.File && name != "pyvenv.cfg" {
			require.True(t, recorded[name], name)
		}
	}
}

func TestExcludeAndOnly(t *testing.T) {
	t.Parallel()
	w := example(t)
	for name, tc := range map[string]struct {
		exclude, only []string
		has, hasNot   []string
	}{
		"a folder":         {exclude: []string{site("ex")}, has: []string{site("pure.py")}, hasNot: []string{site("ex/__init__.py"), site("ex/tool")}},
		"across folders":   {exclude: []string{"**/*.py"}, has: []string{site("ex/tool"), "bin/ex"}, hasNot: []string{site("ex/__init__.py"), site("pure.py")}},
		"within a folder":  {exclude: []string{"lib/python3.11/site-packages/*.py"}, has: []string{site("ex/__init__.py")}, hasNot: []string{site("pure.py")}},
		"one file alone":   {only: []string{site("ex/tool")}, has: []string{site("ex/tool")}, hasNot: []string{"pyvenv.cfg", "bin/python3", site("pure.py")}},
		"only and exclude": {only: []string{"share"}, exclude: []string{"share/ex/data.txt"}, hasNot: []string{"share/ex/data.txt", "bin/ex"}},
		"no prefix match":  {exclude: []string{"lib/python3.11/site-packages/e"}, has: []string{site("ex/tool")}},
		"a question mark":  {exclude: []string{"bin/e?"}, has: []string{"bin/old"}, hasNot: []string{"bin/ex"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := specOf(w)
			spec.Layer.Wheels.Exclude, spec.Layer.Wheels.Only = tc.exclude, tc.only
			tree, err := makeTree(t, newStore(t, w), spec)
			require.NoError(t, err)
			for _, each := range tc.has {
				_, ok := tree.Get("opt/venv/" + each)
				require.True(t, ok, each)
			}
			for _, each := range tc.hasNot {
				_, ok := tree.Get("opt/venv/" + each)
				require.False(t, ok, each)
				if record, ok := tree.Get("opt/venv/" + site("Ex_ample-1.0.dist-info/RECORD")); ok && record.Size > 0 {
					require.NotContains(t, content(t, tree, site("Ex_ample-1.0.dist-info/RECORD")), "\n"+strings.TrimPrefix(each, site("")+"/")+",")
				}
			}
		})
	}
}

func TestTheSameFileOfTwoWheels(t *testing.T) {
	t.Parallel()
	a := build(t, "a", "1", file{name: "ns/__init__.py", text: "# the same\n"}, file{name: "ns/a.py", text: "a\n"})
	b := build(t, "b", "1", file{name: "ns/__init__.py", mode: 0o755, text: "# the same\n"})
	c := build(t, "c", "1", file{name: "ns/__init__.py", text: "# another\n"})
	tree, err := makeTree(t, newStore(t, a, b), specOf(a, b))
	require.NoError(t, err)
	require.Contains(t, listing(tree), site("ns/__init__.py 755"))
	_, err = makeTree(t, newStore(t, a, b, c), specOf(a, b, c))
	require.ErrorContains(t, err, "ns/__init__.py is in a-1-py3-none-any.whl too, with other content")
	d := build(t, "d", "1", file{name: "ns", text: "a file where a folder is\n"})
	tree, err = makeTree(t, newStore(t, a, d), specOf(a, d))
	require.NoError(t, err)
	require.Error(t, tree.Write(t.Context(), io.Discard))
}

func TestTreeDoesNotDependOnOrderOrStore(t *testing.T) {
	t.Parallel()
	wheels := []built{example(t), build(t, "b", "2", file{name: "b.py", text: "b\n"}), build(t, "zz", "1", file{name: "z/z.py", text: "z\n"})}
	spec := specOf(wheels...)
	var layers [][]byte
	for range 2 {
		m := New(newStore(t, wheels...), Client{}, t.TempDir(), progress.Discard)
		inputs, err := m.Pin(t.Context(), spec, nil)
		require.NoError(t, err)
		slices.Reverse(inputs)
		slices.Reverse(wheels)
		tree, err := m.Tree(t.Context(), spec, inputs)
		require.NoError(t, err)
		var out bytes.Buffer
		require.NoError(t, tree.Write(t.Context(), &out))
		layers = append(layers, out.Bytes())
	}
	require.Equal(t, layers[0], layers[1])
}

func TestTreeRefusesWhatIsNotTheLockedWheel(t *testing.T) {
	t.Parallel()
	info := "x-1.dist-info/"
	meta := file{name: info + "METADATA", text: "Name: x\nVersion: 1\n"}
	wheel := file{name: info + "WHEEL", text: "Wheel-Version: 1.0\n"}
	for name, tc := range map[string]struct {
		files []file
		want  string
	}{
		"not a wheel":           {[]file{meta}, "not a wheel"},
		"two of them":           {[]file{meta, wheel, {name: "y-1.dist-info/WHEEL", text: wheel.text}}, "both"},
		"another distribution":  {[]file{{name: meta.name, text: "Name: y\nVersion: 1\n"}, wheel}, `names "y"`},
		"another version":       {[]file{{name: meta.name, text: "Name: x\nVersion: 2\n"}, wheel}, `version "2"`},
		"a wheel of the future": {[]file{meta, {name: wheel.name, text: "Wheel-Version: 2.0\n"}}, "Wheel-Version"},
		"metadata without form": {[]file{{name: meta.name, text: "what is this"}, wheel}, "is not a field"},
		"an unknown scheme":     {[]file{meta, wheel, {name: "x-1.data/etc/x", text: "x"}}, "unknown scheme"},
		"a file for a scheme":   {[]file{meta, wheel, {name: "x-1.data/data", text: "x"}}, "a folder of the scheme is due"},
		"a broken RECORD":       {[]file{meta, wheel, {name: info + "RECORD", text: "a,b\n"}}, "RECORD"},
		"a broken entry point":  {[]file{meta, wheel, {name: info + "entry_points.txt", text: "[console_scripts]\nx\n"}}, "entry_points.txt:2"},
		"over the interpreter":  {[]file{meta, wheel, {name: "x-1.data/scripts/python3", text: "x"}}, "bin/python3 is in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := zipOf(t, tc.files...)
			w := build(t, "x", "1")
			sum := sha256.Sum256(data)
			w.data, w.Size, w.SHA256 = data, int64(len(data)), hexOf(sum[:])
			_, err := makeTree(t, newStore(t, w), specOf(w))
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestPinChecksRecipeLockAndBase(t *testing.T) {
	t.Parallel()
	w := example(t)
	pin := func(change func(*source.LayerSpec)) ([]recipe.Input, error) {
		spec := specOf(w)
		change(&spec)
		return New(newStore(t), Client{}, t.TempDir(), progress.Discard).Pin(t.Context(), spec, nil)
	}
	inputs, err := pin(func(s *source.LayerSpec) {
		s.Below = [][]recipe.Input{{{Kind: "deb", Name: "libpython3.11-minimal", Version: "3.11.2-6+deb12u6"}}}
	})
	require.NoError(t, err)
	require.Equal(t, []recipe.Input{{Kind: "wheel", Name: "ex-ample", Version: "1.0", File: w.File, Size: w.Size, Hash: "sha256:" + w.SHA256}}, inputs)

	_, err = pin(func(s *source.LayerSpec) {
		s.Below = [][]recipe.Input{{{Kind: "deb", Name: "libpython3.11-minimal", Version: "3.11.9-1"}}}
	})
	require.Equal(t, 4, fault.ExitCode(err))
	require.ErrorContains(t, err, "3.11.9")
	_, err = pin(func(s *source.LayerSpec) { s.Layer.Wheels.Python = "3.12.1" })
	require.Equal(t, 2, fault.ExitCode(err))
	require.ErrorContains(t, err, "made for Python 3.11.2")
	_, err = pin(func(s *source.LayerSpec) { s.Layer.Wheels.Lock = "other.yaml" })
	require.Equal(t, 2, fault.ExitCode(err))
	_, err = pin(func(s *source.LayerSpec) { s.Layer.Wheels = nil })
	require.Error(t, err)
}

func TestPrefixIsAbsoluteAndFitsAFirstLine(t *testing.T) {
	t.Parallel()
	w := example(t)
	for _, prefix := range []string{"", "/", "opt/venv", "/opt/../venv", "/" + strings.Repeat("a", 250)} {
		spec := specOf(w)
		spec.Layer.Wheels.Prefix = prefix
		_, err := makeTree(t, newStore(t, w), spec)
		require.Equal(t, 2, fault.ExitCode(err), prefix)
	}
}
