package wheels

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBestTakesWhatInstallersTake(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		files []string
		want  int
	}{
		"the own ABI before the stable one": {[]string{"x-1-cp38-abi3-manylinux_2_17_x86_64.whl", "x-1-cp311-cp311-manylinux_2_17_x86_64.whl"}, 1},
		"native before pure":                {[]string{"x-1-py3-none-any.whl", "x-1-py3-none-manylinux_2_28_x86_64.whl"}, 1},
		"the newer platform":                {[]string{"x-1-cp311-cp311-manylinux2014_x86_64.whl", "x-1-cp311-cp311-manylinux_2_28_x86_64.whl"}, 1},
		"any of compressed tags":            {[]string{"x-1-py3-none-any.whl", "x-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl"}, 1},
		"the newer stable ABI":              {[]string{"x-1-cp37-abi3-manylinux_2_17_x86_64.whl", "x-1-cp311-abi3-manylinux_2_17_x86_64.whl"}, 1},
		"not a glibc of the future":         {[]string{"x-1-cp311-cp311-manylinux_2_39_x86_64.whl"}, -1},
		"not musl":                          {[]string{"x-1-cp311-cp311-musllinux_1_2_x86_64.whl"}, -1},
		"not another machine":               {[]string{"x-1-cp311-cp311-manylinux_2_17_aarch64.whl", "x-1-cp311-cp311-macosx_11_0_arm64.whl"}, -1},
		"not another Python":                {[]string{"x-1-cp312-cp312-manylinux_2_17_x86_64.whl", "x-1-cp312-abi3-manylinux_2_17_x86_64.whl"}, -1},
		"not Python 2":                      {[]string{"x-1-py2-none-any.whl"}, -1},
		"not an older own ABI":              {[]string{"x-1-cp310-cp310-manylinux_2_17_x86_64.whl"}, -1},
		"not a debug ABI":                   {[]string{"x-1-cp311-cp311d-manylinux_2_17_x86_64.whl"}, -1},
		"not PyPy":                          {[]string{"x-1-pp311-pypy311_pp73-manylinux_2_17_x86_64.whl"}, -1},
		"both Pythons":                      {[]string{"x-1-py2.py3-none-any.whl"}, 0},
		"a plain linux tag":                 {[]string{"x-1-cp311-cp311-linux_x86_64.whl"}, 0},
		"the greater build":                 {[]string{"x-1-1-py3-none-any.whl", "x-1-2-py3-none-any.whl"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Best(tc.files, "3.11.2", "manylinux_2_36_x86_64")
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestBestOnArm64(t *testing.T) {
	t.Parallel()
	got, err := Best([]string{"x-1-cp311-cp311-manylinux_2_17_x86_64.whl", "x-1-cp311-cp311-manylinux2014_aarch64.whl"}, "3.11.2", "manylinux_2_36_aarch64")
	require.NoError(t, err)
	require.Equal(t, 1, got)
}

func TestParseFilename(t *testing.T) {
	t.Parallel()
	got, err := ParseFilename("Some_Pkg.x-1.0+local.1-1b-py2.py3-none-any.whl")
	require.NoError(t, err)
	require.Equal(t, Filename{Distribution: "some-pkg-x", Version: "1.0+local.1", Build: "1b", Pythons: []string{"py2", "py3"}, ABIs: []string{"none"}, Platforms: []string{"any"}}, got)
	for _, bad := range []string{"", ".whl", "a-1.whl", "a-1-py3-none-any.zip", "a-1-x-y-py3-none-any.whl", "a/b-1-py3-none-any.whl", "--py3-none-any.whl", "a-1-py3-none-any .whl"} {
		_, err := ParseFilename(bad)
		require.Error(t, err, bad)
	}
	for _, bad := range [][2]string{{"3.11", "manylinux_2_36_x86_64"}, {"3.11.2", "any"}, {"3.11.2", "manylinux_2_36_riscv64"}, {"3.11.2", "manylinux_2_4_x86_64"}} {
		_, err := Best(nil, bad[0], bad[1])
		require.Error(t, err, bad)
	}
	_, err = Best([]string{"nonsense"}, "3.11.2", "manylinux_2_36_x86_64")
	require.Error(t, err)
}

func FuzzParseFilename(f *testing.F) {
	f.Add("x-1-1-py2.py3-none-any.whl")
	f.Add("x-1-cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")
	tags, err := newTagSet("3.11.2", "manylinux_2_36_x86_64")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, file string) {
		name, err := ParseFilename(file)
		if err != nil {
			return
		}
		require.True(t, safeName(file), file)
		require.NotEmpty(t, name.Distribution)
		require.GreaterOrEqual(t, tags.rank(name), -1)
	})
}
