package logs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
)

// again is how long a log that broke off is left alone before it is opened
// again, unless its container changes before.
const again = time.Second

// tail reads the log of one container through its lives.
type tail struct {
	reader           *Reader
	out              *output
	pod              corev1.Pod
	name             string
	follow, previous bool

	lines int       // at most so many to begin with; 0: all
	last  time.Time // only lines after that: when the last one that was read was written

	changed chan struct{} // holds one where there is news
	mu      sync.Mutex
	now     container
	ended   bool // the pod is no more
}

func newTail(r *Reader, out *output, pod corev1.Pod, name string, o Options) *tail {
	t := &tail{
		reader: r, out: out, pod: pod, name: name, follow: o.Follow, previous: o.Previous,
		lines: o.Tail, changed: make(chan struct{}, 1),
	}
	if o.Since > 0 {
		t.last = time.Now().Add(-o.Since)
	}
	return t
}

func (t *tail) update(c container) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == c {
		return
	}
	t.now = c
	t.wake()
}

func (t *tail) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.wake()
}

func (t *tail) wake() {
	select {
	case t.changed <- struct{}{}:
	default: // it is to look already
	}
}

func (t *tail) state() (now container, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now, t.ended
}

// run reads one life after the other, until the pod is gone or ctx ends.
func (t *tail) run(ctx context.Context) {
	done := "" // the life that was read to its end
	told := false
	for ctx.Err() == nil {
		was, ended := t.state()
		if was.life == "" || was.life == done {
			if ended {
				return
			}
			t.wait(ctx, nil)
			continue
		}
		err := t.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !told && !apierrors.IsNotFound(err) { // that its pod is gone is told elsewhere
			progress.Warn(t.reader.Sink, fmt.Sprintf("%s/%s: %v", t.pod.Name, t.name, err))
		}
		told = err != nil
		now, ended := t.state()
		if ended || !was.running || now.life != was.life {
			done = was.life
			continue
		}
		// It ran when its log ended. Either it runs no more, which is told soon,
		// or the log broke off.
		pause := time.NewTimer(again)
		t.wait(ctx, pause.C)
		pause.Stop()
	}
}

// wait returns when there is news, or after the pause.
func (t *tail) wait(ctx context.Context, pause <-chan time.Time) {
	select {
	case <-ctx.Done():
	case <-t.changed:
	case <-pause:
	}
}

// read opens the log and reads it to its end: at first what the options say,
// later what comes after the last line.
func (t *tail) read(ctx context.Context) error {
	from := t.last
	log, err := t.reader.Cluster.Log(ctx, t.pod.Namespace, t.pod.Name, kube.LogOptions{
		Container: t.name, Tail: t.lines, Since: from, Previous: t.previous, Follow: t.follow, Timestamps: true,
	})
	if err != nil {
		return err
	}
	t.lines = 0
	err = kube.ReadLog(log, func(e kube.LogEntry) error {
		if !from.IsZero() && !e.Time.IsZero() && !e.Time.After(from) {
			return nil // the server counts in whole seconds
		}
		if e.Time.After(t.last) {
			t.last = e.Time
		}
		return t.out.put(Line{Time: e.Time, Pod: t.pod.Name, Container: t.name, Text: e.Text})
	})
	return errors.Join(err, log.Close())
}
