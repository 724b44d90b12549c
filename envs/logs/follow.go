package logs

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// follow reads what there is and what comes, until the context ends.
func (r *Reader) follow(ctx context.Context, o Options, out *output) error {
	f := &follower{reader: r, out: out, choice: newChoice(r.Cluster, r.Component), options: o, first: true, tails: map[key]*tail{}}
	err := r.Cluster.FollowPods(ctx,
		func(pods []corev1.Pod) (bool, error) { return false, f.all(ctx, pods) },
		func(pod corev1.Pod, gone bool) (bool, error) {
			if gone {
				f.gone(func(k key) bool { return k.pod == pod.UID })
				return false, nil
			}
			return false, f.see(ctx, pod)
		})
	if ctx.Err() == nil {
		out.cancel(r.fault(fault.Failure, fmt.Errorf("following its pods: %w", err), ""))
	}
	f.wg.Wait()
	return context.Cause(ctx)
}

// key tells containers apart, also those of a pod that has its forerunner's
// name.
type key struct {
	pod  types.UID
	name string
}

// follower keeps a tail for every container of the component.
type follower struct {
	reader  *Reader
	out     *output
	choice  *choice
	options Options // for those that are there at the first look
	first   bool    // look
	tails   map[key]*tail
	wg      sync.WaitGroup
}

// all takes in a whole list.
func (f *follower) all(ctx context.Context, pods []corev1.Pod) error {
	there := map[types.UID]bool{}
	for _, pod := range pods {
		there[pod.UID] = true
		if err := f.see(ctx, pod); err != nil {
			return err
		}
	}
	f.gone(func(k key) bool { return !there[k.pod] })
	if f.first && len(f.tails) == 0 {
		progress.Say(f.reader.Sink, f.reader.Component.Name+" has no pods yet")
	}
	f.first = false
	return nil
}

func (f *follower) see(ctx context.Context, pod corev1.Pod) error {
	owns, err := f.choice.owns(ctx, pod)
	if err != nil || !owns {
		return err
	}
	for _, c := range containersOf(pod) {
		at := key{pod.UID, c.name}
		t := f.tails[at]
		if t == nil {
			from := Options{Follow: true}
			if f.first {
				from = f.options
			}
			t = newTail(f.reader, f.out, pod, c.name, from)
			f.tails[at] = t
			f.wg.Go(func() { t.run(ctx) })
			if f.first && c.life == "" {
				f.reader.notStarted(pod.Name, c)
			}
		}
		t.update(c)
	}
	return nil
}

// gone lets go of containers whose pods are no more; what they still have to
// say is read.
func (f *follower) gone(of func(key) bool) {
	for at, t := range f.tails {
		if of(at) {
			t.end()
			delete(f.tails, at)
		}
	}
}
