//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	hubUser      = "e2e-sync"
	hubNamespace = "jupyterhub"
)

// hub speaks to the real hub and to the user's server behind its proxy, with
// the hub's own token.
type hub struct{ base, token string }

// openHub has kfdev open the hub, until the test ends.
func openHub(t *testing.T, s *synced) *hub {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, s.bench.program, "--project", s.bench.project, "--progress", "quiet", "open", "jupyterhub", "-o", "json") //nolint:gosec // the program under test
	cmd.Env = s.bench.env
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	var opened struct{ URL string }
	require.NoError(t, json.NewDecoder(out).Decode(&opened))
	secret, err := s.kube.CoreV1().Secrets(hubNamespace).Get(t.Context(), "jupyterhub", metav1.GetOptions{})
	require.NoError(t, err)
	address, err := url.Parse(opened.URL)
	require.NoError(t, err)
	return &hub{base: "http://" + address.Host, token: string(secret.Data["apiToken"])}
}

// call sends a request and decodes the answer, whose status must be below 300.
func (h *hub) call(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, h.base+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "token "+h.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, answer.Status, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// spawn makes the user and has their server started.
func (h *hub) spawn(t *testing.T) {
	t.Helper()
	require.NoError(t, h.call(http.MethodPost, "/hub/api/users/"+hubUser, nil, nil))
	t.Cleanup(func() {
		_ = h.call(http.MethodDelete, "/hub/api/users/"+hubUser+"/server", nil, nil)
		eventually(t, time.Minute, "the user removed", func() (bool, string) {
			err := h.call(http.MethodDelete, "/hub/api/users/"+hubUser, nil, nil)
			return err == nil, fmt.Sprint(err)
		})
	})
	require.NoError(t, h.call(http.MethodPost, "/hub/api/users/"+hubUser+"/server", nil, nil))
	eventually(t, 2*time.Minute, "the user's server", func() (bool, string) {
		err := h.call(http.MethodGet, "/user/"+hubUser+"/api/status", nil, nil)
		return err == nil, fmt.Sprint(err)
	})
}

// content is what the server's contents API says that a file holds.
func (h *hub) content(path string) (string, error) {
	var got struct{ Content string }
	err := h.call(http.MethodGet, "/user/"+hubUser+"/api/contents/"+path+"?type=file&format=text&content=1", nil, &got)
	return got.Content, err
}

// document is a file that is open in JupyterLab's collaboration: a client of
// its room, which gets the document as updates of Yjs.
type document struct {
	conn *websocket.Conn
	seen chan []byte
}

// The messages of Yjs's sync protocol (y-protocols, PROTOCOL.md): type sync,
// step 1 with an empty state vector. What the document holds comes as text in
// the updates that answer it.
var syncStep1 = []byte{0, 0, 1, 0}

// open opens a file as JupyterLab does.
func (h *hub) open(t *testing.T, path, kind string) *document {
	t.Helper()
	format := map[string]string{"file": "text", "notebook": "json"}[kind]
	var session struct {
		FileID    string `json:"fileId"`
		SessionID string `json:"sessionId"`
	}
	require.NoError(t, h.call(http.MethodPut, "/user/"+hubUser+"/api/collaboration/session/"+path, map[string]string{"format": format, "type": kind}, &session))
	address := "ws" + strings.TrimPrefix(h.base, "http") + "/user/" + hubUser + "/api/collaboration/room/" +
		format + ":" + kind + ":" + session.FileID + "?sessionId=" + session.SessionID
	conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), address, http.Header{"Authorization": {"token " + h.token}}) //nolint:bodyclose // the library closes it
	require.NoError(t, err)
	d := &document{conn: conn, seen: make(chan []byte, 1024)}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		defer close(d.seen)
		for {
			_, raw, err := conn.ReadMessage()
			if err != nil {
				return
			}
			d.seen <- raw
		}
	}()
	require.NoError(t, conn.WriteMessage(websocket.BinaryMessage, syncStep1))
	return d
}

// shows waits until an update brings the text, and says how long that took.
func (d *document) shows(t *testing.T, text string) time.Duration {
	t.Helper()
	began := time.Now()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for {
		select {
		case raw, ok := <-d.seen:
			require.True(t, ok, "the room closed before it showed %q", text)
			if bytes.Contains(raw, []byte(text)) {
				return time.Since(began)
			}
		case <-late.C:
			require.Fail(t, "the open document did not show the change", text)
		}
	}
}

const notebookText = `{"cells":[{"cell_type":"code","execution_count":null,"id":"one","metadata":{},"outputs":[],"source":"print('%s')"}],"metadata":{"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"}},"nbformat":4,"nbformat_minor":5}`

// syncHub syncs with a user's server while its documents are open.
func syncHub(t *testing.T, s *synced) {
	t.Helper()
	h := openHub(t, s)
	h.spawn(t)
	one := &synced{bed: &bed{bench: s.bench, kube: s.kube, namespace: hubNamespace}, name: "hub", local: filepath.Join(s.bench.project, "work", "hub")}
	script, notebook := filepath.Join(one.local, "train.py"), filepath.Join(one.local, "explore.ipynb")
	write(t, script, "print('first')\n")
	write(t, notebook, fmt.Sprintf(notebookText, "cell-first"))
	s.bench.run(t, 0, "sync", one.name, "-d")
	one.inState(t, "in sync")

	// On the disk of the server, as it reads it without collaboration.
	got, err := h.content("src/train.py")
	require.NoError(t, err)
	require.Equal(t, "print('first')\n", got)

	// In open documents, by themselves.
	text, cells := h.open(t, "src/train.py", "file"), h.open(t, "src/explore.ipynb", "notebook")
	text.shows(t, "print('first')")
	cells.shows(t, "cell-first")
	write(t, script, "print('second-from-here')\n")
	t.Logf("an open text showed the change after %v", text.shows(t, "second-from-here"))
	write(t, notebook, fmt.Sprintf(notebookText, "cell-second-from-here"))
	t.Logf("an open notebook showed the change after %v", cells.shows(t, "second-from-here"))
	// Nothing that was open wrote an older version back.
	pause(3 * time.Second)
	require.Equal(t, "print('second-from-here')\n", readFile(t, script))
	require.Contains(t, readFile(t, notebook), "cell-second-from-here")

	// A file that no one has open: what the server reads is the new one.
	write(t, filepath.Join(one.local, "closed.py"), "one\n")
	write(t, filepath.Join(one.local, "closed.py"), "two\n")
	eventually(t, 30*time.Second, "the closed file", func() (bool, string) {
		got, err := h.content("src/closed.py")
		return got == "two\n", fmt.Sprint(got, err)
	})

	// What is written in JupyterLab arrives here.
	require.NoError(t, h.call(http.MethodPut, "/user/"+hubUser+"/api/contents/src/from-lab.py",
		map[string]string{"type": "file", "format": "text", "content": "from the lab\n"}, nil))
	here(t, filepath.Join(one.local, "from-lab.py"), "from the lab\n")
	require.Empty(t, one.status(t, 0).Conflicts)
	s.bench.run(t, 0, "sync", "stop", one.name)

	// Without an entry, below the home folder that the server has.
	scratch := filepath.Join(s.bench.project, "work", "scratch")
	write(t, filepath.Join(scratch, "a.py"), "a\n")
	detached := decode[struct{ Name string }](t, s.bench, 0, "sync", scratch+":jupyterhub/"+hubUser+":~/scratch", "-d")
	got, err = h.content("scratch/a.py")
	require.NoError(t, err)
	require.Equal(t, "a\n", got)
	s.bench.run(t, 0, "sync", "stop", detached.Name)
}

// baked is what kfdev sync bake -o json says.
type baked struct{ Image string }

// syncBake makes an image of the tree, twice, and runs it.
func syncBake(t *testing.T, s *synced) {
	t.Helper()
	s.inState(t, "in sync")
	first := decode[baked](t, s.bench, 0, "sync", "bake", s.name)
	require.Regexp(t, `@sha256:[0-9a-f]{64}$`, first.Image)
	require.Equal(t, first, decode[baked](t, s.bench, 0, "sync", "bake", s.name), "the same tree, the same digest")
	write(t, filepath.Join(s.local, ".env"), "TOKEN=secret\n")
	s.has(t, "/data/tree/.env", "TOKEN=secret\n")
	s.inState(t, "in sync")
	refused := s.bench.try(t, "sync", "bake", s.name)
	require.NotZero(t, refused.code)
	require.Contains(t, refused.stderr, ".env")
	require.NoError(t, os.Remove(filepath.Join(s.local, ".env")))
	s.gone(t, "/data/tree/.env")

	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "baked", Namespace: s.namespace},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64),
			Containers:                    []corev1.Container{{Name: "main", Image: first.Image, Command: []string{"/bin/sleep", "3600"}}},
		},
	}
	_, err := s.kube.CoreV1().Pods(s.namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	b := &bed{bench: s.bench, kube: s.kube, namespace: s.namespace, pod: "baked", container: "main"}
	b.runs(t)
	require.Equal(t, "ran", b.sh(t, "/data/tree/link"))
	require.NoError(t, s.kube.CoreV1().Pods(s.namespace).Delete(t.Context(), "baked", metav1.DeleteOptions{}))
}
