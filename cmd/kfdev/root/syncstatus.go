package root

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
)

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
	case slices.ContainsFunc(s.Problems, func(p session.Problem) bool { return p.Waits }):
		f.Err, f.Hint = errors.New("rule files that the pod changed wait for a person"), "change them here, or kfdev sync resume "+s.Name+" --accept-rules"
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
	if r := s.LastRun; r != nil {
		text := fmt.Sprintf("exit code %d after %s", r.Code, millis(r.Took))
		if r.Error != "" {
			text = printable(r.Error)
		}
		rows = append(rows, []string{"on change", text})
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
