package seed_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/stack/seed"
)

func TestAKeyOfHashesIsNeverReplaced(t *testing.T) {
	t.Parallel()
	kubeClient, fake := client()
	s := seed.New(kubeClient, time.Now)
	none, err := s.HashKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, seed.HashKey{}, none)

	one, err := seed.NewHashKey()
	require.NoError(t, err)
	other, err := seed.NewHashKey()
	require.NoError(t, err)
	require.Len(t, one.Key, 32)
	require.NotEqual(t, one, other)
	lost := errors.New("the lease is lost")
	_, err = s.Fenced(func(context.Context) error { return lost }).KeepHashKey(t.Context(), one)
	require.ErrorIs(t, err, lost)
	_, err = s.KeepHashKey(t.Context(), one)
	require.NoError(t, err)
	_, err = s.KeepHashKey(t.Context(), other)
	require.ErrorContains(t, err, "another was made meanwhile")
	require.Equal(t, map[string]string{"key": string(one.Key)}, data(t, fake, "kfdev-system", seed.HashKeyName))
	have, err := s.HashKey(t.Context())
	require.NoError(t, err)
	require.Equal(t, one.Key, have.Key)
}
