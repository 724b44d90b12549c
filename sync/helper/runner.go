package helper

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kfdev/kfdev/sync/wire"
)

// oomScore is where a process says how readily the kernel kills it when memory
// is short: -1000 to 1000 (proc(5)).
const oomScore = "/proc/self/oom_score_adj"

// goFirst makes this process the first to go when the container is short of
// memory, before the work that it is a guest of. It returns what the score was,
// or an empty string where it could not be changed.
func goFirst() string {
	was, err := os.ReadFile(oomScore)
	if err != nil || os.WriteFile(oomScore, []byte("1000"), 0) != nil {
		return ""
	}
	return strings.TrimSpace(string(was))
}

// endWithin bounds how long a command that is told to end may take.
const endWithin = 5 * time.Second

// runner runs commands for the session in the helper's own container, with the
// readiness to be killed that the other processes there have.
func runner(p place, oom string) wire.Runner {
	return func(ctx context.Context, args []string, dir string, stdout, stderr io.Writer) (int, error) {
		if len(args) == 0 {
			return 0, errors.New("there is no command")
		}
		dir, err := p.root(dir)
		if err != nil {
			return 0, err
		}
		command := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // whoever may use the session may run commands here anyway
		command.Dir, command.Stdout, command.Stderr = dir, stdout, stderr
		command.WaitDelay = endWithin
		// What the command starts ends with it.
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGTERM) }
		if err := command.Start(); err != nil {
			return 0, err
		}
		if oom != "" {
			// Best effort: it may have ended already.
			_ = os.WriteFile(filepath.Join("/proc", strconv.Itoa(command.Process.Pid), "oom_score_adj"), []byte(oom), 0)
		}
		err = command.Wait()
		code := command.ProcessState.ExitCode()
		if signal := signalOf(command.ProcessState); signal > 0 && ctx.Err() == nil {
			code = 128 + signal // as a shell says it
		}
		if code < 0 {
			return 0, err
		}
		return code, nil
	}
}

// signalOf is the signal that killed a process; 0: none.
func signalOf(p *os.ProcessState) int {
	if w, ok := p.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return int(w.Signal())
	}
	return 0
}
