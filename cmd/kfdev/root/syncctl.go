package root

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
)

// answerWithin is how long a session may take to say how it is.
const answerWithin = 5 * time.Second

// withSession runs what a command does with a session that runs; without a name
// the only one.
func (a *app) withSession(cmd *cobra.Command, name string, do func(*control.Client, control.Running) error) error {
	return a.withEngine(cmd, func(e *envs.Engine) error {
		r, err := e.SyncSession(name)
		if err != nil {
			return err
		}
		client := control.NewClient(r.Dir)
		defer client.Close()
		return do(client, r)
	})
}

// listed is a session in kfdev sync ls.
type listed struct {
	Name    string          `json:"name"`
	PID     int             `json:"pid"`
	Since   time.Time       `json:"since"`
	Command string          `json:"command"`
	Status  *session.Status `json:"status,omitempty"` // where it answers
}

func newSyncLs(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the sync sessions of the project that run",
		Example: "  kfdev sync ls\n  kfdev sync ls -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withEngine(cmd, func(e *envs.Engine) error {
				running, err := e.SyncSessions()
				if err != nil {
					return err
				}
				all := make([]listed, 0, len(running)) // a list, also where there is none
				for _, r := range running {
					l := listed{Name: r.Name, PID: r.Holder.PID, Since: r.Holder.Since, Command: r.Holder.Command}
					if status, err := statusOf(cmd.Context(), r); err == nil {
						l.Status = &status
					}
					all = append(all, l)
				}
				return a.result(all, func(w io.Writer) error { return listText(w, all) })
			})
		},
	}
}

func statusOf(ctx context.Context, r control.Running) (session.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	client := control.NewClient(r.Dir)
	defer client.Close()
	return client.Status(ctx)
}

func listText(w io.Writer, all []listed) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no session runs; kfdev sync starts one")
		return err
	}
	rows := make([][]string, 0, len(all))
	for _, l := range all {
		row := []string{l.Name, "does not answer", "", "", "", fmt.Sprint(l.PID), l.Since.Local().Format("2006-01-02 15:04")}
		if s := l.Status; s != nil {
			row[1], row[2], row[3], row[4] = string(s.State), s.Local, s.Target, s.Remote
			if !s.Clean() {
				row[1] += " (waits for you)"
			}
		}
		rows = append(rows, row)
	}
	return table(w, "NAME STATE LOCAL TARGET REMOTE PROCESS SINCE", rows)
}

func newSyncStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show how a sync session is, and what waits for a person",
		Long: `Shows how a session is: its state, how long edits took on their way (p50 and p95
of the last 512 batches), conflicts, problems and a halt with the way out of
each. Exit code 6 says that something waits for a person.`,
		Example: "  kfdev sync status\n  kfdev sync status nb -o json",
		Args:    one("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSession(cmd, strings.Join(args, ""), func(c *control.Client, _ control.Running) error {
				ctx, cancel := context.WithTimeout(cmd.Context(), answerWithin)
				defer cancel()
				status, err := c.Status(ctx)
				if err != nil {
					return err
				}
				if err := a.result(status, func(w io.Writer) error { return sessionText(w, status) }); err != nil {
					return err
				}
				if !status.Clean() {
					return waitsForPerson(status)
				}
				return nil
			})
		},
	}
}

// waitsForPerson is the error that says so.
func waitsForPerson(s session.Status) error {
	f := &fault.Error{Op: "syncing", Subject: s.Name, Kind: fault.Drift}
	switch {
	case s.Halt != nil:
		f.Err, f.Hint = errors.New("it is halted: "+s.Halt.Text), s.Halt.Hint
	case len(s.Conflicts) > 0:
		f.Err, f.Hint = fmt.Errorf("conflicts wait for a person: %d", len(s.Conflicts)), "kfdev sync resolve PATH --keep local|remote|both"
	default:
		f.Err = fmt.Errorf("paths can't be brought over: %d", len(s.Problems))
	}
	return f
}

func sessionText(w io.Writer, s session.Status) error {
	rows := [][]string{
		{"session", s.Name}, {"state", stateText(s.State, s.Text)},
		{"local", s.Local}, {"remote", s.Remote + " of " + s.Target},
	}
	if s.Pod != "" {
		rows = append(rows, []string{"pod", s.Pod})
	}
	rows = append(rows, []string{"mode", string(s.Mode)}, []string{"paths", grouped(s.Paths)})
	for _, l := range []struct {
		name string
		session.Latency
	}{{"to the pod", s.ToRemote}, {"from the pod", s.ToLocal}} {
		if l.Edits > 0 {
			rows = append(rows, []string{l.name, fmt.Sprintf("p50 %s, p95 %s over %s batches", millis(l.P50), millis(l.P95), grouped(l.Edits))})
		}
	}
	rows = append(rows, []string{"traffic", fmt.Sprintf("%s sent, %s received", bytesOf(s.Traffic.Sent), bytesOf(s.Traffic.Received))})
	if h := s.Helper; h != nil {
		rows = append(rows, []string{"helper", fmt.Sprintf("%s of memory, %s of processor time", bytesOf(h.Memory), h.CPU.Round(time.Millisecond))})
	}
	if s.LastRun != nil {
		rows = append(rows, []string{"on change", fmt.Sprintf("exit code %d after %s", s.LastRun.Code, millis(s.LastRun.Took))})
	}
	if s.Undoable > 0 {
		rows = append(rows, []string{"undo", fmt.Sprintf("%d batches can be brought back: kfdev sync undo", s.Undoable)})
	}
	if err := table(w, "", rows); err != nil {
		return err
	}
	for _, c := range s.Conflicts {
		fmt.Fprintf(w, "\nconflict %s: %s\n  local   %s\n  remote  %s\n", shownPath(c.Path), c.Why, printable(c.Local), printable(c.Remote))
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "\nproblem %s: the %s folder: %s\n", shownPath(p.Path), p.Side, printable(p.Error))
	}
	for _, n := range s.Notes {
		fmt.Fprintf(w, "\nnote: %s\n", printable(n))
	}
	return nil
}

func newSyncStop(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "stop [NAME...]",
		Short:   "End sync sessions",
		Long:    "Ends sessions, also those in the foreground, and waits until they have ended. Without a name: the only one that runs.",
		Example: "  kfdev sync stop nb\n  kfdev sync stop --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return usage(errors.New("--all and names exclude each other"), "")
			}
			return a.withEngine(cmd, func(e *envs.Engine) error {
				running, err := chosen(e, args, all)
				if err != nil {
					return err
				}
				stopped := make([]string, 0, len(running))
				var errs []error
				for _, r := range running {
					if err := stopOne(cmd.Context(), r); err != nil {
						errs = append(errs, err)
						continue
					}
					stopped = append(stopped, r.Name)
				}
				err = a.result(map[string][]string{"stopped": stopped}, func(w io.Writer) error {
					for _, name := range stopped {
						fmt.Fprintln(w, name+" has ended")
					}
					return nil
				})
				return errors.Join(append(errs, err)...)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every session of the project")
	return cmd
}

func chosen(e *envs.Engine, names []string, all bool) ([]control.Running, error) {
	if all {
		return e.SyncSessions()
	}
	if len(names) == 0 {
		names = []string{""} // the only one
	}
	var out []control.Running
	for _, name := range names {
		r, err := e.SyncSession(name)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func stopOne(ctx context.Context, r control.Running) error {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	client := control.NewClient(r.Dir)
	defer client.Close()
	err := client.Stop(ctx)
	if err != nil && ctx.Err() != nil {
		return &fault.Error{Op: "ending the session", Subject: r.Name, Kind: fault.KindOf(err), Hint: fmt.Sprintf("kill %d", r.Holder.PID), Err: err}
	}
	return err
}

func newSyncResolve(a *app) *cobra.Command {
	var keep, name string
	cmd := &cobra.Command{
		Use:   "resolve [NAME] PATH",
		Short: "End a conflict: say which version stays",
		Long: `Ends a conflict. --keep local and --keep remote bring that version to the other
side; --keep both leaves the local one at the path and puts the pod's beside it.
What is overwritten, kfdev sync undo brings back.`,
		Example: "  kfdev sync resolve src/train.py --keep local\n  kfdev sync resolve nb notebooks/fraud.ipynb --keep both",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[len(args)-1]
			if len(args) == 2 {
				if name != "" {
					return usage(errors.New("the session is named twice"), "")
				}
				name = args[0]
			}
			switch session.Keep(keep) {
			case session.KeepLocal, session.KeepRemote, session.KeepBoth:
			default:
				return usage(fmt.Errorf("--keep takes local, remote or both, not %q", keep), "")
			}
			return a.withSession(cmd, name, func(c *control.Client, _ control.Running) error {
				path, err := inSession(cmd.Context(), c, path)
				if err != nil {
					return err
				}
				if err := c.Resolve(cmd.Context(), path, session.Keep(keep)); err != nil {
					return err
				}
				return a.result(map[string]string{"path": path, "keep": keep}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%s: %s is kept\n", shownPath(path), keep)
					return err
				})
			})
		},
	}
	cmd.Flags().StringVar(&keep, "keep", "", "local, remote or both")
	cmd.Flags().StringVar(&name, "session", "", "the session (default: the only one that runs)")
	return cmd
}

// inSession makes an absolute path one below the session's folder.
func inSession(ctx context.Context, c *control.Client, path string) (string, error) {
	if !filepath.IsAbs(path) {
		return filepath.ToSlash(filepath.Clean(path)), nil
	}
	status, err := c.Status(ctx)
	if err != nil {
		return "", err
	}
	below, err := filepath.Rel(status.Local, path)
	if err != nil || !filepath.IsLocal(below) {
		return "", usage(fmt.Errorf("%s is not below %s", path, status.Local), "")
	}
	return filepath.ToSlash(below), nil
}

func newSyncUndo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "undo [NAME]",
		Short: "Bring back what the last batch of a session took away",
		Long: `Brings back what the last batch that deleted or overwrote something took away, on
the side where it did; the other side follows. Again: the batch before. What was
changed since is left as it is.`,
		Example: "  kfdev sync undo\n  kfdev sync undo nb",
		Args:    one("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSession(cmd, strings.Join(args, ""), func(c *control.Client, _ control.Running) error {
				undone, err := c.Undo(cmd.Context())
				if err != nil {
					return err
				}
				return a.result(undone, func(w io.Writer) error { return undoneText(w, undone) })
			})
		},
	}
}

func undoneText(w io.Writer, u session.Undone) error {
	fmt.Fprintf(w, "brought back in the %s folder: %s paths\n", u.Side, grouped(len(u.Paths)))
	const few = 20
	for i, p := range u.Paths {
		if i == few {
			fmt.Fprintf(w, "  and %s more\n", grouped(len(u.Paths)-few))
			break
		}
		fmt.Fprintln(w, "  "+shownPath(p))
	}
	return nil
}

func newSyncResume(a *app) *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "resume [NAME]",
		Short: "Let a halted session go on",
		Long: `A session halts before it deletes very much, or where a folder is empty or gone
all of a sudden: nothing is sent until a person says so. Where that is not meant,
put the folder back, and the session goes on by itself.

resume says what would be deleted, and where; exit code 8. With --accept-deletes
it is deleted there. Where more would be by then, the session halts again. What
was deleted, kfdev sync undo brings back.`,
		Example: "  kfdev sync resume\n  kfdev sync resume nb --accept-deletes",
		Args:    one("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSession(cmd, strings.Join(args, ""), func(c *control.Client, r control.Running) error {
				status, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if h := status.Halt; h != nil && !accept {
					return &fault.Error{
						Op: "resuming the session", Subject: r.Name, Kind: fault.Gate, Err: errors.New(h.Text),
						Hint: "put back what is missing; or, if it is to be deleted: kfdev sync resume " + r.Name + " --accept-deletes",
					}
				}
				if err := c.Resume(cmd.Context()); err != nil {
					return err
				}
				return a.result(map[string]string{"resumed": r.Name}, func(w io.Writer) error {
					_, err := fmt.Fprintln(w, r.Name+" goes on")
					return err
				})
			})
		},
	}
	cmd.Flags().BoolVar(&accept, "accept-deletes", false, "have deleted on the other side what the session was halted for")
	return cmd
}
