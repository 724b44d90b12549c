package envs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack"
)

func TestAWayToLogInIsShown(t *testing.T) {
	t.Parallel()
	at := func(o stack.Open) part {
		return part{Component: stack.Component{Name: "ui", Namespace: "ns", Note: "n", Open: &o}}
	}
	for name, tc := range map[string]struct {
		open stack.Open
		want Opened
	}{
		"nothing is asked": {stack.Open{}, Opened{}},
		"a password":       {stack.Open{Secret: "login", UserKey: "user", PasswordKey: "word"}, Opened{User: "ns/user", Password: "ns/word"}},
		"a token": {stack.Open{ServiceAccount: "server", Namespace: "else"}, Opened{
			Token: "token of else", Expires: time.Unix(0, 0).Add(12 * time.Hour),
		}},
	} {
		tc.want.Component, tc.want.Note = "ui", "n"
		got, err := login(t.Context(), at(tc.open), fakeLive{})
		require.NoError(t, err, name)
		require.Equal(t, &tc.want, got, name)
	}
	for _, o := range []stack.Open{{Secret: "gone"}, {ServiceAccount: "gone"}} {
		_, err := login(t.Context(), at(o), fakeLive{})
		require.ErrorContains(t, err, "there is none")
	}
}

func TestOnlyWhatServesAPageIsOpened(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents)
	_, err := b.engine(t).Open(t.Context(), "extra", 0)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, "it serves no page")
}
