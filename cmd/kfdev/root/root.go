// Package root is kfdev's command line: one file for each command, which reads
// its flags, calls one thing below, and hands the result to a view. Results go
// to standard output, and nothing else does.
package root

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kfdev/kfdev/cmd/kfdev/internal/console"
	"github.com/kfdev/kfdev/cmd/kfdev/internal/view"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/dirs"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Streams are the program's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run is the whole program: it runs the command that args name (without the
// program's own name), and returns the exit code. The first interrupt cancels
// what runs and lets it clean up; the second kills.
func Run(ctx context.Context, args []string, streams Streams, getenv func(string) string) int {
	a := &app{streams: streams, getenv: getenv, args: args}
	cmd := newRoot(a) //nolint:contextcheck // commands take the context that they are executed with
	cmd.SetArgs(args)
	ctx, interrupted, stop := interruptible(ctx, a.warn)
	defer stop()
	err := cmd.ExecuteContext(ctx)
	a.close()
	if err == nil {
		return 0
	}
	if !a.ran { // cobra's own errors: an unknown command, wrong arguments
		err = usage(err, cmd.CommandPath()+" --help lists the commands")
	}
	code := fault.ExitCode(err)
	if interrupted() {
		code = fault.ExitCode(&fault.Error{Kind: fault.Canceled})
	}
	if a.tell(err, code) != nil {
		return 1
	}
	return code
}

// tell writes the error that the command ends in to standard error.
func (a *app) tell(err error, code int) error {
	if a.showsJSON() {
		return view.ErrorEvent(a.streams.Err, err, code)
	}
	return view.ErrorText(a.streams.Err, err)
}

// New returns the command tree as the documentation needs it; nothing in it
// can run.
func New() *cobra.Command {
	return newRoot(&app{streams: Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}, getenv: func(string) string { return "" }})
}

// app is what every command is given: the streams, the global flags, and what
// depends on them.
type app struct {
	streams Streams
	getenv  func(string) string
	args    []string

	output, progress, project string
	verbose                   bool

	format view.Format
	ran    bool // the arguments were understood

	mu    sync.Mutex
	mode  console.Mode // empty before the flags are read
	shown *console.Console
}

// ExitCodes stands in the help of every command.
const ExitCodes = `
Exit codes:
  0    ok
  1    failure
  2    usage: the command line or a file is wrong
  3    partly ready
  4    preflight not met: the machine lacks something
  5    not found
  6    drift, or an undeclared difference
  7    timeout
  8    a gate refused
  130  interrupted
`

func newRoot(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kfdev",
		Short: "The same Kubeflow stack everywhere",
		Long: `kfdev runs a Kubeflow stack on this machine, every image by digest, from one
file: kfdev.yaml says what is wanted, kfdev.lock what exactly that is.

Standard output has the result of a command and nothing else; -o json or yaml
writes it for programs. Standard error has all the rest. With --progress json
that is one JSON object on each line: "state" says what it tells (started,
advanced, done, skipped, failed, message, warning), and a command that fails
ends with one of state error, with the exit code, what kind of failure it is,
and the hints.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.begin(cmd) },
	}
	cmd.SetIn(a.streams.In)
	cmd.SetOut(a.streams.Out)
	cmd.SetErr(a.streams.Err)
	cmd.SetUsageTemplate(strings.TrimRight(cmd.UsageTemplate(), "\n") + "\n" + ExitCodes)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		a.ran = true
		return usage(err, cmd.CommandPath()+" --help shows the flags")
	})
	flags := cmd.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", "text", "how the result is written to standard output: text, json or yaml")
	flags.StringVar(&a.progress, "progress", "auto", "how progress and errors are shown on standard error: auto, tty, plain, quiet or json (an event on each line)")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "show the smallest parts of what is done, too")
	flags.StringVar(&a.project, "project", "", "the project's folder (default: here, or the nearest folder above with a kfdev.yaml)")
	for flag, values := range map[string][]string{"output": {"text", "json", "yaml"}, "progress": {"auto", "tty", "plain", "quiet", "json"}} {
		if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the flag was defined above
		}
	}
	cmd.AddCommand(newInit(a), newSchema(a), newVersion(a), newRegistry(a),
		newLock(a), newUp(a), newDown(a), newStatus(a), newRender(a), newPlan(a), newPromote(a), newDiff(a), newDrift(a), newVerify(a), newOpen(a), newLogs(a), newImages(a), newSync(a))
	return cmd
}

// begin reads the global flags, once the command is known, and refuses flags
// that exclude each other.
func (a *app) begin(cmd *cobra.Command) (err error) {
	a.ran = true
	if a.format, err = view.ParseFormat(a.output); err != nil {
		return usage(err, "")
	}
	mode, err := console.ParseMode(a.progress)
	if err != nil {
		return usage(err, "")
	}
	a.mu.Lock()
	a.mode = mode
	a.mu.Unlock()
	if err := cmd.ValidateFlagGroups(); err != nil {
		return usage(err, cmd.CommandPath()+" --help shows the flags")
	}
	return nil
}

// showsJSON reports whether what goes to standard error are JSON events, also
// where the flags are wrong.
func (a *app) showsJSON() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asksJSON()
}

// asksJSON is showsJSON for those who hold mu.
func (a *app) asksJSON() bool {
	if a.mode != "" {
		return a.mode == console.JSON
	}
	asked := false
	for i, arg := range a.args {
		if arg == "--" {
			break
		}
		value, ok := strings.CutPrefix(arg, "--progress=")
		if arg == "--progress" && i+1 < len(a.args) {
			value, ok = a.args[i+1], true
		}
		if ok {
			asked = value == string(console.JSON) // the last one counts
		}
	}
	return asked
}

// sink returns where progress goes; it is made when it is first asked for.
func (a *app) sink() progress.Sink {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shown == nil {
		a.shown = console.New(console.Options{
			Mode: a.mode, Out: a.streams.Err, Size: terminalSize(a.streams.Err, a.getenv("TERM")),
			Color: a.getenv("NO_COLOR") == "", Verbose: a.verbose,
		})
	}
	return a.shown
}

// close takes progress off the screen.
func (a *app) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shown != nil {
		a.shown.Close()
		a.shown = nil
	}
}

// warn tells something that belongs to no task, beside live lines where there
// are some.
func (a *app) warn(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shown != nil && a.mode != console.Quiet {
		progress.Warn(a.shown, text)
		return
	}
	if a.asksJSON() {
		event := progress.Event{Time: time.Now(), State: progress.Warning, Text: text}
		_ = view.Item(a.streams.Err, view.JSON, event, nil) // where it is gone, nobody is left to tell
		return
	}
	fmt.Fprintln(a.streams.Err, text)
}

// result ends the progress and writes the command's result.
func (a *app) result(value any, text func(io.Writer) error) error {
	a.close()
	return view.Result(a.streams.Out, a.format, value, text)
}

// item is result for one of many that come one after the other. Warnings may
// still come between them; a task that is under way may not, or its live lines
// would be in their way.
func (a *app) item(value any, text func(io.Writer) error) error {
	return view.Item(a.streams.Out, a.format, value, text)
}

// projectDir returns the folder of the project that the command is about.
func (a *app) projectDir() (string, error) {
	if a.project != "" {
		return a.project, nil
	}
	return project.Find(".")
}

// dirs returns the user's folders.
func (a *app) dirs() (dirs.Dirs, error) {
	d, err := dirs.Find(a.getenv)
	if err != nil {
		return d, &fault.Error{Op: "looking for the user's folders", Kind: fault.Preflight, Err: err}
	}
	return d, nil
}

// terminalSize returns what tells the terminal's size; nil where w is no
// terminal that can show live lines.
func terminalSize(w io.Writer, kind string) func() (int, int, bool) {
	f, ok := w.(*os.File)
	if !ok || kind == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func() (int, int, bool) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		return columns, rows, err == nil && columns > 0
	}
}

// usage makes err one of the command line.
func usage(err error, hint string) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	return &fault.Error{Kind: fault.Usage, Err: err, Hint: hint}
}

// one is cobra.MaximumNArgs(1) in the words of the other errors.
func one(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("one %s is taken, not %d", what, len(args))
		}
		return nil
	}
}
