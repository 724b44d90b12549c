package root

import (
	"context"
	"io"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
)

// syncFlags are kfdev sync's.
type syncFlags struct {
	envs.SyncOptions

	onChange string
	detach   bool
	logs     bool // this is the process in the background, which writes a log
}

func newSync(a *app) *cobra.Command {
	var f syncFlags
	cmd := &cobra.Command{
		Use:   "sync [NAME | LOCAL:TARGET:REMOTE]",
		Short: "Keep a folder here and a folder in a pod equal",
		Long: `Keeps a folder here and a folder in a pod equal, until Ctrl-C (exit code 0) or
kfdev sync stop. NAME is an entry under sync in kfdev.yaml; it may be left out
where there is only one. LOCAL:TARGET:REMOTE needs no entry: TARGET is KIND/NAME,
like jupyterhub/ann, notebook/fraud, statefulset/web, pod/web-0 or
tfjob/train/worker-0, and REMOTE begins with / or ~/.

It waits for the pod, follows it when it is replaced, and connects again by
itself. What both sides changed is a conflict: neither version is touched until
kfdev sync resolve says which one stays. What a batch took away, kfdev sync undo
brings back.

Modes: two-way-safe (changes go both ways; the default), one-way (to the pod;
what only the pod has stays), one-way-replica (the pod has exactly what is here),
pull (from the pod).

With -o json every event is one line on standard output. With --detach it goes on
in the background once both folders are equal; exit code 6 says that it waits for
a person before that.`,
		Example: `  kfdev sync nb
  kfdev sync src:jupyterhub/ann:~/src
  kfdev sync nb --detach
  kfdev sync train --mode one-way --on-change 'pytest -q'`,
		Args: one("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.What = strings.Join(args, "")
			if f.onChange != "" {
				f.OnChange = []string{"sh", "-c", f.onChange}
			}
			return a.withEngine(cmd, func(e *envs.Engine) error {
				s, err := e.Sync(f.SyncOptions)
				if err != nil {
					return err
				}
				if f.detach {
					return a.detachSync(cmd.Context(), s, f)
				}
				return a.runSync(cmd.Context(), s, f.logs)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Mode, "mode", "", "two-way-safe, one-way, one-way-replica or pull (default: the entry's, else two-way-safe)")
	flags.StringVar(&f.MaxDelete, "max-delete", "", "ask before more is deleted at once: a count of paths (200), a percentage (25%) or off (default: the entry's, else 50 paths that are more than 50%)")
	flags.StringVar(&f.onChange, "on-change", "", "a command for sh in the container, after each batch that arrived there (default: the entry's)")
	flags.StringVar(&f.Prefer, "prefer", "", "whose version stays where both folders differ at the first look: local or remote (default: it is a conflict)")
	flags.StringVarP(&f.Container, "container", "c", "", "the container (default: the pod's main one)")
	flags.StringVarP(&f.Namespace, "namespace", "n", "", "the namespace of the target (default: it is looked for everywhere)")
	flags.StringVar(&f.Env, "env", "dev", "the environment; others than dev only where kfdev.yaml allows it")
	flags.BoolVarP(&f.detach, "detach", "d", false, "go on in the background")
	flags.BoolVar(&f.logs, "log", false, "write lines with the time")
	_ = flags.MarkHidden("log") // it is there: it was defined in the line above
	cmd.AddCommand(newSyncLs(a), newSyncStatus(a), newSyncStop(a), newSyncLogs(a), newSyncResolve(a), newSyncUndo(a), newSyncResume(a), newSyncBake(a))
	return cmd
}

// eagerGC lets garbage be less than usual of what is in use, percent: a session
// runs all day beside other work, and makes little of it.
const eagerGC = 40

// runSync runs a session and shows what happens.
func (a *app) runSync(ctx context.Context, s *envs.Sync, logs bool) error {
	defer debug.SetGCPercent(debug.SetGCPercent(eagerGC))
	var feed control.Feed
	events, _ := feed.Listen()
	show := newSyncShow(a, s, logs)
	var shown sync.WaitGroup
	shown.Go(func() { show.run(ctx, events) })
	err := s.Run(ctx, envs.SyncWatcher{Event: feed.Send, Running: show.watch})
	feed.Close()
	shown.Wait()
	return err
}

// itemEvent writes an event to standard output.
func (a *app) itemEvent(e session.Event, text string) error {
	return a.item(e, func(w io.Writer) error {
		if text == "" {
			return nil
		}
		_, err := io.WriteString(w, text+"\n")
		return err
	})
}

// isLive reports whether progress is shown in live lines.
func (a *app) isLive() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mode == "tty" || a.mode == "auto" && terminalSize(a.streams.Err, a.getenv("TERM")) != nil
}
