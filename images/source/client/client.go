// Package client runs the clients of the ecosystems that inputs come from: go,
// apt, pip and npm, as the machine has them configured. A client that its
// context stops goes with everything it started.
package client

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// waitAfterKill bounds the wait for pipes that a killed client's children may
// still hold.
const waitAfterKill = 5 * time.Second

// How much of what a client said its error carries.
const (
	tailLines = 30
	tailBytes = 4000
	argument  = 200 // of one argument
)

// Command is one run of a client.
type Command struct {
	Program string
	// Config are arguments that come before Args, and that errors leave out.
	Config []string
	Args   []string
	Dir    string
	Env    []string // all of it; nil is this process's
	// Stdout gets the standard output in place of what Run returns.
	Stdout io.Writer
	// Line is called with every line of standard error. What it reports true of
	// is a note and no part of an error.
	Line func(string) (note bool)
}

// Error is a run that failed, with the end of what the client said.
type Error struct {
	Program string
	Args    []string
	Tail    string
	Err     error
}

// Error says what failed, and what the client said of it.
func (e *Error) Error() string {
	text := filepath.Base(e.Program)
	for _, a := range e.Args {
		if len(a) > argument {
			a = a[:argument] + "…"
		}
		text += " " + a
	}
	text += ": " + e.Err.Error()
	if e.Tail != "" {
		text += "\n" + e.Tail
	}
	return text
}

// Unwrap returns how the process ended.
func (e *Error) Unwrap() error { return e.Err }

// Output is what a client wrote.
type Output struct{ Stdout, Stderr []byte }

// Run runs the command to its end. When ctx ends, the client and all that it
// started are killed, and the error is ctx's; another failure is an *Error.
func (c Command) Run(ctx context.Context) (Output, error) {
	cmd := exec.CommandContext(ctx, c.Program, slices.Concat(c.Config, c.Args)...) //nolint:gosec // a client of this machine, with arguments made by a maker
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = waitAfterKill
	var stdout bytes.Buffer
	said := &listener{line: c.Line}
	cmd.Stdout, cmd.Stderr = &stdout, said
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	err := cmd.Run()
	said.flush()
	out := Output{stdout.Bytes(), said.all.Bytes()}
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	tail := said.tail()
	if tail == "" {
		tail = last(strings.Split(strings.TrimSpace(stdout.String()), "\n"))
	}
	return out, &Error{Program: c.Program, Args: c.Args, Tail: tail, Err: err}
}

// listener takes in what a client says, line by line.
type listener struct {
	line  func(string) bool
	all   bytes.Buffer
	part  []byte
	lines []string
}

// Write takes in more.
func (l *listener) Write(p []byte) (int, error) {
	if l.line == nil {
		return l.all.Write(p)
	}
	l.part = append(l.part, p...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		l.add(string(l.part[:i]))
		l.part = l.part[i+1:]
	}
}

func (l *listener) add(line string) {
	if l.line(line) {
		return
	}
	if l.lines = append(l.lines, line); len(l.lines) > tailLines {
		l.lines = l.lines[1:]
	}
}

func (l *listener) flush() {
	if len(l.part) > 0 {
		l.add(string(l.part))
		l.part = nil
	}
}

func (l *listener) tail() string {
	if l.line == nil {
		return last(strings.Split(strings.TrimSpace(l.all.String()), "\n"))
	}
	return last(l.lines)
}

// last returns the last lines, within bounds.
func last(lines []string) string {
	text := strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
	return strings.ToValidUTF8(text[max(0, len(text)-tailBytes):], "")
}
