package session

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire"
)

// State is what a session is about.
type State string

// The states.
const (
	Connecting State = "connecting" // to the pod, or waiting for one
	Scanning   State = "scanning"   // looking at both folders
	Syncing    State = "syncing"    // something is on its way
	InSync     State = "in sync"    // but for conflicts and problems
	Halted     State = "halted"     // waits for a person's word
)

// Status is what is known of a session. Its JSON is what `kfdev sync status -o
// json` prints.
type Status struct {
	Name    string         `json:"name"`
	State   State          `json:"state"`
	Since   time.Time      `json:"since"` // of the state
	Text    string         `json:"text,omitempty"`
	Began   time.Time      `json:"began"`
	Local   string         `json:"local"`
	Remote  string         `json:"remote"`
	Target  string         `json:"target"`
	Pod     string         `json:"pod,omitempty"`
	Mode    reconcile.Mode `json:"mode"`
	Paths   int            `json:"paths"` // that the local folder has
	Batches int            `json:"batches"`

	Progress  *Progress  `json:"progress,omitempty"` // of the batch that is on its way
	Conflicts []Conflict `json:"conflicts,omitempty"`
	Problems  []Problem  `json:"problems,omitempty"`
	Halt      *Halt      `json:"halt,omitempty"`
	Undoable  int        `json:"undoable"` // batches that undo can bring back

	ToRemote Latency     `json:"toRemote"`
	ToLocal  Latency     `json:"toLocal"`
	Traffic  Traffic     `json:"traffic"`
	Helper   *wire.Usage `json:"helper,omitempty"`
	LastRun  *Run        `json:"lastRun,omitempty"`
	Notes    []string    `json:"notes,omitempty"`
}

// Clean is true where nothing waits for a person.
func (s Status) Clean() bool { return len(s.Conflicts) == 0 && len(s.Problems) == 0 && s.Halt == nil }

// Progress is how far a batch is.
type Progress struct {
	Files int   `json:"files"` // that have arrived
	Of    int   `json:"of"`
	Bytes int64 `json:"bytes"`
	Total int64 `json:"total"`
}

// Conflict is a path that both sides changed.
type Conflict struct {
	Path     Name   `json:"path"`
	Local    string `json:"local"`  // what is there, in words
	Remote   string `json:"remote"` // "
	Why      string `json:"why"`
	Collides Name   `json:"collides,omitempty"`
}

// Problem is a path that could not be brought over. It is tried again, unless it
// waits for a person.
type Problem struct {
	Path  Name   `json:"path"`
	Side  string `json:"side"` // that refused it: local or remote
	Error string `json:"error"`
	Waits bool   `json:"waits,omitempty"`
}

// Halt is why nothing is sent until a person says so.
type Halt struct {
	Reason  reconcile.Reason `json:"reason"`
	Text    string           `json:"text"`
	Hint    string           `json:"hint"`
	Deletes int              `json:"deletes"`
	Of      int              `json:"of"`
}

// Latency is how long edits took, from the file system's report of the first
// change of a batch to the other side's word that it is there.
type Latency struct {
	Edits int           `json:"edits"` // that were measured; the last 512 count
	P50   time.Duration `json:"p50"`
	P95   time.Duration `json:"p95"`
}

// Traffic is what went over the wire since the session began, bytes.
type Traffic struct {
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
	Raw      int64 `json:"raw"` // both, before compression
}

// Run is a run of the on-change command.
type Run struct {
	Command []string      `json:"command"`
	Code    int           `json:"code"`
	Took    time.Duration `json:"took"`
	Output  string        `json:"output,omitempty"` // its end
	Error   string        `json:"error,omitempty"`  // why it could not be run, or what became of it
	Lost    bool          `json:"lost,omitempty"`   // the connection was lost meanwhile: its end is not known
}

// Undone is what Undo did.
type Undone struct {
	Side  string `json:"side"` // local or remote
	Batch string `json:"batch"`
	Paths []Name `json:"paths"`
}

// Event is something that happened. One of the pointers is set where the kind
// has more to say.
type Event struct {
	Time     time.Time `json:"time"`
	Kind     EventKind `json:"kind"`
	State    State     `json:"state,omitempty"`
	Text     string    `json:"text,omitempty"`
	Batch    *Batch    `json:"batch,omitempty"`
	Conflict *Conflict `json:"conflict,omitempty"`
	Problem  *Problem  `json:"problem,omitempty"`
	Halt     *Halt     `json:"halt,omitempty"`
	Run      *Run      `json:"run,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
}

// EventKind says what an event is about.
type EventKind string

// The kinds of events.
const (
	StateEvent    EventKind = "state"
	BatchEvent    EventKind = "batch"
	ConflictEvent EventKind = "conflict"
	SettledEvent  EventKind = "settled" // a conflict or a problem is no more; Text is its path
	ProblemEvent  EventKind = "problem"
	HaltEvent     EventKind = "halt"
	RunEvent      EventKind = "run"
	NoteEvent     EventKind = "note"
	ProgressEvent EventKind = "progress"
)

// Batch is what was brought from one side to the other at once.
type Batch struct {
	To      string        `json:"to"` // local or remote
	Changed int           `json:"changed"`
	Deleted int           `json:"deleted"`
	Bytes   int64         `json:"bytes"`            // of the files' content
	Latency time.Duration `json:"latency"`          // see Latency
	Paths   []Name        `json:"paths"`            // the first few
	Merged  int           `json:"merged,omitempty"` // notebooks whose two versions became one
}

// usage is what the helper costs. It is asked for it by those who want to know,
// and not more often than usageEvery: it shall not be what it costs.
type usage struct {
	mu   sync.Mutex
	link Link
	at   time.Time
	last *wire.Usage
}

const (
	usageEvery  = time.Second
	usageWithin = time.Second
)

// of returns what the helper of a connection costs; nil where it does not say.
func (u *usage) of(ctx context.Context, link Link) *wire.Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.link == link && time.Since(u.at) < usageEvery {
		return u.last
	}
	ctx, cancel := context.WithTimeout(ctx, usageWithin)
	defer cancel()
	u.link, u.last = link, nil
	if now, err := link.Usage(ctx); err == nil {
		u.last = &now
	}
	u.at = time.Now()
	return u.last
}

// describe says what is at a path, in words.
func describe(e tree.Entry) string {
	switch e.Kind {
	case tree.Absent:
		return "deleted"
	case tree.File:
		return "file, " + bytesText(e.Size) + ", sha256 " + e.Digest.String()[:12]
	case tree.Symlink:
		return "link to " + e.Target
	default:
		return e.Kind.String()
	}
}

// samples are the last latencies.
type samples struct {
	all  []time.Duration
	next int
	n    int
}

const maxSamples = 512

func (s *samples) add(d time.Duration) {
	s.n++
	if len(s.all) < maxSamples {
		s.all = append(s.all, d)
		return
	}
	s.all[s.next] = d
	s.next = (s.next + 1) % maxSamples
}

func (s *samples) latency() Latency {
	if len(s.all) == 0 {
		return Latency{}
	}
	sorted := slices.Sorted(slices.Values(s.all))
	return Latency{Edits: s.n, P50: sorted[(len(sorted)-1)/2], P95: sorted[(len(sorted)-1)*95/100]}
}
