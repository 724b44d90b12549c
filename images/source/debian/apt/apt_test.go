package apt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/progress"
)

func TestParseURIs(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("ab", 32)
	packages, err := parseURIs([]byte("'scheme://host/pool/z/zlib1g_1.2.13_amd64.deb' zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86684 SHA256:" + hash + "\n\n" +
		"'scheme://host/a' a_1+b~c_all.deb 1 SHA256:" + hash + "\n"))
	require.NoError(t, err)
	require.Equal(t, []Package{
		{Name: "zlib1g", Version: "1:1.2.13.dfsg-1", Architecture: "amd64", File: "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb", Size: 86684, SHA256: hash},
		{Name: "a", Version: "1+b~c", Architecture: "all", File: "a_1+b~c_all.deb", Size: 1, SHA256: hash},
	}, packages)
	for name, bad := range map[string]string{
		"words":            "Reading package lists",
		"another hash":     "'u' a_1_all.deb 1 MD5Sum:" + hash,
		"a short hash":     "'u' a_1_all.deb 1 SHA256:abc",
		"no size":          "'u' a_1_all.deb x SHA256:" + hash,
		"no architecture":  "'u' a_1.deb 1 SHA256:" + hash,
		"a bad escape":     "'u' a_%zz_all.deb 1 SHA256:" + hash,
		"a path as a file": "'u' ../a_1_all.deb 1 SHA256:" + hash,
	} {
		_, err := parseURIs([]byte(bad))
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "'u'", "no URI is shown")
	}
}

func FuzzParseURIs(f *testing.F) {
	f.Add([]byte("'u' zlib1g_1%3a1.2_amd64.deb 86684 SHA256:" + strings.Repeat("0", 64) + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		packages, err := parseURIs(text)
		if err != nil {
			return
		}
		for _, p := range packages {
			require.Equal(t, filepath.Base(p.File), p.File)
			require.NotEmpty(t, p.Name)
			require.NotEmpty(t, p.Version)
			require.Len(t, p.SHA256, 64)
		}
	})
}

func TestFileNameIsApts(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a_1%3a2-3~x_amd64.deb", FileName("a", "1:2-3~x", "amd64"))
	require.Equal(t, "a_%2f.._amd64.deb", FileName("a", "/..", "amd64"))
}

func TestStatusBecomesBytes(t *testing.T) {
	t.Parallel()
	var rec progress.Recorder
	task := progress.Start(&rec, "x", "x", 1000, progress.Bytes)
	s := &statusReader{task: task, total: 1000}
	for _, text := range []string{"dlstatus:1:25.0:Retr", "ieving\nnoise\ndlstatus:1:x:y\ndlstatus:1:500:y\n", "dlstatus:2:10:back\ndlstatus:2:100.0:all\n"} {
		n, err := s.Write([]byte(text))
		require.NoError(t, err)
		require.Len(t, text, n)
	}
	task.Finish("")
	events := rec.Events()
	require.EqualValues(t, 1000, events[len(events)-1].Done)
}

func TestRenderedConfigurationStaysPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := New(Options{Dir: dir, Suite: "bookworm", Sink: progress.Discard, Config: "Extra \"1\";\n"})
	require.NoError(t, a.prepare())
	text, err := os.ReadFile(filepath.Join(dir, "bookworm", "etc", "apt.conf"))
	require.NoError(t, err)
	for _, hook := range []string{"APT::Update::Post-Invoke;", "APT::Update::Post-Invoke-Success;", "DPkg::Post-Invoke;"} {
		require.Contains(t, string(text), "#clear "+hook)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "Dir::") {
			require.Contains(t, line, dir)
		}
	}
	require.True(t, strings.HasSuffix(string(text), "Extra \"1\";\n"))
	require.NoError(t, a.prepare(), "a second time changes nothing")
}
