// Package logs reads the logs of a component: of every container of the pods
// that its workloads have, while these come, restart and go. One log that
// can't be read keeps no other from being read.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
)

// Cluster is what the logs are read from.
type Cluster interface {
	// FollowPods calls all with every pod of the cluster, and again whenever it
	// had to look anew; in between change with each pod that came, changed or
	// went (gone). It returns nil once one of them returns true, their error if
	// they do, and an error when ctx ends.
	FollowPods(ctx context.Context, all func([]corev1.Pod) (bool, error), change func(pod corev1.Pod, gone bool) (bool, error)) error
	// Owners returns the owners of the object that a reference in the namespace
	// names; none where it is not there any more.
	Owners(ctx context.Context, namespace string, ref metav1.OwnerReference) ([]metav1.OwnerReference, error)
	// Log opens the log of a pod's container.
	Log(ctx context.Context, namespace, pod string, o kube.LogOptions) (io.ReadCloser, error)
}

// Line is one line of a container's log.
type Line struct {
	Time      time.Time `json:"time,omitzero"` // when it was written; zero where that is not known
	Pod       string    `json:"pod"`
	Container string    `json:"container"`
	Text      string    `json:"text"`
}

// Options say which lines.
type Options struct {
	Tail     int           // at most so many last lines of each container; 0: all
	Since    time.Duration // only lines that are not older; 0: all
	Previous bool          // of the life of each container before this one
	Follow   bool          // until the context ends
}

// Reader reads the logs of one component.
type Reader struct {
	Cluster   Cluster
	Component Component
	Sink      progress.Sink
}

// Read calls each with the lines of all containers in the order they arrive;
// calls do not overlap, and an error of each ends it. A container that has not
// started is told to the sink. A log that can't be read becomes part of the
// error, which comes when all others are read.
//
// With Follow it also reads what comes later: what containers write, their next
// lives, and other pods, each from its start. It then ends with the context,
// and returns the cause.
func (r *Reader) Read(ctx context.Context, o Options, each func(Line) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &output{each: each, cancel: cancel}
	if o.Follow {
		return r.follow(ctx, o, out)
	}
	return r.once(ctx, o, out)
}

// once reads what there is.
func (r *Reader) once(ctx context.Context, o Options, out *output) error {
	pods, err := r.pods(ctx)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return r.fault(fault.NotFound, errors.New("it has no pods"), "run `kfdev up`")
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		errs  []error
		lives int
	)
	for _, pod := range pods {
		for _, c := range containersOf(pod) {
			life := c.life
			if o.Previous {
				life = c.before
			}
			if life == "" {
				if !o.Previous {
					r.notStarted(pod.Name, c)
				}
				continue
			}
			lives++
			wg.Go(func() {
				err := newTail(r, out, pod, c.name, o).read(ctx)
				switch {
				case err == nil:
				case notStartedYet(err): // it ended in between, and another is on its way
					r.notStarted(pod.Name, c)
				case apierrors.IsNotFound(err):
					progress.Warn(r.Sink, fmt.Sprintf("%s/%s is gone", pod.Name, c.name))
				default:
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, fmt.Errorf("%s/%s: %w", pod.Name, c.name, err))
				}
			})
		}
	}
	wg.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case o.Previous && lives == 0:
		return r.fault(fault.NotFound, errors.New("none of its containers had a life before this one"), "")
	case len(errs) == 0:
		return nil
	case len(errs) < lives:
		return r.fault(fault.Partial, errors.Join(errs...), "")
	}
	return r.fault(fault.Failure, errors.Join(errs...), "")
}

// pods returns the pods that the component has now.
func (r *Reader) pods(ctx context.Context) (own []corev1.Pod, err error) {
	choice := newChoice(r.Cluster, r.Component)
	err = r.Cluster.FollowPods(ctx, func(pods []corev1.Pod) (bool, error) {
		for _, pod := range pods {
			owns, err := choice.owns(ctx, pod)
			if err != nil {
				return true, err
			}
			if owns {
				own = append(own, pod)
			}
		}
		return true, nil
	}, nil)
	return own, err
}

func (r *Reader) notStarted(pod string, c container) {
	text := fmt.Sprintf("%s/%s has not started", pod, c.name)
	if c.why != "" {
		text += ": " + c.why
	}
	progress.Warn(r.Sink, text)
}

func (r *Reader) fault(kind fault.Kind, err error, hint string) error {
	return &fault.Error{Op: "reading logs", Subject: r.Component.Name, Kind: kind, Err: err, Hint: hint}
}

// notStartedYet reports whether the kubelet says that there is no log yet,
// which it does with status 400.
func notStartedYet(err error) bool { return apierrors.IsBadRequest(err) }

// output takes lines from many at once.
type output struct {
	mu     sync.Mutex
	each   func(Line) error
	cancel context.CancelCauseFunc
}

// put hands a line on. Where that fails, nobody reads any more, and all ends.
func (o *output) put(l Line) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.each(l)
	if err != nil {
		o.cancel(err)
	}
	return err
}
