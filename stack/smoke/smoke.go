// Package smoke proves that a component does its work: each test runs
// something real on the cluster, in a namespace of its own, and cleans up.
package smoke

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// The label and annotation of a namespace that a smoke test made.
const (
	TestLabel         = "kfdev.dev/smoke"         // the test's name
	ExpiresAnnotation = "kfdev.dev/smoke-expires" // RFC 3339; put off while the test runs; past it, the next run removes what is left
)

// Limit is how long a test may take in all.
const Limit = 15 * time.Minute

// cleanLimit is how long cleaning up may take, also after an interrupt.
const cleanLimit = 90 * time.Second

// A namespace counts as left behind when its test has not been heard of for
// this long; a test that runs says so this often.
const (
	silence = 3 * time.Minute
	sign    = 30 * time.Second
)

// Test is one smoke test. It makes whatever it needs in env.Namespace, which
// is removed with all that is in it; what it makes elsewhere it removes itself
// (see Elsewhere). See Asking for tests that need none.
type Test interface {
	// Name is what component files and the command line call it: "tfjob".
	Name() string
	// Needs are the rights that it takes, beyond those to make its namespace and
	// to take it away, where the component lives in a namespace. What it makes in
	// a namespace of its own it needs the right to in all: nobody knows its name.
	Needs(component string) []apply.Missing
	// Run does it. The result holds what was done so far also when it fails.
	Run(ctx context.Context, env Env) (Result, error)
}

// Asking is a Test that makes nothing: it only asks, and gets no namespace.
type Asking interface {
	Test
	MakesNothing()
}

// Elsewhere is a Test that makes things outside its namespace, under names that
// follow from the namespace's.
type Elsewhere interface {
	Test
	// Clean removes what a run that was killed made outside env.Namespace. It
	// may be called when nothing is there.
	Clean(ctx context.Context, env Env) error
}

// Forward opens a local address that leads to a port of a service. Its close
// function ends it.
type Forward func(ctx context.Context, namespace, service string, port int) (address string, end func(), err error)

// Env is what a test runs in.
type Env struct {
	Kube    kubernetes.Interface
	Dynamic dynamic.Interface
	Forward Forward
	// As returns a client that is another user in the cluster's eyes.
	As func(user string) (kubernetes.Interface, error)
	// Component is the namespace that the component under test lives in.
	Component string
	// Namespace is the test's own; Run makes it.
	Namespace string
	// Images are the component's images by the names its file gives them.
	Images map[string]images.Ref
	// Objects are what the component is in the cluster.
	Objects []*unstructured.Unstructured
	// PullSecret is lent wherever the test makes pods; see Lend.
	PullSecret PullSecret
	Sink       progress.Sink
}

// Image returns the image that the component calls name, as a pod names it.
func (e Env) Image(name string) (string, error) {
	ref, ok := e.Images[name]
	if !ok {
		return "", &fault.Error{Op: "looking for an image of the smoke test", Subject: name, Kind: fault.NotFound,
			Hint: "run `kfdev lock`", Err: errors.New("the lock has none of that name")}
	}
	return ref.String(), nil
}

// Connect returns an Env that reaches a cluster; the caller fills in the rest.
func Connect(client *kube.Client) (Env, error) {
	typed, err := kubernetes.NewForConfig(client.Config)
	if err != nil {
		return Env{}, fmt.Errorf("making a client of the cluster: %w", err)
	}
	forward := func(ctx context.Context, namespace, service string, port int) (string, func(), error) {
		f, err := client.Forward(ctx, namespace, service, port, "127.0.0.1:0")
		if err != nil {
			return "", nil, err
		}
		return f.Addr(), func() { _ = f.Close() }, nil // nothing is lost when a connection ends badly
	}
	as := func(user string) (kubernetes.Interface, error) {
		config := rest.CopyConfig(client.Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
		return kubernetes.NewForConfig(config)
	}
	return Env{Kube: typed, Dynamic: client.Dynamic, Forward: forward, As: as, Sink: progress.Discard}, nil
}

// Run runs a test in a namespace of its own, and removes that namespace at the
// end, also when ctx was cancelled. A failure carries the last words of the
// namespace's pods.
func Run(ctx context.Context, test Test, env Env) (result Result, err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	if _, ok := test.(Asking); ok {
		defer func() { result.Took = time.Since(start) }()
		return run(ctx, test, env)
	}
	if err := removeExpired(ctx, env, test); err != nil {
		return Result{Name: test.Name()}, err
	}
	env.Namespace, err = makeNamespace(ctx, env, test.Name())
	if err != nil {
		return Result{Name: test.Name()}, err
	}
	silent := keepAlive(ctx, env)
	defer func() {
		fresh, done := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
		defer done()
		silent()
		err = errors.Join(err, removeNamespace(fresh, env, env.Namespace))
		result.Took = time.Since(start)
	}()
	if err := env.Lend(ctx, env.Namespace); err != nil {
		return Result{Name: test.Name()}, err
	}
	return run(ctx, test, env)
}

func run(ctx context.Context, test Test, env Env) (Result, error) {
	result, err := test.Run(ctx, env)
	result.Name = test.Name()
	if err != nil && env.Namespace != "" {
		err = explain(ctx, env, err)
	}
	if err != nil {
		err = &fault.Error{Op: "running the smoke test", Subject: test.Name(), Err: err}
	}
	return result, err
}

// explain puts the pods' last words behind a test's error; when ctx has ended,
// that is the reason, and the pods have nothing to add to an interrupt.
func explain(ctx context.Context, env Env, err error) error {
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	fresh, done := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
	defer done()
	return withWords(err, LastWords(fresh, env.Kube, env.Namespace))
}

func makeNamespace(ctx context.Context, env Env, test string) (string, error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:        "kfdev-smoke-" + test + "-" + rand.String(5),
		Labels:      map[string]string{TestLabel: test},
		Annotations: map[string]string{ExpiresAnnotation: expiry()},
	}}
	made, err := env.Kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	if err != nil {
		return "", &fault.Error{Op: "making a namespace for the smoke test", Subject: test, Err: err}
	}
	return made.Name, nil
}

func expiry() string { return time.Now().Add(silence).UTC().Format(time.RFC3339) }

// removeExpired removes what runs of the test that were killed have left. A run
// that is still going has not expired.
func removeExpired(ctx context.Context, env Env, test Test) error {
	list, err := env.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: TestLabel + "=" + test.Name()})
	if err != nil {
		return &fault.Error{Op: "looking for what earlier smoke tests left", Subject: test.Name(), Err: err}
	}
	for _, ns := range list.Items {
		expires, err := time.Parse(time.RFC3339, ns.Annotations[ExpiresAnnotation])
		if err != nil || time.Now().Before(expires) || ns.DeletionTimestamp != nil {
			continue
		}
		// The namespace goes last: it is what is known of the rest.
		if elsewhere, ok := test.(Elsewhere); ok {
			left := env
			left.Namespace = ns.Name
			if err := elsewhere.Clean(ctx, left); err != nil {
				return &fault.Error{Op: "removing what an earlier smoke test left", Subject: ns.Name, Err: err}
			}
		}
		if err := removeNamespace(ctx, env, ns.Name); err != nil {
			return err
		}
	}
	return nil
}

// removeNamespace deletes a namespace and waits until it is gone.
func removeNamespace(ctx context.Context, env Env, name string) (err error) {
	task := progress.Start(env.Sink, "verify/clean/"+name, "removing namespace "+name, 0, progress.None)
	defer func() { task.End(err) }()
	namespaces := env.Kube.CoreV1().Namespaces()
	watcher, err := namespaces.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return leftBehind(name, err)
	}
	defer watcher.Stop()
	if err := namespaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return leftBehind(name, err)
	}
	for {
		if _, err := namespaces.Get(ctx, name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return nil
		}
		select {
		case _, ok := <-watcher.ResultChan():
			if !ok {
				return leftBehind(name, errors.New("the watch ended before it was gone"))
			}
		case <-ctx.Done():
			return leftBehind(name, ctx.Err())
		}
	}
}

func leftBehind(name string, err error) error {
	return &fault.Error{Op: "removing the smoke test's namespace", Subject: name, Hint: "kubectl delete namespace " + name, Err: err}
}
