package dirs

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFind(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env  map[string]string
		want Dirs
	}{
		"home": {map[string]string{"HOME": "/h"}, Dirs{"/h/.cache/kfdev", "/h/.local/state/kfdev", "/h/.config/kfdev"}},
		"all": {
			map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/o"},
			Dirs{"/c/kfdev", "/s/kfdev", "/o/kfdev"},
		},
		"a relative one is ignored": {
			map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "c"},
			Dirs{"/h/.cache/kfdev", "/h/.local/state/kfdev", "/h/.config/kfdev"},
		},
		"no home": {map[string]string{}, Dirs{"/db/.cache/kfdev", "/db/.local/state/kfdev", "/db/.config/kfdev"}},
		"no home but all of XDG": {
			map[string]string{"XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/o"},
			Dirs{"/c/kfdev", "/s/kfdev", "/o/kfdev"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := find(func(k string) string { return tc.env[k] }, func() (string, error) { return "/db", nil })
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestFindSaysWhatIsNotSet(t *testing.T) {
	t.Parallel()
	none := errors.New("no such user")
	_, err := find(func(string) string { return "" }, func() (string, error) { return "", none })
	require.ErrorIs(t, err, none)
	require.ErrorContains(t, err, "XDG_CACHE_HOME")
	require.ErrorContains(t, err, "HOME")
}

func TestFindAsksTheUserDatabase(t *testing.T) {
	t.Parallel()
	got, err := Find(func(string) string { return "" })
	require.NoError(t, err)
	require.NotEmpty(t, got.State)
}
