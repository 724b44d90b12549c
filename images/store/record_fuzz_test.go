package store

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"kind":"layer","key":"k","blobs":["sha256:0000000000000000000000000000000000000000000000000000000000000000"],"value":{"a":1}}`))
	f.Add([]byte(`{"version":1,"kind":"layer","key":"k","blobs":["md5:00"],"value":1}`))
	f.Add([]byte(`{}{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decodeRecord(raw)
		if err != nil {
			return
		}
		require.Equal(t, recordVersion, r.Version)
		again, err := json.Marshal(r)
		require.NoError(t, err)
		back, err := decodeRecord(again)
		require.NoError(t, err)
		require.Equal(t, r.Blobs, back.Blobs)
	})
}

func FuzzSum(f *testing.F) {
	f.Add("sha256:0000000000000000000000000000000000000000000000000000000000000000")
	f.Add("sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSum(text)
		if err != nil {
			return
		}
		require.Len(t, s.want, s.new().Size())
		if d, ok := s.digest(); ok {
			require.Len(t, d.Hex, 64)
		}
	})
}
