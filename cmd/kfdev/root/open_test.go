package root

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs"
)

func TestOpenTellsHowToGetIn(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.Local)
	for want, o := range map[string]envs.Opened{
		"u\nCtrl-C ends it.\n":                              {URL: "u"},
		"u\nuser      a\npassword  b\nn\nCtrl-C ends it.\n": {URL: "u", User: "a", Password: "b", Note: "n"},
		"u\ntoken     Bearer x.y.z\n          (goes into the header Authorization, or where the page asks for it; until 2026-03-04 05:06)\nCtrl-C ends it.\n": {
			URL: "u", Token: "x.y.z", Expires: at,
		},
	} {
		var out bytes.Buffer
		require.NoError(t, openText(&out, &o))
		require.Equal(t, want, out.String())
	}
}
