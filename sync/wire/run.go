package wire

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxOutput is how many bytes of a command's output cross. A line says so where
// there was more.
const maxOutput = 1 << 20

const outputCut = "\n[the rest of the output is left out]\n"

// run runs a command and sends its output as it comes.
func (s *server) run(ctx context.Context, c *call, req request) error {
	if s.options.Run == nil {
		return errors.New("this helper runs no commands")
	}
	argv := make([]string, len(req.Argv))
	for i, word := range req.Argv {
		argv[i] = string(word)
	}
	ctx, stop := c.watched(ctx)
	out := &output{call: c, left: maxOutput}
	code, err := s.options.Run(ctx, argv, string(req.Dir), stream{out, kindStdout}, stream{out, kindStderr})
	stop()
	if err != nil {
		return err
	}
	return c.finish(kindEnd, result{Code: code})
}

// output sends the two streams of a command.
type output struct {
	mu   sync.Mutex
	call *call
	left int // bytes that may still be sent
}

// stream is one of the two.
type stream struct {
	to   *output
	kind kind
}

// Write implements io.Writer. What is too much is dropped, and the command goes
// on.
func (s stream) Write(p []byte) (int, error) {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	if s.to.left < 0 {
		return len(p), nil
	}
	rest := p[:min(len(p), s.to.left)]
	s.to.left -= len(rest)
	for len(rest) > 0 {
		n := min(len(rest), maxPiece)
		if err := s.to.call.send(s.kind, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	if s.to.left == 0 && len(p) > 0 {
		s.to.left = -1
		if err := s.to.call.send(kindStderr, []byte(outputCut)); err != nil {
			return 0, err
		}
	}
	return len(p), s.to.call.flush()
}

// Run runs a command in dir on the helper's side and returns its exit code. Of
// its output no more than 1 MiB arrives; a line says where it was cut. An error
// means that it could not be run, or that its end is not known.
func (r *Remote) Run(ctx context.Context, argv []string, dir string, stdout, stderr io.Writer) (int, error) {
	req := request{Method: methodRun, Dir: []byte(dir)}
	for _, word := range argv {
		req.Argv = append(req.Argv, []byte(word))
	}
	code := 0
	err := r.do(ctx, req, nil, func(c *call) error {
		total := 0
		for {
			k, payload, err := c.receive()
			if err != nil {
				return err
			}
			to := stdout
			switch k {
			case kindStdout:
			case kindStderr:
				to = stderr
			case kindEnd:
				var res result
				err := c.mux.codec.unmarshal(payload, &res)
				code = res.Code
				return err
			case kindError:
				return c.failure(payload)
			default:
				return unexpected(k, "in output")
			}
			if total += len(payload); total > maxOutput+len(outputCut) {
				return protocol("more output than %d bytes", maxOutput)
			}
			if _, err := to.Write(payload); err != nil {
				return err
			}
		}
	})
	return code, err
}

// Usage asks what the helper costs.
func (r *Remote) Usage(ctx context.Context) (Usage, error) {
	res, err := r.ask(ctx, request{Method: methodUsage}, nil)
	if err != nil || res.Usage == nil {
		return Usage{}, err
	}
	u := res.Usage
	return Usage{Memory: max(u.Memory, 0), CPU: time.Duration(max(u.CPU, 0)), Uptime: time.Duration(max(u.Uptime, 0))}, nil
}

// ownUsage is what this process costs, as /proc has it (proc(5)); what is not
// there is left out.
func ownUsage(began time.Time) *usage {
	u := &usage{Uptime: int64(time.Since(began))}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			u.Memory = pages * int64(os.Getpagesize())
		}
	}
	if b, err := os.ReadFile("/proc/self/stat"); err == nil {
		// The second field is the program's name in parentheses, which may hold
		// anything. Times are fields 14 and 15, in hundredths of a second.
		if f := strings.Fields(string(b)[strings.LastIndexByte(string(b), ')')+1:]); len(f) > 12 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			u.CPU = (user + system) * int64(10*time.Millisecond)
		}
	}
	return u
}
