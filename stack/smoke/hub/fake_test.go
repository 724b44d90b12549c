package hub

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// peer is a JupyterHub with its proxy and its users' servers, in process, as
// far as the test speaks to them.
type peer struct {
	t     *testing.T
	token string

	mu     sync.Mutex
	users  map[string]bool // whether the server runs
	files  map[string]string
	starts int

	// How it misbehaves.
	startFails   bool
	losesFiles   bool
	page         string
	noTogether   bool
	kernelAnswer []message     // in place of the right ones; their parent is set
	kernelHangs  chan struct{} // until it is closed, the kernel says nothing
	deleteStatus int
	pending      int // how often it says that it is at something with a server, before it is not
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	return &peer{t: t, token: "secret", users: map[string]bool{}, files: map[string]string{}, page: `<script id="jupyter-config-data">`}
}

func (p *peer) serve() string {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hub/api/users/{user}", p.user)
	mux.HandleFunc("POST /hub/api/users/{user}", p.createUser)
	mux.HandleFunc("DELETE /hub/api/users/{user}", p.deleteUser)
	mux.HandleFunc("POST /hub/api/users/{user}/server", p.start)
	mux.HandleFunc("DELETE /hub/api/users/{user}/server", p.stop)
	mux.HandleFunc("GET /hub/api/users/{user}/server/progress", p.progress)
	mux.HandleFunc("GET /user/{user}/lab", func(w http.ResponseWriter, _ *http.Request) { p.say(w, p.page+"\n") })
	mux.HandleFunc("PUT /user/{user}/api/contents/{name}", p.put)
	mux.HandleFunc("GET /user/{user}/api/contents/{name}", p.get)
	mux.HandleFunc("PUT /user/{user}/api/collaboration/session/{name}", func(w http.ResponseWriter, _ *http.Request) {
		if p.noTogether {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("POST /user/{user}/api/kernels", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		p.say(w, `{"id": "k1"}`+"\n")
	})
	mux.HandleFunc("GET /user/{user}/api/kernels/{id}/channels", p.channels)
	server := httptest.NewServer(p.guard(mux))
	p.t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// guard refuses whoever has not the token, and servers that do not run.
func (p *peer) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "token "+p.token {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		if user, ok := strings.CutPrefix(r.URL.Path, "/user/"); ok && !p.runs(strings.Split(user, "/")[0]) {
			http.Error(w, "no such server", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p *peer) say(w http.ResponseWriter, text string) {
	if _, err := io.WriteString(w, text); err != nil {
		p.t.Error(err)
	}
}

func (p *peer) runs(user string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users[user]
}

func (p *peer) createUser(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.users[r.PathValue("user")]; ok {
		w.WriteHeader(http.StatusConflict)
		return
	}
	p.users[r.PathValue("user")] = false
	w.WriteHeader(http.StatusCreated)
	p.say(w, "{}"+"\n")
}

func (p *peer) user(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.users[r.PathValue("user")]; !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if p.pending == 0 {
		p.say(w, `{"servers": {"": {"ready": true, "pending": null}}}`)
		return
	}
	p.pending--
	p.say(w, `{"servers": {"": {"ready": false, "pending": "stop"}}}`)
}

func (p *peer) deleteUser(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending > 0 {
		http.Error(w, "the server is in the process of stopping, please wait", http.StatusBadRequest)
		return
	}
	if p.deleteStatus != 0 {
		http.Error(w, "not now", p.deleteStatus)
		return
	}
	delete(p.users, r.PathValue("user"))
	w.WriteHeader(http.StatusNoContent)
}

func (p *peer) start(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starts++
	if !p.startFails {
		p.users[r.PathValue("user")] = true
	}
	w.WriteHeader(http.StatusAccepted)
}

func (p *peer) stop(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending > 0 {
		http.Error(w, "is pending stop", http.StatusBadRequest)
		return
	}
	p.users[r.PathValue("user")] = false
	if p.losesFiles {
		p.files = map[string]string{}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *peer) progress(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say(w, "data: {\"progress\": 10, \"message\": \"Pulling image\"}\n\n")
	if p.startFails {
		p.say(w, "data: {\"progress\": 100, \"failed\": true, \"message\": \"Spawn failed: ImagePullBackOff\"}\n\n")
		return
	}
	p.say(w, "data: {\"progress\": 100, \"ready\": true, \"message\": \"Server ready\"}\n\n")
}

func (p *peer) put(w http.ResponseWriter, r *http.Request) {
	var c content
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[r.PathValue("name")] = c.Content
	w.WriteHeader(http.StatusCreated)
}

func (p *peer) get(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text, ok := p.files[r.PathValue("name")]
	if !ok {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	if err := json.NewEncoder(w).Encode(content{Type: "file", Format: "text", Content: text}); err != nil {
		p.t.Error(err)
	}
}

// channels answers one question as a kernel does, with another client's
// messages in between.
func (p *peer) channels(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // the test is over
	var ask message
	if err := conn.ReadJSON(&ask); err != nil {
		return
	}
	if p.kernelHangs != nil {
		<-p.kernelHangs
		return
	}
	answers := p.kernelAnswer
	if answers == nil {
		answers = rightAnswer("42")
	}
	for _, m := range answers {
		if m.ParentHeader.ID == "" {
			m.ParentHeader.ID = ask.Header.ID
		}
		if err := conn.WriteJSON(m); err != nil {
			return
		}
	}
}

func said(kind string, content any) message {
	data, err := json.Marshal(content)
	if err != nil {
		panic(err)
	}
	return message{Header: header{ID: "x", Type: kind}, Metadata: map[string]any{}, Content: data, Channel: "iopub"}
}

func rightAnswer(text string) []message {
	other := said("execute_result", map[string]any{"data": map[string]any{"text/plain": "13"}})
	other.ParentHeader.ID = "someone else's"
	return []message{
		said("status", map[string]any{"execution_state": "busy"}),
		other,
		said("execute_input", map[string]any{"code": "6 * 7"}),
		said("execute_result", map[string]any{"data": map[string]any{"text/plain": text, "text/html": "<b>"}, "metadata": map[string]any{}}),
		said("execute_reply", map[string]any{"status": "ok"}),
		said("status", map[string]any{"execution_state": "idle"}),
	}
}

func TestThePeerRefusesStrangers(t *testing.T) {
	t.Parallel()
	c := &client{base: "http://" + newPeer(t).serve(), token: "wrong", http: http.DefaultClient}
	require.ErrorContains(t, c.createUser(t.Context(), "u"), "403")
}
