package wheels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/kfdev/kfdev/images/source/client"
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

// run runs a command with folder for what is temporary, and returns what it
// wrote to standard output.
func run(ctx context.Context, folder, name string, args ...string) ([]byte, error) {
	env := append(os.Environ(),
		"TMPDIR="+folder,
		"PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_NO_INPUT=1", "PIP_REQUIRE_VIRTUALENV=0", "PIP_PROGRESS_BAR=off", "PIP_NO_COLOR=1",
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONUTF8=1")
	out, err := client.Command{Program: name, Args: args, Dir: folder, Env: env}.Run(ctx)
	return out.Stdout, err
}
