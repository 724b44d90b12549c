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
	"github.com/kfdev/kfdev/sync/reconcile"
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
the side where it did; the other side follows, in the mode one-way-replica too. In
the modes one-way and pull what was deleted is there again on that side alone, and
what was overwritten is a conflict. Again: the batch before, also after a restart.
What was changed since is left as it is.`,
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

// waysToResume says what a person can do where a session is halted.
func waysToResume(h *session.Halt, name string) string {
	accept := "if it is to be deleted: kfdev sync resume " + name + " --accept-deletes"
	if h.Reason == reconcile.FirstReplica {
		return accept + "; or, to keep it: kfdev sync stop " + name + ", and begin in another mode (--mode two-way-safe brings it here)"
	}
	return "put back what is missing; or, " + accept + "; or, to have it here and there again: --bring-back"
}

func newSyncResume(a *app) *cobra.Command {
	var accept, back, rules bool
	cmd := &cobra.Command{
		Use:   "resume [NAME]",
		Short: "Let a halted session go on",
		Long: `A session halts before it deletes very much, where a folder is empty or gone all
of a sudden, and before a first one-way-replica deletes what only the pod has:
nothing is sent until a person says so. Where that is not meant, put the folder
back, and the session goes on by itself.

resume says what would be deleted, and where; exit code 8. With --accept-deletes
it is deleted there. Where more would be by then, the session halts again. What
was deleted, kfdev sync undo brings back. With --bring-back the folder that is
empty or gone is filled again from the other side.

Rule files that the pod changed may ignore more, but what they take back stays
ignored until a person says so: --accept-rules has them count as they are.`,
		Example: "  kfdev sync resume\n  kfdev sync resume nb --accept-deletes\n  kfdev sync resume nb --bring-back\n  kfdev sync resume nb --accept-rules",
		Args:    one("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSession(cmd, strings.Join(args, ""), func(c *control.Client, r control.Running) error {
				status, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if h := status.Halt; h != nil && !accept && !back && !rules {
					return &fault.Error{
						Op: "resuming the session", Subject: r.Name, Kind: fault.Gate, Err: errors.New(h.Text),
						Hint: waysToResume(h, r.Name),
					}
				}
				how := session.AcceptDeletes
				switch {
				case back:
					how = session.BringBack
				case rules:
					how = session.AcceptRules
				}
				if err := c.Resume(cmd.Context(), how); err != nil {
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
	cmd.Flags().BoolVar(&back, "bring-back", false, "fill the folder that is empty or gone from the other side")
	cmd.Flags().BoolVar(&rules, "accept-rules", false, "send what rule files that the pod changed no longer ignore")
	cmd.MarkFlagsMutuallyExclusive("accept-deletes", "bring-back", "accept-rules")
	return cmd
}
