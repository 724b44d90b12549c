package kind

import (
	"fmt"
	"strings"
	"sync"
	"unicode"

	"sigs.k8s.io/kind/pkg/log"

	"github.com/kfdev/kfdev/internal/progress"
)

// logger turns what kind's library says into progress: each of its steps is a
// task below cluster/create.
type logger struct {
	sink progress.Sink
	mu   sync.Mutex
	task *progress.Task
	step int
}

var (
	_ log.Logger     = (*logger)(nil)
	_ log.InfoLogger = (*logger)(nil)
)

func newLogger(sink progress.Sink) *logger { return &logger{sink: sink} }

// end ends the step that is open.
func (l *logger) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.task != nil {
		l.task.End(err)
		l.task = nil
	}
}

// Warn passes a warning on, unless it is about something that kfdev has seen to.
func (l *logger) Warn(message string) {
	if strings.Contains(message, "cgroup v1 is deprecated") {
		return
	}
	progress.Warn(l.sink, "kind: "+strings.TrimSpace(message))
}

// Warnf is Warn.
func (l *logger) Warnf(format string, args ...any) { l.Warn(fmt.Sprintf(format, args...)) }

// Error passes an error on as a warning: what fails is returned.
func (l *logger) Error(message string) { l.Warn(message) }

// Errorf is Error.
func (l *logger) Errorf(format string, args ...any) { l.Warn(fmt.Sprintf(format, args...)) }

// V returns the logger for what people are to see, and silence for the rest.
func (l *logger) V(level log.Level) log.InfoLogger {
	if level == 0 {
		return l
	}
	return log.NoopInfoLogger{}
}

// Enabled is true.
func (l *logger) Enabled() bool { return true }

// Infof is Info.
func (l *logger) Infof(format string, args ...any) { l.Info(fmt.Sprintf(format, args...)) }

// Info takes a line; " • Step 📦  ..." begins a step and " ✓ Step 📦" ends it.
func (l *logger) Info(message string) {
	line := strings.TrimSpace(message)
	text := words(line)
	switch {
	case strings.HasPrefix(line, "•"):
		l.end(nil)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.step++
		l.task = progress.Start(l.sink, fmt.Sprintf("cluster/create/%d", l.step), text, 0, progress.None)
	case strings.HasPrefix(line, "✓"):
		l.end(nil)
	case strings.HasPrefix(line, "✗"):
		l.end(fmt.Errorf("%s failed", text))
	}
}

// words drops the marks and pictures around a step's name.
func words(line string) string {
	line = strings.TrimSuffix(line, "...")
	return strings.TrimFunc(line, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != ')' && r != '(' })
}
