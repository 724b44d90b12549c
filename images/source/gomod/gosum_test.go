package gomod

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const zeros = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func TestParseSum(t *testing.T) {
	t.Parallel()
	inputs, err := parseSum([]byte("b v1.0.0 " + zeros + "\nb v1.0.0/go.mod " + zeros + "\n\na v2.0.0+incompatible " + zeros + "\na v1.9.0 " + zeros + "\nb v1.0.0 " + zeros + "\n"))
	require.NoError(t, err)
	var names []string
	for _, in := range inputs {
		names = append(names, in.Name+"@"+in.Version)
	}
	require.Equal(t, []string{"a@v1.9.0", "a@v2.0.0+incompatible", "b@v1.0.0"}, names)
	for _, bad := range []string{"a v1", "a v1 h2:AAAA", "a v1 h1:AAAA", "a v1 h1:!", "a v1 " + zeros + "\na v1 h1:BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="} {
		_, err := parseSum([]byte(bad))
		require.Error(t, err, bad)
	}
}

func FuzzParseSum(f *testing.F) {
	f.Add([]byte("a v1.0.0 " + zeros + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		inputs, err := parseSum(raw)
		if err != nil {
			return
		}
		for _, in := range inputs {
			require.NoError(t, checkHash(in.Hash))
			require.NotEmpty(t, in.Name)
			require.NotEmpty(t, in.Version)
		}
	})
}
