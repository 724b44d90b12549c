package watch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// script feeds a gather with events at times, and notes when what is told.
type script struct {
	t     *testing.T
	g     *gather
	begin time.Time
}

type tellsAt struct {
	at time.Duration
	Batch
}

// play runs steps, each at its time, and returns what is told within five
// seconds.
func play(t *testing.T, steps map[time.Duration][]event) []tellsAt {
	t.Helper()
	var told []tellsAt
	synctest.Test(t, func(t *testing.T) {
		s := script{t: t, g: newGather(DefaultSettle), begin: time.Now()}
		for at, events := range steps {
			time.AfterFunc(at, func() { s.g.add(time.Now(), events) })
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for {
			b, err := s.g.next(ctx)
			if err != nil {
				return
			}
			told = append(told, tellsAt{time.Since(s.begin), b})
		}
	})
	return told
}

func ev(w what, path string) event { return event{path: path, what: w} }

const ms = time.Millisecond

func TestWhenItIsTold(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps map[time.Duration][]event
		want  []string // when, and which
	}{
		{"a save in place, at once", map[time.Duration][]event{
			10 * ms: {ev(writing, "f")}, 11 * ms: {ev(complete, "f")},
		}, []string{"11ms [f]"}},
		{"the next one after a while, at once", map[time.Duration][]event{
			10 * ms: {ev(complete, "f")}, 40 * ms: {ev(complete, "f")},
		}, []string{"10ms [f]", "40ms [f]"}},
		{"what follows closely is gathered", map[time.Duration][]event{
			10 * ms: {ev(complete, "a")}, 12 * ms: {ev(complete, "b")}, 20 * ms: {ev(complete, "c")},
		}, []string{"10ms [a]", "32ms [b c]"}},
		{"vim: the old file becomes the backup", map[time.Duration][]event{
			10 * ms: {ev(gone, "f"), {path: "f~", what: renamed, from: "f"}},
			11 * ms: {ev(created, "f")}, 12 * ms: {ev(writing, "f")},
			40 * ms: {ev(complete, "f")}, // after a slow fsync
			41 * ms: {ev(gone, "f~")},
		}, []string{"12ms [f~]", "40ms [f]", "53ms [f~]"}},
		{"vim, the backup is ignored", map[time.Duration][]event{
			10 * ms: {ev(gone, "f")}, 11 * ms: {ev(created, "f")}, 12 * ms: {ev(complete, "f")},
		}, []string{"12ms [f]"}},
		{"a temporary file that is renamed, at once", map[time.Duration][]event{
			10 * ms: {ev(created, "t")}, 11 * ms: {ev(complete, "t")},
			12 * ms: {ev(gone, "t"), {path: "f", what: renamed, from: "t"}},
		}, []string{"12ms [f t]"}},
		{"a new file, soon", map[time.Duration][]event{
			10 * ms: {ev(created, "f")}, 11 * ms: {ev(complete, "f")},
		}, []string{"13ms [f]"}},
		{"a new link, soon", map[time.Duration][]event{10 * ms: {ev(appeared, "f")}}, []string{"12ms [f]"}},
		{"a link that replaces one, at once", map[time.Duration][]event{
			10 * ms: {ev(gone, "f")}, 11 * ms: {ev(appeared, "f")},
		}, []string{"11ms [f]"}},
		{"gone, after a moment", map[time.Duration][]event{10 * ms: {ev(gone, "f")}}, []string{"22ms [f]"}},
		{"a file that stays open and is left alone", map[time.Duration][]event{
			10 * ms: {ev(writing, "f")}, 50 * ms: {ev(writing, "f")},
		}, []string{"250ms [f]"}},
		{"a file open beside one that is saved", map[time.Duration][]event{
			10 * ms: {ev(writing, "log")}, 100 * ms: {ev(complete, "f")}, 120 * ms: {ev(complete, "log")},
		}, []string{"100ms [f]", "132ms [log]"}},
		{"a file's rename, together", map[time.Duration][]event{
			10 * ms: {ev(gone, "a"), {path: "b", what: renamed, from: "a"}},
		}, []string{"22ms [a b]"}},
		{"a mode", map[time.Duration][]event{10 * ms: {ev(touched, "f")}}, []string{"22ms [f]"}},
		{"a mode of a file that is being written", map[time.Duration][]event{
			10 * ms: {ev(created, "f")}, 11 * ms: {ev(touched, "f")}, 100 * ms: {ev(complete, "f")},
		}, []string{"102ms [f]"}},
		{"a folder's rename, with all below it", map[time.Duration][]event{
			10 * ms: {ev(gone, "a"), ev(deep, "b"), ev(complete, "b/x"), ev(deep, "b/c"), ev(complete, "bc")},
		}, []string{"10ms [a bc] deep [b]"}},
		{"a lock that came and went", map[time.Duration][]event{
			10 * ms: {ev(locked, ""), ev(complete, "a")}, 11 * ms: {ev(complete, "b"), ev(unlocked, "")},
		}, []string{"35ms [a b]"}},
		{"a save after git looked at the tree", map[time.Duration][]event{
			10 * ms: {ev(locked, ""), ev(unlocked, "")}, 50 * ms: {ev(complete, "a")},
		}, []string{"50ms [a]"}},
		{"lost", map[time.Duration][]event{10 * ms: {ev(lost, ""), ev(complete, "a")}}, []string{"22ms [a] missed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, b := range play(t, c.steps) {
				s := fmt.Sprintf("%v %v", b.at, b.Paths)
				if len(b.Deep) > 0 {
					s += fmt.Sprintf(" deep %v", b.Deep)
				}
				if b.Missed {
					s += " missed"
				}
				got = append(got, s)
			}
			require.Equal(t, c.want, got)
		})
	}
}

// While a burst goes on, batches become larger and none waits for more than half
// a second.
func TestBurst(t *testing.T) {
	steps := map[time.Duration][]event{}
	for i := range 200 {
		steps[time.Duration(i*10)*ms] = []event{ev(complete, fmt.Sprint(i))}
	}
	told := play(t, steps)
	require.Less(t, len(told), 12)
	paths := 0
	for _, b := range told {
		paths += len(b.Paths)
		require.LessOrEqual(t, b.at, b.First.Sub(told[0].First)+maxGather)
	}
	require.Equal(t, 200, paths)
}

// A file that is written all the time is told every second.
func TestOpenFileIsToldEverySecond(t *testing.T) {
	steps := map[time.Duration][]event{}
	for i := range 300 {
		steps[time.Duration(i*10+1)*ms] = []event{ev(writing, "log")}
	}
	told := play(t, steps)
	require.Len(t, told, 3)
	for i, b := range told {
		require.InDelta(t, float64((i+1)*1000), float64(b.at/ms), 30)
	}
}

// Nobody calls Next for long: what is remembered has a bound.
func TestGatherIsBounded(t *testing.T) {
	g := newGather(DefaultSettle)
	for i := range maxDirty + 10 {
		g.add(time.Now(), []event{ev(complete, fmt.Sprint(i))})
	}
	b, err := g.next(t.Context())
	require.NoError(t, err)
	require.True(t, b.Missed)
	require.Less(t, len(b.Paths), 11)
}
