package wheels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
)

// Client is how pip is run: the commands that may stand for it on this machine,
// first the one that is tried first. The user's own configuration of it
// (indexes, mirrors, proxies, credentials) holds.
type Client struct {
	Commands [][]string
	// Bootstrap makes a pip below an empty folder where no command answers, and
	// returns its command; nil where there is no such way.
	Bootstrap func(ctx context.Context, folder string) ([]string, error)
}

// DefaultClient looks for pip as a module of python3, as a program, behind uv,
// and as what Python's own ensurepip makes.
func DefaultClient() Client {
	return Client{
		Commands: [][]string{
			{"python3", "-m", "pip"},
			{"pip3"},
			{"uv", "tool", "run", "--quiet", "pip"},
		},
		Bootstrap: func(ctx context.Context, folder string) ([]string, error) {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return nil, err
			}
			if _, err := run(ctx, folder, "python3", "-m", "venv", folder); err != nil {
				return nil, err
			}
			return []string{filepath.Join(folder, "bin", "python3"), "-m", "pip"}, nil
		},
	}
}

// oldestPip is the first major version that takes everything asked of it here.
const oldestPip = 21

var pipVersion = regexp.MustCompile(`(?m)^pip (\d+)\.`)

// find returns the first command that answers as a pip that is new enough.
func (c Client) find(ctx context.Context, folder string) ([]string, error) {
	var tried []string
	for _, command := range c.Commands {
		err := answers(ctx, folder, command)
		if err == nil {
			return command, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		tried = append(tried, strings.Join(command, " "))
	}
	if c.Bootstrap != nil {
		command, err := c.Bootstrap(ctx, filepath.Join(folder, "pip"))
		if err == nil {
			err = answers(ctx, folder, command)
		}
		if err == nil {
			return command, nil
		}
		tried = append(tried, "python3 -m venv")
	}
	return nil, &fault.Error{Op: "looking for pip", Kind: fault.Preflight,
		Err:  fmt.Errorf("none of these answered as pip %d or newer: %s", oldestPip, strings.Join(tried, "; ")),
		Hint: "install one: apt-get install python3-pip (or python3-venv, or uv)"}
}

func answers(ctx context.Context, folder string, command []string) error {
	args := append(append([]string(nil), command[1:]...), "--version")
	out, err := run(ctx, folder, command[0], args...)
	if err != nil {
		return err
	}
	found := pipVersion.FindSubmatch(out)
	if found == nil {
		return errors.New("does not answer as pip")
	}
	major, err := strconv.Atoi(string(found[1]))
	if err != nil || major < oldestPip {
		return fmt.Errorf("pip %s is older than %d", found[1], oldestPip)
	}
	return nil
}

// stopGrace is how long a client may take to end after it was told to.
const stopGrace = 5 * time.Second

// run runs a command with folder for its temporary files and returns what it
// wrote to stdout. The error holds the end of stderr. When ctx ends, the command
// and what it started are killed.
func run(ctx context.Context, folder, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the commands are this package's and the caller's
	cmd.Dir = folder
	cmd.Env = append(os.Environ(),
		"TMPDIR="+folder,
		"PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_NO_INPUT=1", "PIP_REQUIRE_VIRTUALENV=0", "PIP_PROGRESS_BAR=off", "PIP_NO_COLOR=1",
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONUTF8=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stopGrace
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w%s", filepath.Base(name), err, tail(stderr.Bytes(), stdout.Bytes()))
	}
	return stdout.Bytes(), nil
}

// tail returns the last lines of the first output that has any, on a new line.
func tail(outputs ...[]byte) string {
	const lines, bound = 8, 2000
	for _, out := range outputs {
		text := strings.TrimSpace(string(out))
		if text == "" {
			continue
		}
		all := strings.Split(text, "\n")
		text = strings.Join(all[max(0, len(all)-lines):], "\n")
		return ":\n" + text[max(0, len(text)-bound):]
	}
	return ""
}
