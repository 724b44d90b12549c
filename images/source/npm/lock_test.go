package npm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func one(place, fields string) []byte {
	return fmt.Appendf(nil, `{"lockfileVersion": 3, "packages": {%q: {%s}}}`, place, fields)
}

const good = `"version": "1.0.0", "integrity": "sha512-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="`

func TestParseLockTakes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		place, fields string
		want          []string // name of each package
	}{
		"a plain one":                {"node_modules/a", good, []string{"a"}},
		"an alias":                   {"node_modules/a", good + `, "name": "@s/b"`, []string{"@s/b"}},
		"the root alone":             {"", good, nil},
		"not for production":         {"node_modules/a", good + `, "dev": true`, nil},
		"an optional one of another": {"node_modules/a", good + `, "optional": true, "os": ["darwin"]`, nil},
		"an optional one of ours":    {"node_modules/a", good + `, "optional": true, "os": ["!win32"], "cpu": ["x64"], "libc": ["glibc"]`, []string{"a"}},
		"an optional one for musl":   {"node_modules/a", good + `, "optional": true, "libc": ["musl"]`, nil},
		"not for linux, optional":    {"node_modules/a", good + `, "optional": true, "os": ["!linux"]`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lock, err := ParseLock(one(tc.place, tc.fields))
			require.NoError(t, err)
			var names []string
			for _, p := range lock.Packages {
				names = append(names, p.Name)
			}
			require.Equal(t, tc.want, names)
		})
	}
}

func TestParseLockRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ lock, want string }{
		"not JSON":         {"x", "reading the lock"},
		"an old one":       {`{"lockfileVersion": 1}`, "only 3"},
		"an empty one":     {`{"lockfileVersion": 3}`, "no packages"},
		"a host":           {string(one("node_modules/a", good+`, "resolved": "https://host.example/a.tgz"`)), "names no host"},
		"a script":         {string(one("node_modules/a", good+`, "hasInstallScript": true`)), "none is ever run"},
		"a link":           {string(one("node_modules/a", good+`, "link": true`)), "is a link"},
		"no integrity":     {string(one("node_modules/a", `"version": "1.0.0"`)), "no sha512"},
		"a weak integrity": {string(one("node_modules/a", `"version": "1.0.0", "integrity": "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="`)), "no sha512"},
		"a range":          {string(one("node_modules/a", strings.Replace(good, "1.0.0", "^1.0.0", 1))), "not exact"},
		"another machine":  {string(one("node_modules/a", good+`, "cpu": ["arm64"]`)), "linux/amd64"},
		"a folder":         {string(one("packages/a", good)), "not a place in node_modules"},
		"a way out":        {string(one("node_modules/../../a", good)), "not a place in node_modules"},
		"dots for a name":  {string(one("node_modules/..", good)), "not a place in node_modules"},
		"a bad name":       {string(one("node_modules/a", good+`, "name": "a b"`)), "name"},
		"an option":        {string(one("node_modules/a", good+`, "name": "--a"`)), "name"},
		"a bin way out":    {string(one("node_modules/a", good+`, "bin": {"x": "../../etc/x"}`)), "leaves the package"},
		"a bin path":       {string(one("node_modules/a", good+`, "bin": {"../x": "x"}`)), "leaves the package"},
		"a bin number":     {string(one("node_modules/a", good+`, "bin": 3`)), "bin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseLock([]byte(tc.lock))
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add(one("node_modules/a/node_modules/@b/c", good+`, "bin": {"x": "./x.js"}`))
	f.Add(one("node_modules/a", good+`, "bin": "x"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		lock, err := ParseLock(data)
		if err != nil {
			return
		}
		for _, p := range lock.Packages {
			require.True(t, safeName(p.Path), p.Path)
			require.NotEqual(t, byte('-'), p.Name[0], p.Name)
			for program, file := range p.Bin {
				require.True(t, safeName(program) && safeName(file), "%q %q", program, file)
			}
		}
	})
}

func FuzzReadTarball(f *testing.F) {
	f.Add(tgz(f, "package/", map[string]string{"a": "a", "b/c": "c"}))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 20
		files, err := readTarball(bytes.NewReader(data), limit)
		if err != nil {
			return
		}
		total := 0
		for name, file := range files {
			require.True(t, safeName(name), name)
			total += len(file.content)
		}
		require.LessOrEqual(t, total, limit)
	})
}
