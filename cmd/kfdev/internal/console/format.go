package console

import (
	"fmt"
	"strings"
	"time"

	"github.com/kfdev/kfdev/internal/progress"
)

// size writes bytes in decimal units, as downloads are counted.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%d kB", n/1000)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// took writes a duration that was measured.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return span(d)
}

// span writes a duration to the second.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// state tells how far a task is: "45 %, 12.3 of 27.0 MB, 3.4 MB/s, about 4 s
// left", or for how long it has been at work.
func (t *task) state(now time.Time) string {
	var parts []string
	if t.total > 0 {
		parts = append(parts, fmt.Sprintf("%d %%", min(100, t.done*100/t.total)))
	}
	switch {
	case t.unit == progress.Bytes && t.total > 0:
		parts = append(parts, size(t.done)+" of "+size(t.total))
	case t.unit == progress.Bytes && t.done > 0:
		parts = append(parts, size(t.done))
	case t.unit == progress.Items && t.total > 0:
		parts = append(parts, fmt.Sprintf("%d of %d", t.done, t.total))
	case t.unit == progress.Items && t.done > 0:
		parts = append(parts, fmt.Sprint(t.done))
	}
	if rate := t.rate(now); t.unit == progress.Bytes && rate > 0 {
		parts = append(parts, size(int64(rate))+"/s")
	}
	if left, ok := t.left(now); ok {
		parts = append(parts, "about "+span(left)+" left")
	} else {
		parts = append(parts, span(now.Sub(t.started)))
	}
	return strings.Join(parts, ", ")
}

// shortState is the least that tells how far a task is.
func (t *task) shortState(now time.Time) string {
	if t.total > 0 {
		return fmt.Sprintf("%d %%", min(100, t.done*100/t.total))
	}
	return span(now.Sub(t.started))
}

// amount is what a task that ended did; empty where it did not count.
func (t *task) amount() string {
	switch {
	case t.done <= 0:
		return ""
	case t.unit == progress.Bytes:
		return size(t.done)
	}
	return ""
}

// oneLine keeps texts from breaking the screen.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, s)
}

// cut shortens s to width characters.
func cut(s string, width int) string {
	runes := []rune(s)
	switch {
	case len(runes) <= width:
		return s
	case width <= 1:
		return string(runes[:max(0, width)])
	}
	return string(runes[:width-1]) + "…"
}
