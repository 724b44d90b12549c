// Package progress carries what is going on from the domains to whoever shows
// it. Events observe and never steer: a Discard sink changes nothing, and
// results flow by returns. A domain takes a Sink in its constructor.
package progress

import (
	"sync"
	"time"
)

// State is what an event says of its task.
type State string

// The states of a task, and Message and Warning, which belong to none.
const (
	Started  State = "started"
	Advanced State = "advanced"
	Done     State = "done"
	Skipped  State = "skipped" // there was nothing to do
	Failed   State = "failed"
	Message  State = "message"
	Warning  State = "warning"
)

// Unit is what a task counts in.
type Unit string

// The units. None is for a task whose amount is not known.
const (
	None  Unit = ""
	Bytes Unit = "bytes"
	Items Unit = "items"
)

// Event is one thing that happened.
type Event struct {
	Time  time.Time     `json:"time"`
	State State         `json:"state"`
	Task  string        `json:"task,omitempty"` // identity, a path: "images/build/argoexec"
	Text  string        `json:"text,omitempty"` // for people
	Done  int64         `json:"done,omitempty"` // so far, in Unit
	Total int64         `json:"total,omitempty"`
	Unit  Unit          `json:"unit,omitempty"`
	Took  time.Duration `json:"took,omitempty"` // nanoseconds; on Done, Skipped and Failed
	Error string        `json:"error,omitempty"`
}

// Sink takes events. Send never blocks for long, never fails, and may be
// called from several goroutines at once.
type Sink interface {
	Send(Event)
}

// Discard drops every event.
var Discard Sink = discard{} //nolint:gochecknoglobals // a constant in all but name

type discard struct{}

func (discard) Send(Event) {}

// Task is one piece of work being reported. Its methods may be called from
// several goroutines; after the first of Finish, Skip or Fail the rest do
// nothing.
type Task struct {
	sink  Sink
	id    string
	text  string
	total int64
	unit  Unit
	start time.Time

	mu    sync.Mutex
	done  int64
	last  time.Time
	ended bool
}

// advanceEvery bounds how often a task reports a changed count.
const advanceEvery = 100 * time.Millisecond

// Start reports a new task. Total is 0 where the amount is not known.
func Start(sink Sink, id, text string, total int64, unit Unit) *Task {
	t := &Task{sink: sink, id: id, text: text, total: total, unit: unit, start: time.Now()}
	sink.Send(Event{Time: t.start, State: Started, Task: id, Text: text, Total: total, Unit: unit})
	return t
}

// Add moves the task's count on by n. It reports at most ten times a second.
func (t *Task) Add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done += n
	now := time.Now()
	if t.ended || now.Sub(t.last) < advanceEvery {
		return
	}
	t.last = now
	t.sink.Send(Event{Time: now, State: Advanced, Task: t.id, Text: t.text, Done: t.done, Total: t.total, Unit: t.unit})
}

// Write counts p as Add does, so that a task can be teed into a copy.
func (t *Task) Write(p []byte) (int, error) {
	t.Add(int64(len(p)))
	return len(p), nil
}

// Finish reports that the task is done. Text replaces the task's when not empty.
func (t *Task) Finish(text string) { t.end(Done, text, nil) }

// Skip reports that there was nothing to do.
func (t *Task) Skip(text string) { t.end(Skipped, text, nil) }

// Fail reports that the task failed with err.
func (t *Task) Fail(err error) { t.end(Failed, "", err) }

// End reports Finish or, where err is not nil, Fail; for a deferred call.
func (t *Task) End(err error) {
	if err != nil {
		t.Fail(err)
		return
	}
	t.Finish("")
}

func (t *Task) end(state State, text string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended = true
	if text == "" {
		text = t.text
	}
	now := time.Now()
	event := Event{Time: now, State: state, Task: t.id, Text: text, Done: t.done, Total: t.total, Unit: t.unit, Took: now.Sub(t.start)}
	if err != nil {
		event.Error = err.Error()
	}
	t.sink.Send(event)
}

// Say sends a message for people that belongs to no task.
func Say(sink Sink, text string) {
	sink.Send(Event{Time: time.Now(), State: Message, Text: text})
}

// Warn sends a warning for people that belongs to no task.
func Warn(sink Sink, text string) {
	sink.Send(Event{Time: time.Now(), State: Warning, Text: text})
}

// Recorder is a Sink that keeps what it was sent, for tests.
type Recorder struct {
	mu     sync.Mutex
	events []Event
}

// Send keeps the event.
func (r *Recorder) Send(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Events returns a copy of what was sent so far.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.events...)
}
