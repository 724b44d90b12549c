package envs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// Opened is a local address that leads to a component, until Close.
type Opened struct {
	Component string `json:"component"`
	URL       string `json:"url"`
	User      string `json:"user,omitempty"`
	Password  string `json:"password,omitempty"`

	forward *kube.Forward
	live    live
}

// Close ends it.
func (o *Opened) Close() error {
	err := o.forward.Close()
	o.live.Close()
	return err
}

// Open opens a local address that answers, and follows the component's pod
// when that is replaced. Port 0 takes any that is free.
func (e *Engine) Open(ctx context.Context, name string, port int) (*Opened, error) {
	s, err := e.asWritten()
	if err != nil {
		return nil, err
	}
	p, err := s.part(name)
	if err != nil {
		return nil, err
	}
	if p.Open == nil {
		return nil, &fault.Error{Op: "opening", Subject: name, Kind: fault.NotFound, Err: errors.New("it serves no page"), Hint: "`kfdev status` lists the components"}
	}
	live, _, err := e.running(ctx, s)
	if err != nil {
		return nil, err
	}
	opened, err := open(ctx, p, port, live)
	if err != nil {
		live.Close()
	}
	return opened, err
}

func open(ctx context.Context, p part, port int, live live) (*Opened, error) {
	o := &Opened{Component: p.Name, live: live}
	namespace := p.Open.Namespace
	if namespace == "" {
		namespace = p.Namespace
	}
	var err error
	if p.Open.Secret != "" {
		if o.User, err = live.Secret(ctx, namespace, p.Open.Secret, p.Open.UserKey); err != nil {
			return nil, err
		}
		if o.Password, err = live.Secret(ctx, namespace, p.Open.Secret, p.Open.PasswordKey); err != nil {
			return nil, err
		}
	}
	o.forward, err = live.Client().Forward(ctx, namespace, p.Open.Service, p.Open.Port, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	scheme := p.Open.Scheme
	if scheme == "" {
		scheme = "http"
	}
	o.URL = scheme + "://" + o.forward.Addr() + p.Open.Path
	return o, nil
}

// asWritten is the stack as kfdev.yaml has it, whatever the lock says: enough
// to look at what runs.
func (e *Engine) asWritten() (settled, error) {
	parts, err := e.stackOf(e.file)
	return settled{file: e.file, parts: parts}, err
}

// LogLine is one line of a container's log.
type LogLine struct {
	Pod       string `json:"pod"`
	Container string `json:"container"`
	Text      string `json:"text"`
}

// LogOptions say which lines.
type LogOptions struct {
	Tail   int  // at most so many last lines of each container; 0: all
	Follow bool // until the context ends
}

// Logs calls each with the lines of all containers of a component's namespace,
// in the order they arrive; calls do not overlap.
func (e *Engine) Logs(ctx context.Context, name string, o LogOptions, each func(LogLine) error) error {
	s, err := e.asWritten()
	if err != nil {
		return err
	}
	p, err := s.part(name)
	if err != nil {
		return err
	}
	live, _, err := e.running(ctx, s)
	if err != nil {
		return err
	}
	defer live.Close()
	pods, err := live.Pods(ctx)
	if err != nil {
		return err
	}
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return pod.Namespace != p.Namespace })
	if len(pods) == 0 {
		return &fault.Error{Op: "reading logs", Subject: name, Kind: fault.NotFound, Err: errors.New("it has no pods"), Hint: "run `kfdev up`"}
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, pod := range pods {
		for _, c := range pod.Spec.Containers {
			wg.Go(func() {
				err := lines(ctx, live.Client(), pod, c.Name, o, func(l LogLine) error {
					mu.Lock()
					defer mu.Unlock()
					return each(l)
				})
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	}
	wg.Wait()
	if o.Follow && ctx.Err() != nil {
		return nil // a person who follows ends it so
	}
	return errors.Join(errs...)
}

func lines(ctx context.Context, client *kube.Client, pod corev1.Pod, container string, o LogOptions, each func(LogLine) error) error {
	log, err := client.Logs(ctx, pod.Namespace, pod.Name, kube.LogOptions{Container: container, Tail: o.Tail, Follow: o.Follow})
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	scan := bufio.NewScanner(log)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if err := each(LogLine{Pod: pod.Name, Container: container, Text: scan.Text()}); err != nil {
			return err
		}
	}
	return scan.Err()
}
