package envs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	syncendpoint "github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/helper/program"
	"github.com/kfdev/kfdev/sync/pod"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/wire"
)

// linker makes a session's connections, one after the other.
type linker struct {
	*Sync

	was    bool      // there was a connection before: what is gone may come back
	busy   time.Time // since when another session's helper has the folder; zero: none has
	denied time.Time // since when the rights are lacking that were there before; zero: they are not
	image  string    // the helper's own, once it was needed
	way    ways
}

// ways are what a linker does outside; tests put fakes in their place.
type ways struct {
	reach func(ctx context.Context, env string) (*kube.Client, error)
	find  func(ctx context.Context, c *kube.Client, t pod.Target) (pod.Pod, error)
	await func(ctx context.Context, c *kube.Client, t pod.Target) (pod.Pod, error)
	enter func(ctx context.Context, c *kube.Client, p pod.Pod, o pod.Options) (io.ReadWriteCloser, pod.How, error)
	gone  func(ctx context.Context, c *kube.Client, p pod.Pod) (string, error)
	image func(ctx context.Context, env string) (string, error)
}

func newLinker(s *Sync) *linker {
	return &linker{Sync: s, way: ways{
		reach: s.engine.reach, find: pod.Find, await: pod.Await, enter: pod.Connect, gone: pod.Gone, image: s.engine.helperImage,
	}}
}

// connect is session.Config's Connect.
func (l *linker) connect(ctx context.Context, rules []byte, say func(string)) (session.Link, error) {
	client, err := l.way.reach(ctx, l.Env)
	if err != nil {
		return nil, l.final(err)
	}
	link, err := l.link(ctx, client, rules, say)
	if err != nil {
		closeClient(client)
		return nil, l.final(err)
	}
	l.was, l.busy, l.denied = true, time.Time{}, time.Time{}
	return link, nil
}

// closeClient drops connections. Where a cluster is faked there is no client.
func closeClient(c *kube.Client) {
	if c != nil {
		c.Close()
	}
}

func (l *linker) link(ctx context.Context, client *kube.Client, rules []byte, say func(string)) (session.Link, error) {
	p, err := l.await(ctx, client, say)
	if err != nil {
		return nil, err
	}
	say("getting into " + p.String())
	stream, how, err := l.enter(ctx, client, p)
	if err != nil {
		return nil, err
	}
	remote, err := wire.Dial(ctx, stream, wire.Open{Session: l.Name, Root: l.Remote, Rules: rules}, wire.Options{})
	if err != nil {
		return nil, &fault.Error{Op: "opening the folder in the pod", Subject: l.Remote, Err: err}
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	made := &podLink{Remote: remote, pod: p, how: how, end: end}
	made.watch.Go(func() {
		made.follow(life, client, l.way.gone)
		closeClient(client)
	})
	return made, nil
}

// await waits until there is a pod, and says for what it waits.
func (l *linker) await(ctx context.Context, client *kube.Client, say func(string)) (pod.Pod, error) {
	p, err := l.way.find(ctx, client, l.Target)
	if err == nil || fault.KindOf(err) != fault.NotFound {
		return p, err
	}
	say(l.waitsFor())
	return l.way.await(ctx, client, l.Target)
}

// waitsFor says what is missing, with the way out.
func (l *linker) waitsFor() string {
	if l.Target.Kind == pod.KindJupyterHub {
		return fmt.Sprintf("waiting for the server of %s: start it at `kfdev open jupyterhub`", l.Target.Name)
	}
	return fmt.Sprintf("waiting until %s runs", l.Target)
}

// enter gets into the container. The helper's own image is brought to the nodes
// only where there is no other way.
func (l *linker) enter(ctx context.Context, client *kube.Client, p pod.Pod) (io.ReadWriteCloser, pod.How, error) {
	o := pod.Options{Program: program.Load, EphemeralImage: l.image, Sink: l.engine.sink}
	if filepath.IsAbs(l.Remote) { // and not below a home folder that is not known yet
		o.Root = l.Remote
	}
	stream, how, err := l.way.enter(ctx, client, p, o)
	if err == nil || fault.KindOf(err) != fault.Preflight || l.image != "" || !l.ephemeral {
		return stream, how, err
	}
	name, imageErr := l.way.image(ctx, l.Env)
	if imageErr != nil {
		return nil, pod.How{}, errors.Join(err, imageErr)
	}
	l.image, o.EphemeralImage = name, name
	return l.way.enter(ctx, client, p, o)
}

// final marks what trying again does not help: what a person must change. What
// was there once may come back by itself: a cluster that is made anew, an
// object that is.
func (l *linker) final(err error) error {
	kind := fault.KindOf(err)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case kind == fault.Usage, kind == fault.Gate, errors.Is(err, wire.ErrVersion):
		return session.Final(err)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		err = &fault.Error{Kind: fault.Preflight, Hint: "it takes the rights to get, list and watch pods and to create pods/exec in the namespace", Err: err}
		if l.was && !l.withdrawn() {
			return err
		}
		return session.Final(err)
	case errors.Is(err, syncendpoint.ErrRefused) && !l.was && !l.stale():
		return err
	case kind == fault.Preflight, kind == fault.NotFound:
		if !l.was {
			return session.Final(err)
		}
	}
	return err
}

// letsGo is the time in which a helper lets go of a folder whose session has
// ended without a word: it misses the signs of life (wire.Options), and ends.
const letsGo = 15 * time.Second

// stale reports that whoever has the folder has it for longer than a session
// that has ended would.
func (l *linker) stale() bool {
	if l.busy.IsZero() {
		l.busy = time.Now()
	}
	return time.Since(l.busy) > letsGo
}

// rolesRead is the time that an API server which has just started may take to
// read roles and bindings. Until it has, nobody may do anything.
const rolesRead = time.Minute

// withdrawn reports that rights which were there are lacking for longer than
// that.
func (l *linker) withdrawn() bool {
	if l.denied.IsZero() {
		l.denied = time.Now()
	}
	return time.Since(l.denied) > rolesRead
}

// podLink is a connection to the helper in a pod, for as long as its container
// is that one.
type podLink struct {
	*wire.Remote

	pod   pod.Pod
	how   pod.How
	end   context.CancelFunc
	watch sync.WaitGroup

	mu     sync.Mutex
	reason string // why the container is no longer the one
}

var _ session.Link = (*podLink)(nil)

// followAgain is after what time the pod is watched again where that failed.
const followAgain = 2 * time.Second

// follow closes the connection when the container is replaced: the stream to
// one that is gone may stay silent for long.
func (l *podLink) follow(ctx context.Context, client *kube.Client, gone func(context.Context, *kube.Client, pod.Pod) (string, error)) {
	for {
		reason, err := gone(ctx, client, l.pod)
		if err == nil {
			l.mu.Lock()
			l.reason = reason
			l.mu.Unlock()
			_ = l.Remote.Close() // it is gone
			return
		}
		timer := time.NewTimer(followAgain)
		select {
		case <-timer.C:
		case <-l.Done():
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Pod says which container it is.
func (l *podLink) Pod() string { return l.pod.String() }

// Place is another one for every container.
func (l *podLink) Place() string { return l.pod.Place() }

// Notes say that there is a container of kfdev's own in the pod.
func (l *podLink) Notes() []string {
	if l.how.Container == "" {
		return nil
	}
	return []string{fmt.Sprintf("the helper runs in the ephemeral container %s, since the container %s has no shell; it stays, idle, until the pod ends, and on-change commands can't be run", l.how.Container, l.pod.Container)}
}

// Err is why the connection ended.
func (l *podLink) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason != "" {
		return errors.New(l.reason)
	}
	return l.Remote.Err()
}

// Close ends the connection.
func (l *podLink) Close() error {
	l.end()
	err := l.Remote.Close()
	l.watch.Wait()
	return err
}
