package hub

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/smoketest"
)

const user = "smoke-hub-x"

func secret(token string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secretName, Namespace: "jupyterhub"},
		Data:       map[string][]byte{tokenKey: []byte(token)},
	}
}

func claim(phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "claim-" + user, Namespace: "jupyterhub", Labels: map[string]string{usernameLabel: user}},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: phase},
	}
}

func env(address string, objects ...runtime.Object) smoke.Env {
	return smoke.Env{
		Kube: fake.NewClientset(objects...), Dynamic: dynamicfake.NewSimpleDynamicClient(scheme.Scheme),
		Component: "jupyterhub", Namespace: "kfdev-" + user, Sink: progress.Discard,
		Forward: func(_ context.Context, namespace, service string, port int) (string, func(), error) {
			if namespace != "jupyterhub" || service != "proxy-public" || port != 80 {
				return "", nil, errors.New("no such service")
			}
			return address, func() {}, nil
		},
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	e := env(p.serve(), secret("secret"), claim(corev1.ClaimBound))
	result, err := Test{}.Run(t.Context(), e)
	require.NoError(t, err)
	smoketest.Said(t, Test{}, e)
	require.Contains(t, result.Facts, smoke.Fact{Name: "6 * 7 on the kernel", Value: "42"})
	require.Contains(t, result.Facts, smoke.Fact{Name: "collaboration", Value: "on"})
	require.Len(t, result.Steps, 10)
	require.Equal(t, 2, p.starts)
	require.Empty(t, p.users, "the user is gone")
	claims, err := e.Kube.CoreV1().PersistentVolumeClaims("jupyterhub").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, claims.Items, "the volume is gone with the user")
}

// What a killed run left is found by the name of its namespace alone.
func TestClean(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.users[user] = true
	p.users["somebody"] = true
	p.pending = 2 // it was killed while the server stopped
	e := env(p.serve(), secret("secret"), claim(corev1.ClaimBound))
	require.NoError(t, Test{}.Clean(t.Context(), e))
	require.Equal(t, map[string]bool{"somebody": true}, p.users)
	claims, err := e.Kube.CoreV1().PersistentVolumeClaims("jupyterhub").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, claims.Items)
	require.NoError(t, Test{}.Clean(t.Context(), e), "nothing is there")
}

func TestRunWithoutCollaboration(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.noTogether = true
	result, err := Test{}.Run(t.Context(), env(p.serve(), secret("secret"), claim(corev1.ClaimBound)))
	require.NoError(t, err)
	require.Contains(t, result.Facts, smoke.Fact{Name: "collaboration", Value: "off"})
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		peer    func(*peer)
		objects []runtime.Object
		want    string
	}{
		{"no secret", nil, []runtime.Object{claim(corev1.ClaimBound)}, "connect: reading the hub's API token"},
		{"empty token", nil, []runtime.Object{secret("")}, "has no apiToken"},
		{"wrong token", nil, []runtime.Object{secret("other")}, "create user: POST /hub/api/users/smoke-hub-x: 403 Forbidden: who are you?"},
		{"start fails", func(p *peer) { p.startFails = true }, []runtime.Object{secret("secret")}, "spawn: the server did not start: Spawn failed: ImagePullBackOff"},
		{"another page", func(p *peer) { p.page = "Welcome to nginx" }, []runtime.Object{secret("secret")}, "it is not JupyterLab's page: Welcome to nginx"},
		{"wrong answer", func(p *peer) { p.kernelAnswer = rightAnswer("41") }, []runtime.Object{secret("secret")}, `6 * 7 is "41" on the kernel`},
		{"no volume", nil, []runtime.Object{secret("secret")}, "has 0 volume claims, not one"},
		{"volume lost", nil, []runtime.Object{secret("secret"), claim(corev1.ClaimLost)}, "is Lost after the stop"},
		{"file lost", func(p *peer) { p.losesFiles = true }, []runtime.Object{secret("secret"), claim(corev1.ClaimBound)}, "read the file: GET"},
		{"user stays", func(p *peer) { p.deleteStatus = http.StatusInternalServerError }, []runtime.Object{secret("secret"), claim(corev1.ClaimBound)}, "removing the smoke test's user: smoke-hub-x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			if tc.peer != nil {
				tc.peer(p)
			}
			result, err := Test{}.Run(t.Context(), env(p.serve(), tc.objects...))
			require.ErrorContains(t, err, tc.want)
			require.NotEmpty(t, result.Steps)
			if p.deleteStatus == 0 {
				require.Empty(t, p.users)
			} else {
				require.Contains(t, fault.Hint(err)[0], "kubectl -n jupyterhub delete pod,pvc -l hub.jupyter.org/username=smoke-hub-x")
			}
		})
	}
}

func TestFollowStart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, stream, want string }{
		{"ready", "data: {\"message\":\"a\"}\n\nid: 3\ndata: {\"ready\":true}\n", ""},
		{"failed", "data: {\"failed\":true,\"message\":\"boom\"}\n", "the server did not start: boom"},
		{"cut off", "data: {\"message\":\"half way\"}\n", "the last was: half way"},
		{"nothing", "", "it said nothing"},
		{"not JSON", "data: <html>\n", "following the server's start"},
		{"too long", "data: " + strings.Repeat("x", 2<<20), "token too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := followStart(strings.NewReader(tc.stream), func(string) {})
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		answers []message
		want    string
	}{
		{"an error of the code", []message{
			said("error", map[string]any{"ename": "NameError", "evalue": "name 'x' is not defined"}),
			said("execute_reply", map[string]any{"status": "error", "ename": "NameError"}),
			said("status", map[string]any{"execution_state": "idle"}),
		}, "the kernel answered NameError: name 'x' is not defined"},
		{"an aborted request", []message{
			said("execute_reply", map[string]any{"status": "aborted"}),
			said("status", map[string]any{"execution_state": "idle"}),
		}, `the kernel's reply is "aborted"`},
		{"a kernel that dies", []message{said("status", map[string]any{"execution_state": "busy"})}, "listening to the kernel"},
		{"a result that is none", []message{said("execute_result", map[string]any{"data": []int{1}})}, "the kernel's result can't be read"},
		{"content that is none", []message{said("status", []int{1})}, "can't be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			p.users[user], p.kernelAnswer = true, tc.answers
			c := &client{base: "http://" + p.serve(), token: "secret", http: http.DefaultClient}
			_, err := c.evaluate(t.Context(), user, "k1", "x")
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// A kernel that says nothing is listened to until the connection closes.
func TestConverseEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	conn := &silent{closed: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := converse(conn, "1")
		done <- err
	}()
	close(conn.closed)
	select {
	case err := <-done:
		require.ErrorContains(t, err, "listening to the kernel: closed")
	case <-time.After(10 * time.Second):
		t.Fatal("converse hangs on a closed connection")
	}
}

// silent takes everything and says nothing until it is closed.
type silent struct{ closed chan struct{} }

func (s *silent) WriteJSON(any) error { return nil }

func (s *silent) ReadJSON(any) error {
	<-s.closed
	return errors.New("closed")
}

func FuzzFollowStart(f *testing.F) {
	f.Add("data: {\"message\":\"a\",\"ready\":true}\n")
	f.Add("data:\n\ndata: {}\n")
	f.Fuzz(func(t *testing.T, stream string) {
		messages := 0
		err := followStart(strings.NewReader(stream), func(string) { messages++ })
		if err == nil {
			require.Contains(t, stream, "data:")
		}
	})
}

// A kernel that never answers does not hold the test beyond its context.
func TestEvaluateIsInterrupted(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.users[user] = true
	p.kernelHangs = make(chan struct{})
	t.Cleanup(func() { close(p.kernelHangs) })
	c := &client{base: "http://" + p.serve(), token: "secret", http: http.DefaultClient}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.evaluate(ctx, user, "k1", "1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func FuzzExchange(f *testing.F) {
	for _, m := range rightAnswer("42") {
		f.Add(m.Header.Type, []byte(m.Content))
	}
	f.Add("error", []byte(`{"ename": "E", "evalue": "v"}`))
	f.Fuzz(func(t *testing.T, kind string, content []byte) {
		var x exchange
		if err := x.take(message{Header: header{Type: kind}, Content: content}); err != nil {
			require.False(t, x.over())
		}
		if kind != "execute_reply" {
			require.False(t, x.replied)
		}
	})
}
