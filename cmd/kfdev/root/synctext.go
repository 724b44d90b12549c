package root

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kfdev/kfdev/sync/session"
)

// eventText is an event for people; empty where there is nothing to say.
func eventText(e session.Event) string {
	switch e.Kind {
	case session.StateEvent:
		return stateText(e.State, e.Text)
	case session.BatchEvent:
		return batchText(*e.Batch)
	case session.ConflictEvent:
		path := shownPath(e.Conflict.Path)
		return fmt.Sprintf("conflict: %s: %s; kfdev sync resolve %s --keep local|remote|both ends it", path, printable(e.Conflict.Why), path)
	case session.ProblemEvent:
		text := fmt.Sprintf("problem: %s: the %s folder: %s", shownPath(e.Problem.Path), e.Problem.Side, printable(e.Problem.Error))
		if !e.Problem.Waits {
			text += "; it is tried again"
		}
		return text
	case session.SettledEvent:
		return "settled: " + shownPath(e.Text)
	case session.HaltEvent:
		return strings.Join([]string{"halted: " + e.Halt.Text, e.Halt.Hint}, "; ")
	case session.RunEvent:
		return runText(*e.Run)
	case session.ProgressEvent:
		p := *e.Progress
		return fmt.Sprintf("%s of %s files, %s of %s %s", grouped(p.Files), grouped(p.Of), bytesOf(p.Bytes), bytesOf(p.Total), toSide(e.Text))
	case session.NoteEvent:
		return "note: " + printable(e.Text)
	}
	return printable(e.Text)
}

func stateText(state session.State, why string) string {
	text := string(state)
	if state == session.Scanning {
		text = "looking at both folders"
	}
	if why != "" {
		text += ": " + printable(why)
	}
	return text
}

// toSide says which way something goes.
func toSide(side string) string {
	if side == "local" {
		return "from the pod"
	}
	return "to the pod"
}

// batchText is "to the pod: train.py (8 ms)", or counts where there are more.
func batchText(b session.Batch) string {
	const few = 3
	names := make([]string, 0, few+1)
	for _, p := range b.Paths[:min(few, len(b.Paths))] {
		names = append(names, shownPath(p))
	}
	n := b.Changed + b.Deleted
	if n > few {
		names = append(names, "…")
	}
	what := strings.Join(names, ", ")
	switch {
	case n > 1:
		what = fmt.Sprintf("%s changed, %s deleted, %s: %s", grouped(b.Changed), grouped(b.Deleted), bytesOf(b.Bytes), what)
	case b.Deleted == 1:
		what = "deleted " + what
	}
	if b.Merged > 0 {
		what += fmt.Sprintf(", %d merged by cell", b.Merged)
	}
	return fmt.Sprintf("%s: %s (%s)", toSide(b.To), what, millis(b.Latency))
}

// runText says what became of the on-change command, with what it wrote.
func runText(r session.Run) string {
	head := "ran " + strings.Join(r.Command, " ") + ": "
	if r.Lost {
		return head + printable(r.Error)
	}
	if r.Error != "" {
		return head + "it could not be run: " + printable(r.Error)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sexit code %d after %s", head, r.Code, millis(r.Took))
	for _, line := range lines(r.Output) {
		b.WriteString("\n  | " + printable(line))
	}
	return b.String()
}

func lines(text string) []string {
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// statusLine is a session in one line: "in sync · 5,012 paths · p50 8 ms p95
// 20 ms · pod web-0 in app, container main".
func statusLine(s session.Status) string {
	parts := []string{stateText(s.State, s.Text)}
	if s.Halt != nil {
		parts[0] = stateText(s.State, s.Halt.Text)
	}
	if s.Paths > 0 {
		parts = append(parts, grouped(s.Paths)+" paths")
	}
	if l := s.ToRemote; l.Edits > 0 {
		parts = append(parts, fmt.Sprintf("p50 %s p95 %s", millis(l.P50), millis(l.P95)))
	}
	for _, each := range []struct {
		n    int
		what string
	}{{len(s.Conflicts), "conflict"}, {len(s.Problems), "problem"}} {
		switch each.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+each.what)
		default:
			parts = append(parts, grouped(each.n)+" "+each.what+"s")
		}
	}
	if s.Pod != "" {
		parts = append(parts, s.Pod)
	}
	return strings.Join(parts, " · ")
}

// grouped writes a count with its thousands apart.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// millis writes a duration to the millisecond, as far as that says something.
func millis(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return took(d)
}

// bytesOf writes an amount in decimal units.
func bytesOf(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// shownPath is a path as it may be written to a terminal, quoted as a shell
// needs it. Names of files may hold anything.
func shownPath[P ~string](name P) string {
	path := string(name)
	switch {
	case path == "":
		return "." // the folder itself
	case !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }):
		return strconv.Quote(path)
	case strings.ContainsAny(path, " '\"$`\\;&|<>()*?[]#~!"):
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// printable leaves out what a terminal would take for commands.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		if r == '\n' {
			return ' '
		}
		return -1
	}, text)
}
