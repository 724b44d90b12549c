package root

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
)

// Of a session in the background.
const (
	lookEvery = 50 * time.Millisecond // how it is, until both folders are equal
	endWithin = 15 * time.Second      // it may take to end
	maxLog    = 8 << 20               // what the log of one may have before a new one begins, bytes
	maxSaid   = 64 << 10              // of the log that is read for its error, bytes
)

// detached is what kfdev sync --detach says.
type detached struct {
	Name      string        `json:"name"`
	PID       int           `json:"pid"`
	Log       string        `json:"log"`
	State     session.State `json:"state"`
	Pod       string        `json:"pod,omitempty"`
	Conflicts int           `json:"conflicts"`
	Problems  int           `json:"problems"`
}

// detachSync starts a session in a process of its own, and waits until both
// folders are equal, or it needs a person.
func (a *app) detachSync(ctx context.Context, s *envs.Sync, f syncFlags) error {
	if r, runs, err := control.Look(s.Dir); err != nil || runs {
		return errors.Join(err, alreadyRuns(r, runs))
	}
	child, err := a.spawn(s, f)
	if err != nil {
		return &fault.Error{Op: "starting the session in the background", Subject: s.Name, Err: err}
	}
	status, err := a.untilInSync(ctx, s, child)
	if err != nil {
		return err
	}
	d := detached{
		Name: s.Name, PID: child.pid, Log: child.log, State: status.State, Pod: status.Pod,
		Conflicts: len(status.Conflicts), Problems: len(status.Problems),
	}
	if err := a.result(d, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is %s\nprocess  %d\nlog      %s\n", d.Name, statusLine(status), d.PID, d.Log)
		return err
	}); err != nil {
		return err
	}
	if status.Halt != nil {
		return waitsForPerson(status)
	}
	for _, c := range status.Conflicts {
		a.warn(eventText(session.Event{Kind: session.ConflictEvent, Conflict: &c}))
	}
	return nil
}

func alreadyRuns(r control.Running, runs bool) error {
	if !runs {
		return nil
	}
	return &fault.Error{
		Op: "starting the session", Subject: r.Name, Kind: fault.Preflight,
		Hint: "`kfdev sync stop " + r.Name + "` ends it; `kfdev sync status " + r.Name + "` shows it", Err: fmt.Errorf("it runs already: %s", r.Holder),
	}
}

// background is a process that runs a session.
type background struct {
	pid   int
	log   string
	from  int64 // where in the log its lines begin
	ended chan error
	end   func() error
}

// spawn starts this program again, in a process that no terminal ends.
func (a *app) spawn(s *envs.Sync, f syncFlags) (_ *background, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := a.projectDir()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	log, from, err := openLog(s.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }() // the child has its own
	// It outlives this process, and so no context ends it.
	cmd := exec.Command(self, append(f.args(), "--log", "--progress", "plain", "--project", dir)...) //nolint:gosec,noctx // this program, see above
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &background{
		pid: cmd.Process.Pid, log: log.Name(), from: from, ended: make(chan error, 1),
		end: func() error { return cmd.Process.Signal(syscall.SIGTERM) },
	}
	go func() { b.ended <- cmd.Wait() }() // or this process ends before
	return b, nil
}

// args are the command line that means the same session.
func (f syncFlags) args() []string {
	args := []string{"sync", "--env", f.Env}
	for _, each := range [][2]string{
		{"--mode", f.Mode}, {"--max-delete", f.MaxDelete}, {"--on-change", f.onChange}, {"--prefer", f.Prefer},
		{"--container", f.Container}, {"--namespace", f.Namespace},
	} {
		if each[1] != "" {
			args = append(args, each[0], each[1])
		}
	}
	if f.What != "" {
		args = append(args, f.What)
	}
	return args
}

// openLog opens the log of a session, and says where it ends. The one before a
// large one is kept.
func openLog(dir string) (*os.File, int64, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, err
	}
	name := filepath.Join(dir, envs.SyncLog)
	if info, err := os.Stat(name); err == nil && info.Size() > maxLog {
		if err := os.Rename(name, name+".old"); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // of the session's own folder
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// untilInSync waits until both folders are equal, or the session is halted. The
// first interrupt ends it.
func (a *app) untilInSync(ctx context.Context, s *envs.Sync, child *background) (_ session.Status, err error) {
	sink := a.sink()
	task := progress.Start(sink, syncTask, "starting "+s.Name, 0, progress.None)
	defer func() { task.End(err) }()
	client := control.NewClient(s.Dir)
	defer client.Close()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	shown := ""
	for {
		select {
		case <-ctx.Done():
			err := child.end()
			select {
			case <-child.ended:
			case <-time.After(endWithin):
			}
			return session.Status{}, errors.Join(context.Cause(ctx), err)
		case err := <-child.ended:
			return session.Status{}, child.why(s.Name, err)
		case <-look.C:
		}
		status, err := client.Status(ctx)
		switch {
		case err != nil: // not yet, or no more, which is seen above
		case status.State == session.InSync, status.State == session.Halted:
			return status, nil
		default:
			if text := statusLine(status); text != shown {
				shown = text
				sink.Send(progress.Event{Time: time.Now(), State: progress.Advanced, Task: syncTask, Text: s.Name + ": " + text})
			}
		}
	}
}

// why makes an error of what an ended process wrote last, and of its exit code.
func (b *background) why(name string, ended error) error {
	f := &fault.Error{Op: "running the session in the background", Subject: name, Err: errors.New("it ended: kfdev sync logs " + name + " has more")}
	var exit *exec.ExitError
	if errors.As(ended, &exit) {
		f.Kind = kindOfExit(exit.ExitCode())
	}
	log, err := os.Open(b.log)
	if err != nil {
		return f
	}
	defer log.Close() //nolint:errcheck // it was only read
	said, err := io.ReadAll(io.NewSectionReader(log, b.from, maxSaid))
	if err != nil {
		return f
	}
	var hints []string
	for line := range strings.Lines(string(said)) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "error: "); ok {
			f.Err = errors.New(text)
		}
		if hint, ok := strings.CutPrefix(line, "hint: "); ok {
			hints = append(hints, hint)
		}
	}
	f.Hint = strings.Join(hints, "; ")
	return f
}

// kindOfExit is the kind of failure that ends in an exit code.
func kindOfExit(code int) fault.Kind {
	for _, kind := range []fault.Kind{fault.Usage, fault.Partial, fault.Preflight, fault.NotFound, fault.Drift, fault.Timeout, fault.Gate} {
		if fault.ExitCode(&fault.Error{Kind: kind}) == code {
			return kind
		}
	}
	return fault.Failure
}
