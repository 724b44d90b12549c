// Package plan runs a list of small idempotent steps: each observes, says what
// it would do, and acts only where something is to be done. A plan that was cut
// off at any point is run again from the start; what was done is observed as
// done and skipped.
package plan

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kfdev/kfdev/internal/progress"
)

// Step is one part of a plan.
type Step struct {
	ID    string   // "registry", "stack/jupyterhub"
	Title string   // for people: "Local registry"
	After []string // ids of the steps that must be done before; they come earlier in the list
	// Observe looks at what is and says what Act would do. It changes nothing,
	// and works also where the steps before have not run (the world is then
	// reported as it would be found: "no cluster yet").
	Observe func(ctx context.Context) (Work, error)
	// Act brings the step about. It is called only where Observe found work, and
	// may be called again after it was cut off at any point. It returns what it
	// did, for people.
	Act func(ctx context.Context) (string, error)
}

// Work is what a step has to do.
type Work struct {
	Needed   bool   `json:"needed"`
	Summary  string `json:"summary"`            // "create cluster kfdev-demo (Kubernetes v1.36.1)", or why nothing is to be done
	Download int64  `json:"download,omitempty"` // bytes to fetch from outside, where known
	Build    int    `json:"build,omitempty"`    // images to build
	Copy     int64  `json:"copy,omitempty"`     // bytes to copy on this machine
	Disk     int64  `json:"disk,omitempty"`     // bytes that this writes at least, where Docker keeps its data
}

// Nothing says that a step has nothing to do, and why.
func Nothing(format string, args ...any) Work {
	return Work{Summary: fmt.Sprintf(format, args...)}
}

// Todo says what a step has to do.
func Todo(format string, args ...any) Work {
	return Work{Needed: true, Summary: fmt.Sprintf(format, args...)}
}

// Item is a step with what it would do, for --dry-run.
type Item struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Work  Work   `json:"work"`
}

// Outcome is what became of a step.
type Outcome struct {
	ID    string         `json:"id"`
	Title string         `json:"title"`
	State progress.State `json:"state"` // done, skipped or failed
	Text  string         `json:"text,omitempty"`
	Took  time.Duration  `json:"took"` // nanoseconds
}

// Observe asks every step, in order, what it would do.
func Observe(ctx context.Context, steps []Step) ([]Item, error) {
	items := make([]Item, 0, len(steps))
	for _, s := range steps {
		work, err := s.Observe(ctx)
		if err != nil {
			return items, fmt.Errorf("%s: %w", s.Title, err)
		}
		items = append(items, Item{ID: s.ID, Title: s.Title, Work: work})
	}
	return items, nil
}

// Skipped are the outcomes of a plan that had nothing to do.
func Skipped(items []Item) []Outcome {
	out := make([]Outcome, 0, len(items))
	for _, i := range items {
		out = append(out, Outcome{ID: i.ID, Title: i.Title, State: progress.Skipped, Text: i.Work.Summary})
	}
	return out
}

// Run brings every step about, each as soon as the ones it comes after are
// done. After a failure no further step starts; what runs is cancelled and
// waited for. Outcomes come in the plan's order, without those that never
// started; the error joins what failed on its own account.
func Run(ctx context.Context, steps []Step, sink progress.Sink) ([]Outcome, error) {
	if err := Validate(steps); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &runner{sink: sink, cancel: cancel, done: map[string]chan struct{}{}, outcomes: make([]*Outcome, len(steps))}
	for _, s := range steps {
		r.done[s.ID] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for i, s := range steps {
		wg.Go(func() { r.run(ctx, i, s) })
	}
	wg.Wait()
	var out []Outcome
	for _, o := range r.outcomes {
		if o != nil {
			out = append(out, *o)
		}
	}
	if len(r.errs) == 0 && ctx.Err() != nil {
		return out, context.Cause(ctx)
	}
	return out, errors.Join(r.errs...)
}

// errStopped is the cause that steps see when another one failed.
var errStopped = errors.New("stopped, since another step failed")

type runner struct {
	sink   progress.Sink
	cancel context.CancelCauseFunc
	done   map[string]chan struct{}

	mu       sync.Mutex
	outcomes []*Outcome
	errs     []error
}

func (r *runner) run(ctx context.Context, index int, s Step) {
	for _, id := range s.After {
		select {
		case <-r.done[id]:
		case <-ctx.Done():
			return
		}
	}
	if ctx.Err() != nil {
		return
	}
	start := time.Now()
	task := progress.Start(r.sink, s.ID, s.Title, 0, progress.None)
	state, text, err := perform(ctx, s)
	switch state {
	case progress.Failed:
		task.Fail(err)
	case progress.Skipped:
		task.Skip(s.Title + ": " + text)
	default:
		task.Finish(s.Title + ": " + text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[index] = &Outcome{ID: s.ID, Title: s.Title, State: state, Text: text, Took: time.Since(start)}
	if err == nil {
		close(r.done[s.ID])
		return
	}
	if !errors.Is(context.Cause(ctx), errStopped) {
		r.errs = append(r.errs, fmt.Errorf("%s: %w", s.Title, err))
	}
	r.cancel(errStopped)
}

func perform(ctx context.Context, s Step) (progress.State, string, error) {
	work, err := s.Observe(ctx)
	if err != nil {
		return progress.Failed, err.Error(), err
	}
	if !work.Needed {
		return progress.Skipped, work.Summary, nil
	}
	text, err := s.Act(ctx)
	if err != nil {
		return progress.Failed, err.Error(), err
	}
	return progress.Done, text, nil
}

// Validate refuses a plan in which an id comes twice, or a step comes after
// one that is not earlier in the list.
func Validate(steps []Step) error {
	seen := map[string]bool{}
	for _, s := range steps {
		for _, id := range s.After {
			if !seen[id] {
				return fmt.Errorf("step %q comes after %q, which is not earlier in the plan", s.ID, id)
			}
		}
		if seen[s.ID] {
			return fmt.Errorf("step %q comes twice in the plan", s.ID)
		}
		seen[s.ID] = true
	}
	return nil
}
