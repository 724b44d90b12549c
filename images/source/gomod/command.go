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
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/source/client"
)

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

// request reports whether -x noted a request; it would push the reason out of
// an error.
func request(line string) bool { return strings.HasPrefix(line, "# get ") }

// userSettings asks the user's go command for the settings that are carried
// over, wherever it has them from.
func userSettings(ctx context.Context, program string, environ []string) (map[string]string, error) {
	env := append(slices.Clone(environ), "GOWORK=off", "GOTOOLCHAIN=local", "GOFLAGS=")
	out, err := client.Command{Dir: os.TempDir(), Program: program, Env: env, Args: append([]string{"env", "-json"}, carried()...)}.Run(ctx)
	if err != nil {
		return nil, err
	}
	settings := map[string]string{}
	if err := json.Unmarshal(out.Stdout, &settings); err != nil {
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
