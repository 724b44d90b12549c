// Package console shows people, and programs, what is going on: it is the
// progress.Sink of the command line. It alone writes escape codes. Everything
// goes to one writer, standard error; results are not its business.
package console

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/kfdev/kfdev/internal/progress"
)

// Mode is how progress is shown.
type Mode string

// The modes. Auto is TTY on a terminal that can, else Plain.
const (
	Auto  Mode = "auto"
	TTY   Mode = "tty"   // live lines
	Plain Mode = "plain" // a line for each start and end, and a sign of life
	Quiet Mode = "quiet" // warnings only
	JSON  Mode = "json"  // one event a line
)

// Modes returns every mode, for flags.
func Modes() []Mode { return []Mode{Auto, TTY, Plain, Quiet, JSON} }

// ParseMode reads a mode.
func ParseMode(s string) (Mode, error) {
	if m := Mode(s); slices.Contains(Modes(), m) {
		return m, nil
	}
	return "", fmt.Errorf("%q is no way to show progress: one of %v is", s, Modes())
}

// Options are what a console is made of.
type Options struct {
	Mode Mode
	Out  io.Writer
	// Size returns the terminal's columns and rows; false where Out is no
	// terminal. Nil is never a terminal.
	Size  func() (columns, rows int, ok bool)
	Color bool
	// Verbose shows parts of tasks, too, that are over at once.
	Verbose bool
}

// Console shows events until it is closed. It is safe for concurrent use.
type Console struct {
	mu     sync.Mutex
	model  model
	render renderer
	closed bool

	stop, stopped chan struct{}
}

// renderer shows the model. Its methods are called one at a time.
type renderer interface {
	event(m *model, e progress.Event, t *task) // after the model took it; t is nil for messages
	tick(m *model, now time.Time)
	close(m *model)
}

// New returns a console; Close must be called.
func New(o Options) *Console {
	c := &Console{model: model{start: time.Now()}, stop: make(chan struct{}), stopped: make(chan struct{})}
	size := o.Size
	if size == nil {
		size = func() (int, int, bool) { return 0, 0, false }
	}
	mode := o.Mode
	if mode == Auto || mode == "" {
		mode = Plain
		if _, _, ok := size(); ok {
			mode = TTY
		}
	}
	every := time.Second
	switch mode {
	case TTY:
		c.render = &tty{out: o.Out, size: size, color: o.Color, verbose: o.Verbose}
		every = 100 * time.Millisecond
	case Quiet:
		c.render = quiet{out: o.Out}
	case JSON:
		c.render = jsonLines{enc: json.NewEncoder(o.Out)}
	default:
		c.render = &plain{out: o.Out, verbose: o.Verbose}
	}
	go c.run(every)
	return c
}

// Send shows an event.
func (c *Console) Send(e progress.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	t := c.model.apply(e)
	c.render.event(&c.model, e, t)
}

// Close takes live lines off the screen. What is sent later is dropped.
func (c *Console) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.render.close(&c.model)
	c.mu.Unlock()
	close(c.stop)
	<-c.stopped
}

func (c *Console) run(every time.Duration) {
	defer close(c.stopped)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case now := <-ticker.C:
			c.mu.Lock()
			if !c.closed {
				c.render.tick(&c.model, now)
			}
			c.mu.Unlock()
		}
	}
}

// put writes to standard error. Where that is gone, there is nobody left to tell.
func put(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

// quiet shows warnings alone.
type quiet struct{ out io.Writer }

func (q quiet) event(_ *model, e progress.Event, _ *task) {
	if e.State == progress.Warning {
		put(q.out, "warning: "+e.Text+"\n")
	}
}
func (quiet) tick(*model, time.Time) {}
func (quiet) close(*model)           {}

// jsonLines writes every event as it is.
type jsonLines struct{ enc *json.Encoder }

func (j jsonLines) event(_ *model, e progress.Event, _ *task) {
	_ = j.enc.Encode(e) // as in put
}
func (jsonLines) tick(*model, time.Time) {}
func (jsonLines) close(*model)           {}
