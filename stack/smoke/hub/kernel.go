package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// message is one message of Jupyter's messaging protocol 5.3, as a server
// passes it over a websocket without a sub-protocol: JSON text.
type message struct {
	Header       header          `json:"header"`
	ParentHeader header          `json:"parent_header"`
	Metadata     map[string]any  `json:"metadata"`
	Content      json.RawMessage `json:"content"`
	Channel      string          `json:"channel"`
}

// header identifies a message; an answer's parent header is its question's.
type header struct {
	ID       string `json:"msg_id,omitempty"`
	Type     string `json:"msg_type,omitempty"`
	Session  string `json:"session,omitempty"`
	Username string `json:"username,omitempty"`
	Date     string `json:"date,omitempty"`
	Version  string `json:"version,omitempty"`
}

// messageLimit bounds one message.
const messageLimit = 8 << 20

// evaluate runs code on a kernel over its websocket, through the proxy, and
// returns the plain text of the result.
func (c *client) evaluate(ctx context.Context, user, kernel, code string) (string, error) {
	address := "ws" + strings.TrimPrefix(c.base, "http") + server(user, "api/kernels/"+kernel+"/channels?session_id=kfdev")
	connection, answer, err := websocket.DefaultDialer.DialContext(ctx, address, http.Header{"Authorization": {"token " + c.token}}) //nolint:bodyclose // the library closes it
	if err != nil {
		if answer != nil {
			err = fmt.Errorf("%w: %s", err, answer.Status)
		}
		return "", fmt.Errorf("opening the kernel's websocket: %w", err)
	}
	connection.SetReadLimit(messageLimit)
	// A read knows nothing of ctx; closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { connection.Close() }) //nolint:errcheck,gosec // nothing to be done about it
	defer stop()
	defer connection.Close() //nolint:errcheck // it was only read from
	result, err := converse(connection, code)
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return result, err
}

// connection is what converse needs of a websocket.
type connection interface {
	WriteJSON(v any) error
	ReadJSON(v any) error
}

// converse sends code and reads until the kernel has answered and is idle again.
func converse(conn connection, code string) (string, error) {
	ask := message{
		Header: header{
			ID: fmt.Sprintf("kfdev-%d", time.Now().UnixNano()), Type: "execute_request", Session: "kfdev",
			Username: "kfdev", Date: time.Now().UTC().Format(time.RFC3339Nano), Version: "5.3",
		},
		Metadata: map[string]any{},
		Channel:  "shell",
	}
	var err error
	ask.Content, err = json.Marshal(map[string]any{
		"code": code, "silent": false, "store_history": false, "allow_stdin": false, "stop_on_error": true, "user_expressions": map[string]any{},
	})
	if err != nil {
		return "", err
	}
	if err := conn.WriteJSON(ask); err != nil {
		return "", fmt.Errorf("asking the kernel: %w", err)
	}
	var state exchange
	for !state.over() {
		var m message
		if err := conn.ReadJSON(&m); err != nil {
			return "", fmt.Errorf("listening to the kernel: %w", err)
		}
		if m.ParentHeader.ID != ask.Header.ID {
			continue
		}
		if err := state.take(m); err != nil {
			return "", err
		}
	}
	if state.failure != nil {
		return "", state.failure
	}
	return state.result, nil
}

// exchange is what has been heard in answer to one request.
type exchange struct {
	result  string
	failure error
	replied bool // execute_reply came
	idle    bool // the kernel has said all it has to say
}

func (x *exchange) over() bool { return x.replied && x.idle }

func (x *exchange) take(m message) error {
	var body struct {
		Status    string          `json:"status"`
		State     string          `json:"execution_state"`
		RawData   json.RawMessage `json:"data"`
		ErrorName string          `json:"ename"`
		ErrorText string          `json:"evalue"`
	}
	if err := json.Unmarshal(m.Content, &body); err != nil {
		return fmt.Errorf("a %s of the kernel can't be read: %w", m.Header.Type, err)
	}
	switch m.Header.Type {
	case "status":
		x.idle = body.State == "idle"
	case "execute_result":
		var data struct {
			Text string `json:"text/plain"`
		}
		if err := json.Unmarshal(body.RawData, &data); err != nil {
			return fmt.Errorf("the kernel's result can't be read: %w", err)
		}
		x.result = data.Text
	case "error":
		x.failure = fmt.Errorf("the kernel answered %s: %s", body.ErrorName, body.ErrorText)
	case "execute_reply":
		x.replied = true
		if body.Status != "ok" && x.failure == nil {
			x.failure = fmt.Errorf("the kernel's reply is %q: %s: %s", body.Status, body.ErrorName, body.ErrorText)
		}
	}
	return nil
}
