package session

import (
	"bytes"
	"context"
	"time"
)

// maxOutput is how much of a run's output is kept: its end, bytes.
const maxOutput = 8 << 10

// runner runs the on-change command, once at a time.
type runner struct {
	running bool
	began   time.Time
	again   bool // once this run is over or, without a connection, both sides are alike
	last    *Run
}

// onChange runs the command for a batch that arrived in the pod. What arrives
// while it runs makes one more run.
func (l *loop) onChange() {
	if len(l.config.OnChange) == 0 || l.link == nil {
		return
	}
	if l.run.running {
		l.run.again = true
		return
	}
	began := time.Now()
	l.run.running, l.run.again, l.run.began = true, false, began
	link := l.link
	l.await(link, func(ctx context.Context, _ Folder) func() {
		r := Run{Command: l.config.OnChange}
		var out tail
		code, err := link.Run(ctx, l.config.OnChange, l.config.Remote, &out, &out)
		r.Code, r.Took, r.Output = code, time.Since(began), out.String()
		if err != nil {
			r.Error = err.Error()
		}
		return func() {
			if err != nil && link.Err() != nil {
				return // the connection's end is on its way here, see dropRun
			}
			l.ran(r)
			if l.run.again {
				l.onChange()
			}
		}
	})
}

func (l *loop) ran(r Run) {
	l.run.running, l.run.last = false, &r
	l.event(Event{Kind: RunEvent, Run: &r})
}

// dropRun ends a run whose connection was lost. Nobody knows what became of it,
// nor of a batch that was on its way: the command runs again when both sides are
// alike again, see rerun.
func (l *loop) dropRun(sending bool) {
	if l.run.running {
		l.ran(Run{
			Command: l.config.OnChange, Took: time.Since(l.run.began),
			Lost: true, Error: "the connection was lost; it runs again when there is another one",
		})
		l.run.again = true
	}
	l.run.again = l.run.again || sending
}

// rerun runs what a lost connection has left to be run, once there is nothing
// more to be brought to the pod: what is brought there runs it anyway.
func (l *loop) rerun() {
	if l.run.again && !l.run.running && !l.all && l.halt == nil && l.remote.sending == nil {
		l.onChange()
	}
}

// tail keeps the end of what is written to it. A command's two streams are
// written by one goroutine.
type tail struct{ b bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > maxOutput {
		p = p[len(p)-maxOutput:]
	}
	t.b.Write(p)
	if over := t.b.Len() - maxOutput; over > 0 {
		t.b.Next(over)
	}
	return n, nil
}

func (t *tail) String() string { return t.b.String() }
