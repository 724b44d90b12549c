package hub

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// client speaks to a JupyterHub and to the servers behind its proxy, with a
// service's token. Source: JupyterHub's REST API and Jupyter Server's.
type client struct {
	base  string // "http://127.0.0.1:40000", the proxy
	token string
	http  *http.Client
}

// answerLimit bounds what is read of an answer.
const answerLimit = 4 << 20

// call sends a request with a JSON body, decodes a JSON answer into out when
// out is not nil, and fails unless the status is one of want.
func (c *client) call(ctx context.Context, method, path string, in, out any, want ...int) (int, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(data)
	}
	answer, err := c.send(ctx, method, path, body)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		return answer.StatusCode, fmt.Errorf("%s %s: %w", method, path, err)
	}
	for _, status := range want {
		if answer.StatusCode != status {
			continue
		}
		if out == nil {
			return status, nil
		}
		if err := json.Unmarshal(data, out); err != nil {
			return status, fmt.Errorf("%s %s: the answer is not what was expected: %w", method, path, err)
		}
		return status, nil
	}
	return answer.StatusCode, fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, firstLine(data))
}

func (c *client) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "token "+c.token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return answer, nil
}

// createUser makes a user.
func (c *client) createUser(ctx context.Context, user string) error {
	_, err := c.call(ctx, http.MethodPost, "/hub/api/users/"+url.PathEscape(user), nil, nil, http.StatusCreated)
	return err
}

// deleteUser removes a user, their server and their volume. One who is not
// there is no error.
func (c *client) deleteUser(ctx context.Context, user string) error {
	_, err := c.call(ctx, http.MethodDelete, "/hub/api/users/"+url.PathEscape(user), nil, nil, http.StatusNoContent, http.StatusNotFound)
	return err
}

// startServer asks for a user's server and follows its progress until it is
// ready. Report gets each message on the way.
func (c *client) startServer(ctx context.Context, user string, report func(string)) error {
	path := "/hub/api/users/" + url.PathEscape(user) + "/server"
	if _, err := c.call(ctx, http.MethodPost, path, nil, nil, http.StatusCreated, http.StatusAccepted); err != nil {
		return err
	}
	answer, err := c.send(ctx, http.MethodGet, path+"/progress", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("following the start of %s's server: %s", user, answer.Status)
	}
	return followStart(answer.Body, report)
}

// startEvent is one event of a server's start.
type startEvent struct {
	Message string `json:"message"`
	Ready   bool   `json:"ready"`
	Failed  bool   `json:"failed"`
}

// followStart reads the event stream of a start until it is ready or failed.
func followStart(stream io.Reader, report func(string)) error {
	last := "it said nothing"
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var e startEvent
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("following the server's start: %w", err)
		}
		if e.Message != "" {
			last = e.Message
			report(e.Message)
		}
		switch {
		case e.Ready:
			return nil
		case e.Failed:
			return fmt.Errorf("the server did not start: %s", last)
		}
	}
	return errors.Join(fmt.Errorf("the hub stopped telling of the server's start; the last was: %s", last), lines.Err())
}

// stopServer stops a user's server, or has the hub set about it: the server's
// pod may be there for a while yet. A server that does not run is no error.
func (c *client) stopServer(ctx context.Context, user string) error {
	_, err := c.call(ctx, http.MethodDelete, "/hub/api/users/"+url.PathEscape(user)+"/server", nil, nil,
		http.StatusNoContent, http.StatusAccepted, http.StatusNotFound)
	return err
}

// userModel is what the hub says of a user.
// Source: JupyterHub's REST API, GET /users/{name}.
type userModel struct {
	Servers map[string]struct {
		Pending string `json:"pending"`
	} `json:"servers"`
}

// pollPending is how often the hub is asked whether it still starts or stops a
// server: it cannot be told to say so.
const pollPending = 500 * time.Millisecond

// settled waits until the hub starts and stops no server of the user: till then
// it refuses both, and to delete the user. One who is not there is settled.
func (c *client) settled(ctx context.Context, user string) error {
	ticks := time.NewTicker(pollPending)
	defer ticks.Stop()
	for {
		var model userModel
		status, err := c.call(ctx, http.MethodGet, "/hub/api/users/"+url.PathEscape(user), nil, &model, http.StatusOK)
		if status == http.StatusNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		var pending string
		for _, s := range model.Servers {
			pending += s.Pending
		}
		if pending == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the hub has not done yet (%s) with the server of %s: %w", pending, user, ctx.Err())
		case <-ticks.C:
		}
	}
}

// content is a file as Jupyter Server's contents API has it.
type content struct {
	Type    string `json:"type"`
	Format  string `json:"format"`
	Content string `json:"content"`
}

func (c *client) writeFile(ctx context.Context, user, name, text string) error {
	_, err := c.call(ctx, http.MethodPut, server(user, "api/contents/"+url.PathEscape(name)),
		content{Type: "file", Format: "text", Content: text}, nil, http.StatusCreated, http.StatusOK)
	return err
}

func (c *client) readFile(ctx context.Context, user, name string) (string, error) {
	var got content
	_, err := c.call(ctx, http.MethodGet, server(user, "api/contents/"+url.PathEscape(name)+"?content=1&format=text"), nil, &got, http.StatusOK)
	return got.Content, err
}

// page fetches JupyterLab's page and fails unless it is one.
func (c *client) page(ctx context.Context, user string) error {
	answer, err := c.send(ctx, http.MethodGet, server(user, "lab"), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || !bytes.Contains(data, []byte("jupyter-config-data")) {
		return fmt.Errorf("GET /user/%s/lab: %s, and it is not JupyterLab's page: %s", user, answer.Status, firstLine(data))
	}
	return nil
}

// collaborates reports whether documents can be edited together: whether the
// server opens a collaboration session for a file.
func (c *client) collaborates(ctx context.Context, user, name string) (bool, error) {
	status, err := c.call(ctx, http.MethodPut, server(user, "api/collaboration/session/"+url.PathEscape(name)),
		map[string]string{"format": "text", "type": "file"}, nil, http.StatusOK, http.StatusCreated)
	if status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// startKernel starts a Python kernel and returns its id.
func (c *client) startKernel(ctx context.Context, user string) (string, error) {
	var kernel struct {
		ID string `json:"id"`
	}
	_, err := c.call(ctx, http.MethodPost, server(user, "api/kernels"), map[string]string{"name": "python3"}, &kernel, http.StatusCreated)
	if err == nil && kernel.ID == "" {
		err = errors.New("the server started a kernel without an id")
	}
	return kernel.ID, err
}

func server(user, path string) string { return "/user/" + url.PathEscape(user) + "/" + path }

func firstLine(data []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	if len(line) > 300 {
		line = line[:300] + "…"
	}
	return line
}
