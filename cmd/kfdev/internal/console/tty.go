package console

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kfdev/kfdev/internal/progress"
)

// tty keeps what is under way in live lines at the bottom of the screen, and
// lets what ended scroll away above them. A picture goes out in one write, and
// neither hides the cursor nor changes the terminal's mode, so that a kill
// leaves nothing to be restored.
type tty struct {
	out     io.Writer
	size    func() (columns, rows int, ok bool)
	color   bool
	verbose bool

	live  []int  // characters of each line of the picture on the screen
	frame int    // of the spinner
	above string // lines that go above the picture with the next write
}

// At most maxLive lines are live, and never more than the screen less some
// rows; a part of a task is not shown unless it takes longer than liveAfter.
const (
	maxLive   = 8
	spareRows = 3
	liveAfter = 300 * time.Millisecond
	barWidth  = 20
	minText   = 15 // characters of a task's text that its state must leave
)

// The escape codes in use (ECMA-48).
const (
	clearLine  = "\x1b[2K"
	clearBelow = "\x1b[J"
	upLines    = "\x1b[%dA"
)

func (r *tty) paint(code int, s string) string {
	if !r.color {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, s)
}

// Colours of SGR.
const (
	red    = 31
	green  = 32
	yellow = 33
	faint  = 2
)

func (r *tty) event(m *model, e progress.Event, t *task) {
	switch e.State {
	case progress.Message:
		r.above += oneLine(e.Text) + "\n"
	case progress.Warning:
		r.above += r.paint(yellow, "! ") + oneLine(e.Text) + "\n"
	case progress.Done, progress.Skipped, progress.Failed:
		r.end(e, t)
	case progress.Started, progress.Advanced:
		return // the next tick shows them
	}
	if r.above != "" {
		r.draw(m, e.Time)
	}
}

func (r *tty) end(e progress.Event, t *task) {
	part := t.parent != nil
	if part && !r.verbose && e.State != progress.Failed && e.Took < partAfter {
		return
	}
	line := indent(t)
	switch e.State {
	case progress.Failed:
		line += r.paint(red, "✗ ") + oneLine(t.text) + r.paint(red, "  "+oneLine(e.Error))
	case progress.Skipped:
		line += r.paint(faint, "- "+oneLine(t.text))
	default:
		how := took(e.Took)
		if amount := t.amount(); amount != "" {
			how = amount + ", " + how
		}
		line += r.paint(green, "✓ ") + oneLine(t.text) + r.paint(faint, "  "+how)
	}
	r.above += line + "\n"
}

func (r *tty) tick(m *model, now time.Time) {
	r.frame++
	if len(r.live) > 0 || len(m.active) > 0 {
		r.draw(m, now)
	}
}

func (r *tty) close(*model) {
	columns, _, _ := r.size()
	put(r.out, r.home(columns)+clearBelow)
	r.live = nil
}

// home brings the cursor to the picture's first line. Where the terminal was
// made narrower, it has wrapped the lines of the picture since.
func (r *tty) home(columns int) string {
	rows := 0
	for _, length := range r.live {
		rows++
		if columns > 0 && length > columns {
			rows += (length - 1) / columns
		}
	}
	if rows == 0 {
		return "\r"
	}
	return "\r" + fmt.Sprintf(upLines, rows)
}

// draw writes what goes above, and the picture anew.
func (r *tty) draw(m *model, now time.Time) {
	columns, rows, ok := r.size()
	if !ok {
		columns, rows = 80, 24
	}
	lines := r.picture(m, now, columns-1, min(maxLive, max(1, rows-spareRows)))
	var out strings.Builder
	out.WriteString(r.home(columns))
	if r.above != "" {
		out.WriteString(clearBelow + r.above) // long lines may wrap: these are never moved back over
		r.above = ""
	}
	r.live = r.live[:0]
	for _, line := range lines {
		out.WriteString(clearLine + line + "\n")
		r.live = append(r.live, characters(line))
	}
	out.WriteString(clearBelow)
	put(r.out, out.String())
}

// characters counts what a line shows: escape codes show nothing.
func characters(line string) int {
	n := 0
	for rest := line; rest != ""; {
		before, after, coded := strings.Cut(rest, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !coded {
			break
		}
		_, rest, _ = strings.Cut(after, "m")
	}
	return n
}

// picture returns the live lines, each at most columns wide.
func (r *tty) picture(m *model, now time.Time, columns, rows int) []string {
	var visible []*task
	for _, t := range m.active {
		if t.parent == nil || now.Sub(t.started) >= liveAfter {
			visible = append(visible, t)
		}
	}
	hidden := 0
	if len(visible) > rows {
		// Those that work say more than those that wait for their parts.
		visible = m.leaves()
	}
	if len(visible) > rows {
		hidden = len(visible) - (rows - 1)
		visible = visible[:rows-1]
	}
	var lines []string
	for _, t := range visible {
		lines = append(lines, r.live1(t, now, columns))
	}
	if hidden > 0 {
		lines = append(lines, cut(fmt.Sprintf("  and %d more", hidden), columns))
	}
	return lines
}

// live1 is the line of one task.
func (r *tty) live1(t *task, now time.Time, columns int) string {
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	head := indent(t) + string(frames[r.frame%len(frames)]) + " "
	state := t.state(now)
	bar := ""
	if t.total > 0 && columns >= 70 {
		bar = gauge(t.done, t.total) + "  "
	}
	text := oneLine(t.text)
	for _, s := range []string{state, t.shortState(now)} {
		room := columns - utf8.RuneCountInString(head) - 2 - utf8.RuneCountInString(bar) - utf8.RuneCountInString(s)
		if room >= min(minText, utf8.RuneCountInString(text)) {
			return head + cut(text, room) + "  " + bar + r.paint(faint, s)
		}
	}
	return cut(head+text, columns) // too narrow for all: the text is what matters
}

// gauge is a bar of barWidth characters.
func gauge(done, total int64) string {
	full := int(min(total, max(0, done)) * barWidth / total)
	return strings.Repeat("━", full) + strings.Repeat("─", barWidth-full)
}
