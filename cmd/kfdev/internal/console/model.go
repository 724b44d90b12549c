package console

import (
	"slices"
	"strings"
	"time"

	"github.com/kfdev/kfdev/internal/progress"
)

// model is what is under way, as the events told.
type model struct {
	start  time.Time
	active []*task // in the order they started
}

// task is one task that is under way, or just ended.
type task struct {
	id, text    string
	done, total int64
	unit        progress.Unit
	started     time.Time
	parent      *task // the nearest active task whose id is a path above this one's
	parts       int   // active tasks right below this one
	shown       bool  // the renderer has shown that it started
	samples     []sample
}

// sample is a count at a time, for the rate.
type sample struct {
	at   time.Time
	done int64
}

// The rate is taken over the last rateOver, of a sample every sampleEvery.
const (
	rateOver    = 15 * time.Second
	sampleEvery = 500 * time.Millisecond
	fewItems    = 3 // say nothing of how long the others take
)

// apply takes an event and returns its task; nil where it has none.
func (m *model) apply(e progress.Event) *task {
	switch e.State {
	case progress.Started:
		return m.begin(e)
	case progress.Advanced, progress.Done, progress.Skipped, progress.Failed:
	default:
		return nil
	}
	t := m.find(e.Task)
	if t == nil { // one whose start was not seen
		t = m.begin(e)
	}
	if e.Text != "" {
		t.text = e.Text
	}
	t.done, t.total, t.unit = e.Done, e.Total, e.Unit
	if e.State == progress.Advanced {
		t.sample(e.Time)
		return t
	}
	m.active = slices.DeleteFunc(m.active, func(each *task) bool { return each == t })
	if t.parent != nil {
		t.parent.parts--
	}
	return t
}

func (m *model) begin(e progress.Event) *task {
	t := &task{id: e.Task, text: e.Text, done: e.Done, total: e.Total, unit: e.Unit, started: e.Time}
	t.sample(e.Time)
	if old := m.find(e.Task); old != nil { // started again without an end
		m.active = slices.DeleteFunc(m.active, func(each *task) bool { return each == old })
		t.parent = old.parent
	} else if t.parent = m.above(e.Task); t.parent != nil {
		t.parent.parts++
	}
	m.active = append(m.active, t)
	return t
}

func (m *model) find(id string) *task {
	for _, t := range m.active {
		if t.id == id {
			return t
		}
	}
	return nil
}

// above returns the active task whose id is the longest path above id.
func (m *model) above(id string) *task {
	var best *task
	for _, t := range m.active {
		if strings.HasPrefix(id, t.id+"/") && (best == nil || len(t.id) > len(best.id)) {
			best = t
		}
	}
	return best
}

// leaves returns the active tasks that have no part under way: those that work.
func (m *model) leaves() []*task {
	var out []*task
	for _, t := range m.active {
		if t.parts == 0 {
			out = append(out, t)
		}
	}
	return out
}

func (t *task) depth() int {
	n := 0
	for p := t.parent; p != nil; p = p.parent {
		n++
	}
	return n
}

func (t *task) sample(now time.Time) {
	if n := len(t.samples); n > 1 && now.Sub(t.samples[n-2].at) < sampleEvery {
		t.samples[n-1] = sample{now, t.done} // the newest moves until it is old enough to stay
		return
	}
	t.samples = append(t.samples, sample{now, t.done})
	for len(t.samples) > 2 && now.Sub(t.samples[1].at) >= rateOver {
		t.samples = t.samples[1:]
	}
}

// rate is what is done in a second; 0 where that is not known. Bytes flow, so
// theirs is of the last while, and one that stands still slows down. Items come
// one by one, each of another size, so theirs is of all that were done, and
// some must have been.
func (t *task) rate(now time.Time) float64 {
	first, last := t.samples[0], t.samples[len(t.samples)-1]
	if t.unit == progress.Items {
		first = sample{at: t.started}
		if last.done < fewItems {
			return 0
		}
	}
	seconds := now.Sub(first.at).Seconds()
	if seconds < 1 || last.done <= first.done {
		return 0
	}
	return float64(last.done-first.done) / seconds
}

// left estimates how long the task still takes; false where nobody can know.
func (t *task) left(now time.Time) (time.Duration, bool) {
	rate := t.rate(now)
	if t.total <= 0 || t.done >= t.total || rate <= 0 {
		return 0, false
	}
	seconds := float64(t.total-t.done) / rate
	if seconds > 24*3600 {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}
