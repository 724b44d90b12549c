package control

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/tree"
)

func FuzzDecodeResolve(f *testing.F) {
	for _, seed := range []string{`{"path":"YQ==","keep":"local"}`, `{"path":"YQ==","keep":"both"} x`, `{}`, `[`, `{"path":"/w==","keep":"remote","x":0}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		q, err := decodeResolve(bytes.NewReader(raw))
		if err != nil {
			require.Equal(t, fault.Usage, fault.KindOf(err))
			return
		}
		require.NotEmpty(t, q.Path)
		again, err := json.Marshal(q)
		require.NoError(t, err)
		same, err := decodeResolve(bytes.NewReader(again))
		require.NoError(t, err)
		require.Equal(t, q, same)
	})
}

func FuzzDecodeResume(f *testing.F) {
	for _, seed := range []string{`{"how":"accept-deletes"}`, `{"how":"bring-back"}`, `{"how":"accept-rules"}`, `{"how":""}`, `{}`, `[`, `{"how":"bring-back","x":0}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		q, err := decodeResume(bytes.NewReader(raw))
		if err != nil {
			require.Equal(t, fault.Usage, fault.KindOf(err))
			return
		}
		require.Contains(t, session.Resumptions(), q.How)
	})
}

func FuzzDecodeFailure(f *testing.F) {
	f.Add([]byte(`{"op":"a","subject":"b","error":"c","kind":"gate","hints":["d"]}`))
	f.Add([]byte(`{"kind":"what"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var x failure
		if decode(bytes.NewReader(raw), maxRequest, false, &x) != nil {
			return
		}
		err := x.fault()
		require.Equal(t, fault.ExitCode(err), fault.ExitCode(failureOf(err).fault()))
	})
}

func FuzzDecodeTree(f *testing.F) {
	f.Add([]byte(`[{"path":"","kind":1},{"path":"YQ==","kind":3,"target":"Yg=="}]`))
	f.Add([]byte(`[{"path":"","kind":1},{"path":"YQ==","kind":2,"digest":"AA=="}]`))
	f.Add([]byte(`[{"path":"YQ==","kind":9}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		held, err := decodeTree(bytes.NewReader(raw))
		if err != nil {
			return
		}
		again, err := json.Marshal(itemsOf(held))
		require.NoError(t, err)
		same, err := decodeTree(bytes.NewReader(again))
		require.NoError(t, err)
		require.True(t, tree.Equal(held, same))
	})
}
