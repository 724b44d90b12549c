// Package hub is the smoke test of JupyterHub: a user is made over the API, a
// notebook server spawned and opened through the proxy, a kernel asked over
// the websocket, and the user's volume found again after a stop.
package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
)

// What the component's manifests call things.
const (
	proxyService  = "proxy-public"
	proxyPort     = 80
	secretName    = "jupyterhub"
	tokenKey      = "apiToken"
	usernameLabel = "hub.jupyter.org/username"
	fileName      = "kfdev-smoke.txt"
)

// cleanLimit bounds the removal of the test's user, also after an interrupt.
const cleanLimit = 90 * time.Second

// Test is the smoke test.
type Test struct{}

// Name returns "hub".
func (Test) Name() string { return "hub" }

// Needs are the rights to find the way to the hub, and to see what it makes.
func (Test) Needs(component string) []apply.Missing {
	const why = "for the smoke test hub"
	needs := apply.Need(why, "get", "secrets", component)
	needs = append(needs, apply.Need(why, "get", "services", component)...)
	needs = append(needs, apply.Need(why, "list watch", "endpointslices.discovery.k8s.io", component)...)
	needs = append(needs, apply.Need(why, "create", "pods/portforward", component)...)
	needs = append(needs, apply.Need(why, "list watch", "pods", component)...)
	return append(needs, apply.Need(why, "get list watch delete", "persistentvolumeclaims", component)...)
}

// Run spawns, asks, stops and spawns again. The user, the pod and the volume
// live in the component's namespace, where the hub makes them; they are gone
// at the end.
func (t Test) Run(ctx context.Context, env smoke.Env) (result smoke.Result, err error) {
	record := smoke.Record(t.Name(), env.Sink)
	defer func() { result = record.Result() }()
	v := &visit{env: env, record: record, user: userOf(env)}
	err = record.Step(ctx, "connect", v.connect)
	if err != nil {
		return result, err
	}
	defer v.end()
	defer func() { err = errors.Join(err, v.clean(ctx)) }()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"create user", func(ctx context.Context) error { return v.client.createUser(ctx, v.user) }},
		{"spawn", v.spawn},
		{"open through the proxy", func(ctx context.Context) error { return v.client.page(ctx, v.user) }},
		{"evaluate on a kernel", v.evaluate},
		{"write a file", v.write},
		{"stop", v.stop},
		{"spawn again", v.spawn},
		{"read the file", v.read},
	} {
		if err = record.Step(ctx, step.name, step.do); err != nil {
			return result, v.explain(ctx, err)
		}
	}
	return result, nil
}

// Clean removes the user that a run in env.Namespace made, with server and
// volume.
func (Test) Clean(ctx context.Context, env smoke.Env) error {
	ctx, cancel := context.WithTimeout(ctx, cleanLimit)
	defer cancel()
	v := &visit{env: env, user: userOf(env)}
	if err := v.connect(ctx); err != nil {
		return err
	}
	defer v.end()
	return v.remove(ctx)
}

// userOf names the user after the test's namespace.
func userOf(env smoke.Env) string { return strings.TrimPrefix(env.Namespace, "kfdev-") }

// explain puts behind an error what the component's pods have to say, among
// them the user's, which the hub makes in its own namespace.
func (v *visit) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if words := smoke.LastWords(ctx, v.env.Kube, v.env.Component); words != "" {
		return fmt.Errorf("%w\n%s", err, words)
	}
	return err
}

// visit is one user's stay at the hub.
type visit struct {
	env     smoke.Env
	record  *smoke.Recorder
	client  *client
	user    string
	end     func() // of the connection
	claim   string // the user's volume claim, once it was seen
	content string // of the file on it
}

// connect reads the service token and opens a way to the proxy.
func (v *visit) connect(ctx context.Context) error {
	secret, err := v.env.Kube.CoreV1().Secrets(v.env.Component).Get(ctx, secretName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the hub's API token: %w", err)
	}
	token := string(secret.Data[tokenKey])
	if token == "" {
		return fmt.Errorf("the Secret %s/%s has no %s", v.env.Component, secretName, tokenKey)
	}
	address, end, err := v.env.Forward(ctx, v.env.Component, proxyService, proxyPort)
	if err != nil {
		return err
	}
	v.end = end
	v.client = &client{base: "http://" + address, token: token, http: &http.Client{}}
	return nil
}

func (v *visit) spawn(ctx context.Context) error {
	return v.client.startServer(ctx, v.user, func(text string) { progress.Say(v.env.Sink, v.user+": "+text) })
}

func (v *visit) evaluate(ctx context.Context) error {
	kernel, err := v.client.startKernel(ctx, v.user)
	if err != nil {
		return err
	}
	got, err := v.client.evaluate(ctx, v.user, kernel, "6 * 7")
	if err != nil {
		return err
	}
	v.record.Fact("6 * 7 on the kernel", got)
	if got != "42" {
		return fmt.Errorf("6 * 7 is %q on the kernel", got)
	}
	return nil
}

// write puts a file on the volume, and looks which claim that is.
func (v *visit) write(ctx context.Context) error {
	v.content = "written by " + v.user + "\n"
	if err := v.client.writeFile(ctx, v.user, fileName, v.content); err != nil {
		return err
	}
	together, err := v.client.collaborates(ctx, v.user, fileName)
	if err != nil {
		return err
	}
	v.record.Fact("collaboration", onOff(together))
	claims, err := v.env.Kube.CoreV1().PersistentVolumeClaims(v.env.Component).List(ctx, v.mine())
	if err != nil {
		return fmt.Errorf("looking for the user's volume: %w", err)
	}
	if len(claims.Items) != 1 {
		return fmt.Errorf("%s has %d volume claims, not one", v.user, len(claims.Items))
	}
	v.claim = claims.Items[0].Name
	v.record.Fact("volume", v.claim)
	return nil
}

// stop stops the server, waits until its pod is gone, and checks that the
// volume is not.
func (v *visit) stop(ctx context.Context) error {
	if err := v.client.stopServer(ctx, v.user); err != nil {
		return err
	}
	if err := v.podGone(ctx); err != nil {
		return err
	}
	claim, err := v.env.Kube.CoreV1().PersistentVolumeClaims(v.env.Component).Get(ctx, v.claim, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("the volume is gone after the stop: %w", err)
	}
	if claim.DeletionTimestamp != nil || claim.Status.Phase != corev1.ClaimBound {
		return fmt.Errorf("the volume claim %s is %s after the stop, or being deleted", v.claim, claim.Status.Phase)
	}
	return nil
}

func (v *visit) read(ctx context.Context) error {
	got, err := v.client.readFile(ctx, v.user, fileName)
	if err != nil {
		return err
	}
	if got != v.content {
		return fmt.Errorf("the file holds %q and not %q after the server was started again", got, v.content)
	}
	v.record.Fact("the file after a stop and a start", "as it was")
	return nil
}

// podGone watches until no pod of the user is left.
func (v *visit) podGone(ctx context.Context) error {
	return smoke.Gone(ctx, v.env.Dynamic, schema.GroupVersionResource{Version: "v1", Resource: "pods"}, v.env.Component, v.mine().LabelSelector)
}

func (v *visit) mine() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: usernameLabel + "=" + v.user}
}

// clean removes the user with server and volume, and fails when something
// stays. It works in a context of its own, so that an interrupted test cleans
// up too.
func (v *visit) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
	defer cancel()
	return v.record.Step(ctx, "delete user", func(ctx context.Context) error {
		if err := v.remove(ctx); err != nil {
			return &fault.Error{Op: "removing the smoke test's user", Subject: v.user, Err: err,
				Hint: fmt.Sprintf("kubectl -n %s delete pod,pvc -l %s=%s", v.env.Component, usernameLabel, v.user)}
		}
		return nil
	})
}

func (v *visit) remove(ctx context.Context) error {
	if err := v.client.settled(ctx, v.user); err != nil {
		return err
	}
	if err := v.client.stopServer(ctx, v.user); err != nil {
		return err
	}
	if err := v.podGone(ctx); err != nil {
		return err
	}
	if err := v.client.settled(ctx, v.user); err != nil {
		return err
	}
	if err := v.client.deleteUser(ctx, v.user); err != nil {
		return err
	}
	// The hub deletes the volume with the user; where a hub is set not to, we do.
	claims := v.env.Kube.CoreV1().PersistentVolumeClaims(v.env.Component)
	left, err := claims.List(ctx, v.mine())
	if err != nil {
		return err
	}
	for _, claim := range left.Items {
		if err := claims.Delete(ctx, claim.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return smoke.Gone(ctx, v.env.Dynamic, schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}, v.env.Component, v.mine().LabelSelector)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
