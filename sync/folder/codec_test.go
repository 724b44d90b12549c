package folder

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/tree"
)

func someRecords() map[string]record {
	return map[string]record{
		"a":        {entry: entryOf("a"), stamp: stamp{size: 1, mtime: 2, ctime: -3, inode: 4, sure: true}},
		"a/b":      {entry: tree.Entry{Kind: tree.File, Exec: true, Size: 5}, stamp: stamp{size: 5}},
		"a/b\xffc": {entry: entryOf(""), stamp: stamp{mtime: 1 << 62}},
	}
}

func someLost() []lost {
	return []lost{
		{index: 3, path: "a/b", from: entryOf("x"), to: tree.Entry{Kind: tree.Symlink, Target: "b"}},
		{index: 4, path: "a", from: tree.Entry{Kind: tree.Dir}, mode: 0o755},
	}
}

func TestWhatIsKeptIsReadBack(t *testing.T) {
	t.Parallel()
	records, err := decodeIndex(encodeIndex(someRecords()))
	require.NoError(t, err)
	require.Equal(t, someRecords(), records)
	list, err := decodeManifest(encodeManifest(someLost()))
	require.NoError(t, err)
	require.Equal(t, someLost(), list)
}

func TestDamageIsSeen(t *testing.T) {
	t.Parallel()
	for _, good := range [][]byte{encodeIndex(someRecords()), encodeManifest(someLost())} {
		decode := func(b []byte) error {
			_, err := decodeIndex(b)
			if _, other := decodeManifest(b); other == nil {
				return nil
			}
			return err
		}
		require.NoError(t, decode(good))
		for i := range good {
			require.ErrorIs(t, decode(good[:i]), errDamaged)
			bad := append([]byte(nil), good...)
			bad[i] ^= 1
			require.ErrorIs(t, decode(bad), errDamaged)
		}
	}
}

// reseal gives what the fuzzer made a checksum, without which nothing is looked
// at.
func reseal(b []byte) []byte { return (&encoder{b: append([]byte(nil), b...)}).sealed() }

func FuzzIndex(f *testing.F) {
	good := encodeIndex(someRecords())
	f.Add(good[:len(good)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := decodeIndex(reseal(b))
		if err != nil {
			return
		}
		again, err := decodeIndex(encodeIndex(records))
		require.NoError(t, err)
		require.Equal(t, records, again)
	})
}

func FuzzManifest(f *testing.F) {
	good := encodeManifest(someLost())
	f.Add(good[:len(good)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeManifest(reseal(b))
		if err != nil {
			return
		}
		again, err := decodeManifest(encodeManifest(list))
		require.NoError(t, err)
		require.Equal(t, list, again)
	})
}
