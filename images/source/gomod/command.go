package gomod

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// tailLines is how much of the go command's output an error carries.
const tailLines = 30

// waitAfterKill bounds the wait for pipes that a killed command's children
// still hold.
const waitAfterKill = 5 * time.Second

// carried are the settings of the user's own go command that decide where
// modules come from, how that is checked, and where caches lie. Everything else
// that the go command reads from the environment is set here or dropped.
func carried() []string {
	return []string{
		"GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOINSECURE", "GOVCS", "GOAUTH",
		"GOCACHE", "GOMODCACHE", "GOPATH", "GOTMPDIR",
	}
}

// toolchain is an exact Go release on this machine.
type toolchain struct {
	program string
	env     []string
}

// command is one run of the go command.
type command struct {
	dir     string
	program string
	env     []string
	args    []string
	line    func(string) // called with every line on standard error; may be nil
}

// commandError is a run that failed, with the end of what it said.
type commandError struct {
	args []string
	tail string
	err  error
}

func (e *commandError) Error() string {
	text := "go " + strings.Join(e.args, " ") + ": " + e.err.Error()
	if e.tail != "" {
		text += "\n" + e.tail
	}
	return text
}

func (e *commandError) Unwrap() error { return e.err }

// run runs the command to its end and returns what it wrote to standard
// output. When ctx ends, it and all it started are killed.
func (c command) run(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.program, c.args...) //nolint:gosec // the go command, with arguments made here
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = waitAfterKill
	var out bytes.Buffer
	said := &tail{line: c.line}
	cmd.Stdout, cmd.Stderr = &out, said
	err := cmd.Run()
	said.flush()
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, &commandError{args: short(c.args), tail: said.text(), err: err}
}

// short leaves long arguments out of messages.
func short(args []string) []string {
	kept := make([]string, 0, len(args))
	for _, a := range args {
		if len(a) > 200 {
			a = a[:200] + "…"
		}
		kept = append(kept, a)
	}
	return kept
}

// tail keeps the last lines written to it.
type tail struct {
	line  func(string)
	part  []byte
	lines []string
}

func (t *tail) Write(p []byte) (int, error) {
	t.part = append(t.part, p...)
	for {
		i := bytes.IndexByte(t.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		t.add(string(t.part[:i]))
		t.part = t.part[i+1:]
	}
}

func (t *tail) add(line string) {
	if t.line != nil {
		t.line(line)
	}
	if strings.HasPrefix(line, "# get ") {
		return // -x's note of a request; it would push the reason out
	}
	if t.lines = append(t.lines, line); len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

func (t *tail) flush() {
	if len(t.part) > 0 {
		t.add(string(t.part))
		t.part = nil
	}
}

func (t *tail) text() string { return strings.Join(t.lines, "\n") }

// userSettings asks the user's go command for the settings that are carried
// over, wherever it has them from.
func userSettings(ctx context.Context, program string, environ []string) (map[string]string, error) {
	env := append(slices.Clone(environ), "GOWORK=off", "GOTOOLCHAIN=local", "GOFLAGS=")
	out, err := command{dir: os.TempDir(), program: program, env: env, args: append([]string{"env", "-json"}, carried()...)}.run(ctx)
	if err != nil {
		return nil, err
	}
	settings := map[string]string{}
	if err := json.Unmarshal(out, &settings); err != nil {
		return nil, fmt.Errorf("reading the settings of %s: %w", program, err)
	}
	return settings, nil
}

// environment returns what every go command here runs under: the same on every
// machine in all that decides what comes out, the user's in all that decides
// where things come from and lie.
func environment(environ []string, settings map[string]string) []string {
	var env []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "GO") && name != "GOMAXPROCS" && name != "GOGC" && name != "GOMEMLIMIT" || strings.HasPrefix(name, "CGO_") || name == "GCCGO" {
			continue
		}
		env = append(env, e)
	}
	for _, name := range carried() {
		if value := settings[name]; value != "" {
			env = append(env, name+"="+value)
		}
	}
	return append(env,
		"GOENV=off", "GOFLAGS=", "GOWORK=off", "GO111MODULE=on", "GOTOOLCHAIN=local",
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOEXPERIMENT=", "GOFIPS140=off", "GODEBUG=",
	)
}

// lines returns the lines of what a command wrote.
func lines(out []byte) ([]string, error) {
	var all []string
	s := bufio.NewScanner(bytes.NewReader(out))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		all = append(all, s.Text())
	}
	if err := s.Err(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return all, nil
}
