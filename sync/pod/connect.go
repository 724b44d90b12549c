package pod

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"k8s.io/client-go/util/exec"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// Options are what Connect needs beside the pod.
type Options struct {
	// Program returns the helper for an architecture: program.Load.
	Program func(arch string) (program.Program, error)
	// Root is the folder to be synced, as far as it is known: where nothing else
	// can be written to, the helper is put below it. It may be empty.
	Root string
	// EphemeralImage is the helper's own image, by digest, for containers that
	// have no shell. Empty: such containers are refused.
	EphemeralImage string
	// Sink gets what people are to know. Nil drops it.
	Sink progress.Sink
}

// How says how a session got into the container.
type How struct {
	// Container is the ephemeral container that the helper runs in; empty where
	// it runs in the container itself.
	Container string
	File      string        // the helper, where it runs
	Uploaded  int           // bytes that were sent to get it there; 0: it was there
	Took      time.Duration // from the start to the helper's
}

// connectWithin bounds getting in, with an image to be pulled.
const connectWithin = 5 * time.Minute

// Connect starts the helper in the container and returns the stream on which it
// speaks: over a shell of the container where there is one, else in an ephemeral
// container. What the stream says first may still be what the container's own
// files print. The context bounds getting in; the stream lives until Close.
//
// A container that there is no way into is a fault of kind Preflight.
func Connect(ctx context.Context, client *kube.Client, p Pod, o Options) (io.ReadWriteCloser, How, error) {
	if o.Sink == nil {
		o.Sink = progress.Discard
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	c := connector{client: client, pod: p, o: o}
	stream, how, err := c.shell(ctx)
	if errors.As(err, new(*closedError)) {
		if o.EphemeralImage == "" {
			err = &fault.Error{Kind: fault.Preflight, Hint: "use an image with a shell and a folder that can be written to, or give the project the helper's image", Err: err}
		} else {
			stream, how, err = c.ephemeral(ctx, err)
		}
	}
	if err != nil {
		return nil, How{}, &fault.Error{Op: "getting into the container", Subject: p.Namespace + "/" + p.Name + "/" + p.Container, Err: err}
	}
	how.Took = time.Since(began)
	return stream, how, nil
}

// connector gets into one container.
type connector struct {
	client *kube.Client
	pod    Pod
	o      Options
}

// closedError says why a container can't be entered through a shell.
type closedError struct{ reason string }

func (e *closedError) Error() string { return e.reason }

// noShell reports whether a command's failure says that the container has no
// shell. Runtimes say so in words of their own, or with the exit codes of a
// shell for commands that are not there.
func noShell(err error) bool {
	var exit exec.CodeExitError
	if errors.As(err, &exit) && (exit.Code == 126 || exit.Code == 127) {
		return true
	}
	text := err.Error()
	for _, said := range []string{"executable file not found", "no such file or directory", "exec format error", "permission denied"} {
		if strings.Contains(text, said) && (strings.Contains(text, `"sh"`) || strings.Contains(text, "exec")) {
			return true
		}
	}
	return false
}

// buffered is a stream of which some has been read ahead.
type buffered struct {
	io.Reader
	*kube.Stream
}

func (b buffered) Read(p []byte) (int, error) { return b.Reader.Read(p) }
