package source

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestReadHost(t *testing.T) {
	t.Parallel()
	h := readHost(fstest.MapFS{
		"usr/lib/os-release": {Data: []byte("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_CODENAME='bookworm'\n# x\n")},
		"proc/meminfo":       {Data: []byte("MemTotal:       24000000 kB\nMemAvailable:   8388608 kB\n")},
	})
	require.Equal(t, "debian", h.ID)
	require.Equal(t, "bookworm", h.Codename)
	require.Equal(t, "Debian GNU/Linux 12 (bookworm)", h.Name)
	require.EqualValues(t, 8<<30, h.Memory)
	require.EqualValues(t, 6<<30, h.budget())
	none := readHost(fstest.MapFS{"proc/meminfo": {Data: []byte("MemAvailable: much")}})
	require.Zero(t, none.Memory)
	require.EqualValues(t, memoryGo, none.budget(), "always enough for one")
	require.NotEmpty(t, ReadHost().Platform)
}
