// Package kubetest serves what tests need of an API server: commands "in a
// container" are processes of this machine.
package kubetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// Request is a command that is asked for.
type Request struct {
	Namespace, Pod, Container string
	Args                      []string
}

// Exec serves the exec subresource of pods, over WebSockets and SPDY, as an API
// server and a kubelet do together.
type Exec struct {
	// Command makes the process. Its error is told as a container runtime's is:
	// as the end of a command that never began.
	Command func(Request) (*exec.Cmd, error)
	// OnlySPDY refuses WebSockets, as old servers and some proxies do.
	OnlySPDY bool

	mu    sync.Mutex
	seen  []Request
	socks int
}

// Requests returns the commands asked for so far, and how many of them came over
// a WebSocket.
func (e *Exec) Requests() (all []Request, sockets int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Request(nil), e.seen...), e.socks
}

// channels are a command's streams on the server's side.
type channels struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	failure        io.Writer
	close          func() error
}

// ServeHTTP serves /api/v1/namespaces/NAMESPACE/pods/POD/exec.
func (e *Exec) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) != 7 || parts[6] != "exec" {
		http.NotFound(w, r)
		return
	}
	socket := wsstream.IsWebSocketRequest(r)
	if socket && e.OnlySPDY {
		http.Error(w, "no WebSockets here", http.StatusForbidden)
		return
	}
	query := r.URL.Query()
	request := Request{Namespace: parts[3], Pod: parts[5], Container: query.Get("container"), Args: query["command"]}
	e.mu.Lock()
	e.seen = append(e.seen, request)
	if socket {
		e.socks++
	}
	e.mu.Unlock()
	open := openSPDY
	if socket {
		open = openSocket
	}
	streams, err := open(w, r, query.Get("stdin") == "true")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer streams.close() //nolint:errcheck // the client may have gone first
	_ = json.NewEncoder(streams.failure).Encode(e.run(request, streams))
}

// run runs the process, whose output a client that has gone no longer gets.
func (e *Exec) run(request Request, c channels) metav1.Status {
	command, err := e.Command(request)
	if err != nil {
		return failure(err)
	}
	command.Stdout, command.Stderr = c.stdout, c.stderr
	// Not command.Stdin: its Wait waits for the end of the input.
	stdin, err := command.StdinPipe()
	if err != nil {
		return failure(err)
	}
	if err := command.Start(); err != nil {
		return failure(err)
	}
	go func() {
		if c.stdin != nil {
			_, _ = io.Copy(stdin, c.stdin)
		}
		_ = stdin.Close()
	}()
	err = command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return metav1.Status{
			Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason,
			Message: fmt.Sprintf("command terminated with non-zero exit code: %v", err),
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(exit.ExitCode())}}},
		}
	}
	if err != nil {
		return failure(err)
	}
	return metav1.Status{Status: metav1.StatusSuccess}
}

func failure(err error) metav1.Status {
	return metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError, Message: "Internal error occurred: " + err.Error()}
}

func openSocket(w http.ResponseWriter, r *http.Request, stdin bool) (channels, error) {
	input := wsstream.IgnoreChannel
	if stdin {
		input = wsstream.ReadChannel
	}
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{remotecommand.StreamProtocolV5Name: {
		Binary:   true,
		Channels: []wsstream.ChannelType{input, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.IgnoreChannel},
	}})
	_, streams, err := conn.Open(w, r)
	if err != nil {
		return channels{}, err
	}
	// An empty message opens each, as upstream's server does.
	for _, i := range []int{remotecommand.StreamStdOut, remotecommand.StreamStdErr, remotecommand.StreamErr} {
		if _, err := streams[i].Write([]byte{}); err != nil {
			return channels{}, errors.Join(err, conn.Close())
		}
	}
	c := channels{stdout: streams[1], stderr: streams[2], failure: streams[3], close: conn.Close}
	if stdin {
		c.stdin = streams[0]
	}
	return c, nil
}

func openSPDY(w http.ResponseWriter, r *http.Request, stdin bool) (channels, error) {
	if _, err := httpstream.Handshake(r, w, []string{remotecommand.StreamProtocolV4Name}); err != nil {
		return channels{}, err
	}
	wanted := 3
	if stdin {
		wanted++
	}
	made := make(chan httpstream.Stream, wanted)
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, replied <-chan struct{}) error {
		go func() {
			<-replied
			made <- stream
		}()
		return nil
	})
	if connection == nil {
		return channels{}, errors.New("no SPDY")
	}
	c := channels{close: connection.Close}
	for range wanted {
		select {
		case stream := <-made:
			switch stream.Headers().Get(corev1.StreamType) {
			case corev1.StreamTypeStdin:
				c.stdin = stream
			case corev1.StreamTypeStdout:
				c.stdout = stream
			case corev1.StreamTypeStderr:
				c.stderr = stream
			case corev1.StreamTypeError:
				c.failure = stream
			}
		case <-connection.CloseChan():
			return channels{}, errors.New("the client left")
		}
	}
	return c, nil
}
