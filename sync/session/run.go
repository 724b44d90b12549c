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
	again   bool
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
	l.run.running = true
	link := l.link
	l.await(link, func(ctx context.Context, _ Folder) func() {
		r := Run{Command: l.config.OnChange}
		began := time.Now()
		var out tail
		code, err := link.Run(ctx, l.config.OnChange, l.config.Remote, &out, &out)
		r.Code, r.Took, r.Output = code, time.Since(began), out.String()
		if err != nil {
			r.Error = err.Error()
		}
		return func() { l.ran(r) }
	})
}

func (l *loop) ran(r Run) {
	l.run.running, l.run.last = false, &r
	l.event(Event{Kind: RunEvent, Run: &r})
	if l.run.again {
		l.run.again = false
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
