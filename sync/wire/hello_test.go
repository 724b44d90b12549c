package wire

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
)

// A laptop that does not know of copies is not told of one: it would refuse what
// it does not know.
func TestWhatOnlyOneSideKnowsIsNotSaid(t *testing.T) {
	t.Parallel()
	of := endpoint.Info{Identity: "new", Fresh: true, CopyOf: "old"}
	require.Equal(t, "old", infoOf(of, features).CopyOf)
	require.Empty(t, infoOf(of, 0).CopyOf)
	_, err := (&info{Identity: "new", CopyOf: "\x1b[2J"}).info()
	require.ErrorIs(t, err, ErrProtocol)
}
