package kube

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func entriesOf(tb testing.TB, log io.Reader) (all []LogEntry) {
	tb.Helper()
	require.NoError(tb, ReadLog(log, func(e LogEntry) error {
		all = append(all, e)
		return nil
	}))
	return all
}

func TestLogsSince(t *testing.T) {
	t.Parallel()
	var asked string
	client := connect(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.RawQuery }))
	log, err := client.Logs(t.Context(), "ns", "p", LogOptions{
		Since: time.Date(2026, 3, 4, 6, 6, 7, 89, time.FixedZone("", 3600)), Timestamps: true,
	})
	require.NoError(t, err)
	require.NoError(t, log.Close())
	require.Equal(t, "sinceTime=2026-03-04T05%3A06%3A07Z&timestamps=true", asked)
}

func TestReadLog(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)
	stamp := at.Format(time.RFC3339Nano)
	for name, tc := range map[string]struct {
		log  string
		want []LogEntry
	}{
		"nothing":             {"", nil},
		"lines":               {stamp + " a  b\n" + stamp + " \n", []LogEntry{{at, "a  b"}, {at, ""}}},
		"without a last end":  {stamp + " a\r\n" + stamp + " b", []LogEntry{{at, "a"}, {at, "b"}}},
		"only a time":         {stamp + "\n", []LogEntry{{at, ""}}},
		"no time":             {"failed to open the log\n\n", []LogEntry{{Text: "failed to open the log"}, {}}},
		"what is not to read": {"\xff\x00 x\n", []LogEntry{{Text: "\xff\x00 x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, entriesOf(t, iotest.OneByteReader(strings.NewReader(tc.log))))
		})
	}
}

func TestALineWithoutAnEndComesInPieces(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	long := strings.Repeat("x", 3*maxLogLine)
	all := entriesOf(t, strings.NewReader(at.Format(time.RFC3339)+" "+long+"\n"+at.Format(time.RFC3339)+" y\n"))
	var text strings.Builder
	for _, e := range all[:len(all)-1] {
		require.Equal(t, at, e.Time)
		require.LessOrEqual(t, len(e.Text), maxLogLine)
		text.WriteString(e.Text)
	}
	require.Equal(t, long, text.String())
	require.Equal(t, LogEntry{at, "y"}, all[len(all)-1])
}

func TestReadLogEndsWithWhatFails(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	require.ErrorIs(t, ReadLog(iotest.ErrReader(stop), nil), stop)
	calls := 0
	require.ErrorIs(t, ReadLog(strings.NewReader("a\nb\n"), func(LogEntry) error { calls++; return stop }), stop)
	require.Equal(t, 1, calls)
}

func FuzzReadLog(f *testing.F) {
	f.Add("2026-03-04T05:06:07.000000089Z a line\nno time\n")
	f.Add("\r\n \n2026-13-04T05:06:07Z x")
	f.Fuzz(func(t *testing.T, log string) {
		for _, e := range entriesOf(t, strings.NewReader(log)) {
			require.NotContains(t, e.Text, "\n")
			require.LessOrEqual(t, len(e.Text), maxLogLine)
		}
	})
}
