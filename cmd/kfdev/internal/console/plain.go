package console

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kfdev/kfdev/internal/progress"
)

// plain writes a line when a task starts and one when it ends, and says now
// and then how far those that take long are. It suits logs and pipes.
type plain struct {
	out     io.Writer
	verbose bool
	beat    time.Time // the last sign of life
}

// Of a task that is part of another one, nothing is said unless it takes
// longer than partAfter. A sign of life comes every beatEvery, of at most
// beatLines tasks.
const (
	partAfter = 3 * time.Second
	beatEvery = 10 * time.Second
	beatLines = 5
)

func (p *plain) line(m *model, at time.Time, format string, args ...any) {
	since := at.Sub(m.start).Round(time.Second)
	put(p.out, fmt.Sprintf("%02d:%02d  %s\n", int(since.Minutes()), int(since.Seconds())%60, oneLine(fmt.Sprintf(format, args...))))
}

func (p *plain) event(m *model, e progress.Event, t *task) {
	switch e.State {
	case progress.Message:
		p.line(m, e.Time, "%s", e.Text)
	case progress.Warning:
		p.line(m, e.Time, "warning: %s", e.Text)
	case progress.Started:
		if t.parent == nil || p.verbose {
			t.shown = true
			p.line(m, e.Time, "%s%s ...", indent(t), t.text)
		}
	case progress.Done, progress.Skipped, progress.Failed:
		p.end(m, e, t)
	case progress.Advanced:
	}
}

func (p *plain) end(m *model, e progress.Event, t *task) {
	if !t.shown && e.State != progress.Failed && e.Took < partAfter {
		return
	}
	switch e.State {
	case progress.Failed:
		p.line(m, e.Time, "%s%s: FAILED after %s: %s", indent(t), t.text, took(e.Took), e.Error)
	case progress.Skipped:
		p.line(m, e.Time, "%s%s: nothing to do", indent(t), t.text)
	default:
		how := took(e.Took)
		if amount := t.amount(); amount != "" {
			how = amount + " in " + how
		}
		p.line(m, e.Time, "%s%s: done, %s", indent(t), t.text, how)
	}
}

func (p *plain) tick(m *model, now time.Time) {
	if p.beat.IsZero() {
		p.beat = m.start
	}
	if now.Sub(p.beat) < beatEvery {
		return
	}
	p.beat = now
	lines := 0
	for _, t := range m.leaves() {
		if now.Sub(t.started) < partAfter {
			continue
		}
		if lines++; lines <= beatLines {
			t.shown = true
			p.line(m, now, "%s%s: %s", indent(t), t.text, t.state(now))
		}
	}
	if lines > beatLines {
		p.line(m, now, "and %d more", lines-beatLines)
	}
}

func (p *plain) close(*model) {}

func indent(t *task) string { return strings.Repeat("  ", min(t.depth(), 4)) }
