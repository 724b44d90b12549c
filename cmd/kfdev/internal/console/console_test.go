package console_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/cmd/kfdev/internal/console"
	"github.com/kfdev/kfdev/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// show runs work in a bubble, where time is not real, and returns what a
// console wrote meanwhile.
func show(t *testing.T, o console.Options, work func(progress.Sink)) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		o.Out = &out
		c := console.New(o)
		work(c)
		c.Close()
	})
	return out.String()
}

// pass lets time pass, and whatever is due in it happen.
func pass(d time.Duration) {
	<-time.After(d + time.Millisecond)
	synctest.Wait()
}

// download is the work that most tests show: one task with two parts, one of
// which takes 40 s at 1 MB/s.
func download(sink progress.Sink) {
	all := progress.Start(sink, "images", "Images", 2, progress.Items)
	progress.Start(sink, "images/small", "small", 0, progress.None).Finish("")
	all.Add(1)
	large := progress.Start(sink, "images/large", "large\nimage", 40_000_000, progress.Bytes)
	for range 40 {
		pass(time.Second - time.Millisecond)
		large.Add(1_000_000)
	}
	large.Finish("")
	all.Add(1)
	progress.Warn(sink, "disk is low")
	all.Finish("Images copied")
	progress.Start(sink, "cluster", "Cluster", 0, progress.None).Skip("")
	progress.Start(sink, "stack", "Stack", 0, progress.None).Fail(errors.New("no such\nnode"))
	progress.Say(sink, "that was it")
}

func TestPlain(t *testing.T) {
	t.Parallel()
	require.Equal(t, `00:00  Images ...
00:10    large image: 22 %, 9.0 MB of 40.0 MB, 900 kB/s, about 34 s left
00:20    large image: 47 %, 19.0 MB of 40.0 MB, 937 kB/s, about 22 s left
`, firstLines(show(t, console.Options{Mode: console.Plain}, download), 3))
}

func firstLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[:min(n, len(lines))], "")
}

func TestPlainEnds(t *testing.T) {
	t.Parallel()
	got := show(t, console.Options{Mode: console.Plain}, download)
	require.True(t, strings.HasSuffix(got, `00:40    large image: done, 40.0 MB in 40.0 s
00:40  warning: disk is low
00:40  Images copied: done, 40.0 s
00:40  Cluster ...
00:40  Cluster: nothing to do
00:40  Stack ...
00:40  Stack: FAILED after 0 ms: no such node
00:40  that was it
`), got)
	require.NotContains(t, got, "small", "parts that are over at once are not told")
	require.Contains(t, show(t, console.Options{Mode: console.Plain, Verbose: true}, download), "00:00    small: done, 0 ms\n")
}

func TestPlainSaysOfManyHowMany(t *testing.T) {
	t.Parallel()
	got := show(t, console.Options{Mode: console.Plain}, func(sink progress.Sink) {
		for i := range 9 {
			progress.Start(sink, fmt.Sprintf("t%d", i), fmt.Sprintf("task %d", i), 0, progress.None)
		}
		pass(11 * time.Second)
	})
	require.Contains(t, got, "00:10  task 4: 10 s\n00:10  and 4 more\n")
}

func TestItemsAreEstimatedOnceSomeAreDone(t *testing.T) {
	t.Parallel()
	got := show(t, console.Options{Mode: console.Plain}, func(sink progress.Sink) {
		task := progress.Start(sink, "t", "wheels", 10, progress.Items)
		for range 5 {
			pass(6 * time.Second)
			task.Add(1)
		}
		pass(time.Second)
	})
	require.Equal(t, `00:00  wheels ...
00:10  wheels: 10 %, 1 of 10, 10 s
00:20  wheels: 30 %, 3 of 10, about 47 s left
00:30  wheels: 40 %, 4 of 10, about 45 s left
`, got)
}

func TestQuietSaysWarningsAlone(t *testing.T) {
	t.Parallel()
	require.Equal(t, "warning: disk is low\n", show(t, console.Options{Mode: console.Quiet}, download))
}

func TestJSONIsOneEventALine(t *testing.T) {
	t.Parallel()
	got := show(t, console.Options{Mode: console.JSON}, download)
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	require.Greater(t, len(lines), 20)
	for _, line := range lines {
		var e progress.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		require.NotEmpty(t, e.State)
	}
}

func terminal(columns, rows int) func() (int, int, bool) {
	return func() (int, int, bool) { return columns, rows, true }
}

func TestAutoIsPlainWithoutATerminal(t *testing.T) {
	t.Parallel()
	say := func(sink progress.Sink) { progress.Say(sink, "x") }
	require.Equal(t, "00:00  x\n", show(t, console.Options{Mode: console.Auto}, say))
	require.Contains(t, show(t, console.Options{Mode: console.Auto, Size: terminal(80, 24)}, say), "\x1b[")
}

func TestTTY(t *testing.T) {
	t.Parallel()
	s := &screen{columns: 80}
	s.write(t, show(t, console.Options{Mode: console.TTY, Size: terminal(80, 24)}, download))
	require.Equal(t, []string{
		"  ✓ large image  40.0 MB, 40.0 s",
		"! disk is low",
		"✓ Images copied  40.0 s",
		"- Cluster",
		"✗ Stack  no such node",
		"that was it",
	}, s.lines(), "live lines are gone, what ended stays")
}

func TestTTYPicture(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		columns, rows int
		want          []string
	}{
		"wide": {100, 24, []string{
			"⠹ Images  ━━━━━━━━━━──────────  50 %, 1 of 2, 20 s",
			"  ⠹ large image  ━━━━━━━━━━──────────  50 %, 20.0 MB of 40.0 MB, 993 kB/s, about 20 s left",
		}},
		"narrow": {44, 24, []string{
			"⠹ Images  50 %, 1 of 2, 20 s",
			"  ⠹ large image  50 %",
		}},
		"very narrow": {16, 24, []string{
			"⠹ Images  50 %",
			"  ⠹ large image",
		}},
		"low": {100, 4, []string{"  ⠹ large image  ━━━━━━━━━━──────────  50 %, 20.0 MB of 40.0 MB, 993 kB/s, about 20 s left"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out lockedBuffer
			var picture string
			synctest.Test(t, func(*testing.T) {
				c := console.New(console.Options{Mode: console.TTY, Size: terminal(tc.columns, tc.rows), Out: &out})
				all := progress.Start(c, "images", "Images", 2, progress.Items)
				pass(100 * time.Millisecond) // so that the count is not held back
				all.Add(1)
				large := progress.Start(c, "images/large", "large image", 40_000_000, progress.Bytes)
				for range 20 {
					pass(time.Second)
					large.Add(1_000_000)
				}
				pass(150 * time.Millisecond)
				picture = out.String()
				c.Close()
			})
			s := &screen{columns: tc.columns}
			s.write(t, picture)
			var got []string
			for _, line := range s.lines() {
				require.Less(t, len([]rune(line)), tc.columns)
				got = append(got, spinner.ReplaceAllString(line, "⠹"))
			}
			require.Equal(t, tc.want, got)
			s = &screen{columns: tc.columns}
			s.write(t, out.String())
			require.Empty(t, s.lines())
		})
	}
}

var spinner = regexp.MustCompile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")

func TestTTYHeightIsBounded(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	var picture string
	synctest.Test(t, func(*testing.T) {
		c := console.New(console.Options{Mode: console.TTY, Size: terminal(80, 24), Out: &out, Color: true})
		for i := range 30 {
			progress.Start(c, fmt.Sprintf("t%d", i), fmt.Sprintf("task %d", i), 0, progress.None)
		}
		pass(time.Second)
		picture = out.String()
		c.Close()
	})
	s := &screen{columns: 80}
	s.write(t, picture)
	require.Len(t, s.lines(), 8)
	require.Equal(t, "  and 23 more", s.lines()[7])
}

func TestTTYOfATerminalMadeNarrower(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	var wide string
	var columns atomic.Int64
	columns.Store(80)
	synctest.Test(t, func(*testing.T) {
		size := func() (int, int, bool) { return int(columns.Load()), 24, true }
		c := console.New(console.Options{Mode: console.TTY, Size: size, Out: &out, Color: true})
		progress.Say(c, "stays")
		progress.Start(c, "a", strings.Repeat("x", 70), 0, progress.None)
		pass(time.Second)
		wide = out.String()
		columns.Store(40)
		pass(time.Second)
		c.Close()
	})
	s := &screen{columns: 40} // it wraps the line of the wide picture, as terminals do
	s.write(t, "")
	for _, line := range screenOf(t, wide, 80) {
		s.write(t, line+"\n")
	}
	s.write(t, strings.TrimPrefix(out.String(), wide))
	require.Equal(t, []string{"stays"}, s.lines())
}

// screenOf returns what a terminal shows after text.
func screenOf(t *testing.T, text string, columns int) []string {
	t.Helper()
	s := &screen{columns: columns}
	s.write(t, text)
	return s.lines()
}

func TestManyGoroutinesAndALateEvent(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	c := console.New(console.Options{Mode: console.TTY, Size: terminal(80, 24), Out: &out})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			task := progress.Start(c, fmt.Sprintf("t%d", i), "x", 10, progress.Items)
			for range 10 {
				task.Add(1)
			}
			task.Finish("")
		})
	}
	wg.Wait()
	c.Close()
	before := out.String()
	progress.Say(c, "late")
	c.Close()
	require.Equal(t, before, out.String())
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	m, err := console.ParseMode("plain")
	require.NoError(t, err)
	require.Equal(t, console.Plain, m)
	_, err = console.ParseMode("fancy")
	require.ErrorContains(t, err, "auto tty plain quiet json")
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// screen is as much of a terminal as the console needs: it fails on any code
// it does not know, and on a move above its first line.
type screen struct {
	columns  int
	rows     [][]rune
	row, col int
}

var code = regexp.MustCompile(`^\x1b\[(\d*)([A-Za-z])`)

func (s *screen) write(t *testing.T, text string) {
	t.Helper()
	for len(text) > 0 {
		if m := code.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			n, _ := strconv.Atoi(m[1])
			s.control(t, m[2], n)
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch r {
		case '\r':
			s.col = 0
		case '\n':
			s.row, s.col = s.row+1, 0
		case '\x1b':
			require.Fail(t, "an escape code that is not known", "%q", text)
		default:
			s.put(r)
		}
	}
}

func (s *screen) control(t *testing.T, command string, n int) {
	t.Helper()
	switch command {
	case "A":
		s.row -= n
		require.GreaterOrEqual(t, s.row, 0)
	case "K":
		s.line()
		s.rows[s.row] = nil
	case "J":
		s.line()
		s.rows = s.rows[:s.row+1]
		s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))]
	case "m":
	default:
		require.Fail(t, "a code that is not known", command)
	}
}

func (s *screen) line() {
	for len(s.rows) <= s.row {
		s.rows = append(s.rows, nil)
	}
}

func (s *screen) put(r rune) {
	if s.col == s.columns {
		s.row, s.col = s.row+1, 0
	}
	s.line()
	for len(s.rows[s.row]) <= s.col {
		s.rows[s.row] = append(s.rows[s.row], ' ')
	}
	s.rows[s.row][s.col] = r
	s.col++
}

// lines returns what is on the screen, without empty lines at its end.
func (s *screen) lines() []string {
	var out []string
	for _, row := range s.rows {
		out = append(out, string(row))
	}
	for len(out) > 0 && strings.TrimSpace(out[len(out)-1]) == "" {
		out = out[:len(out)-1]
	}
	return out
}
