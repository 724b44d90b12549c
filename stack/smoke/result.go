package smoke

import (
	"context"
	"fmt"
	"time"

	"github.com/kfdev/kfdev/internal/progress"
)

// Result is what a test did and found.
type Result struct {
	Name  string        `json:"name"`
	Took  time.Duration `json:"took"` // nanoseconds, with making and removing the namespace
	Steps []Step        `json:"steps"`
	Facts []Fact        `json:"facts"`
}

// Step is one part of a test.
type Step struct {
	Name  string        `json:"name"`
	Took  time.Duration `json:"took"` // nanoseconds
	Error string        `json:"error,omitempty"`
}

// Fact is something that a test measured or read, for people and for JSON.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Recorder gathers a Result step by step, and reports each step.
type Recorder struct {
	test   string
	sink   progress.Sink
	result Result
}

// Record starts the record of a test.
func Record(test string, sink progress.Sink) *Recorder {
	return &Recorder{test: test, sink: sink, result: Result{Name: test}}
}

// Step runs one step and records how long it took. Its error says which step
// it was.
func (r *Recorder) Step(ctx context.Context, name string, do func(context.Context) error) error {
	task := progress.Start(r.sink, "verify/"+r.test+"/"+name, r.test+": "+name, 0, progress.None)
	start := time.Now()
	err := do(ctx)
	task.End(err)
	step := Step{Name: name, Took: time.Since(start)}
	if err != nil {
		step.Error = err.Error()
		err = fmt.Errorf("%s: %w", name, err)
	}
	r.result.Steps = append(r.result.Steps, step)
	return err
}

// Do is a step that is yet to be done.
type Do struct {
	Name string
	Func func(context.Context) error
}

// Steps runs steps in order, up to the first that fails, and returns what was
// recorded.
func (r *Recorder) Steps(ctx context.Context, steps []Do) (Result, error) {
	for _, s := range steps {
		if err := r.Step(ctx, s.Name, s.Func); err != nil {
			return r.Result(), err
		}
	}
	return r.Result(), nil
}

// Fact records one finding. The value is formatted as fmt.Sprint does it.
func (r *Recorder) Fact(name string, value any) {
	r.result.Facts = append(r.result.Facts, Fact{Name: name, Value: fmt.Sprint(value)})
}

// Result returns what was recorded so far.
func (r *Recorder) Result() Result { return r.result }
