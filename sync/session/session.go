// Package session keeps a local folder and a folder in a pod equal for as long
// as it runs. One goroutine owns all that is known of the two sides (loop.go);
// what takes time runs beside it and reports back. No timer is in the way of an
// edit: what a side says is reconciled, and sent, at once.
package session

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/ignore"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire"
	"github.com/kfdev/kfdev/sync/wire/record"
)

// Config is what a session is made of.
type Config struct {
	Name   string // the session's, for people and for its files
	Local  string // the folder on this machine, for people
	Remote string // the folder in the pod
	Target string // whose pod, for people

	Mode   reconcile.Mode
	Prefer reconcile.Preference // whose version conflicts of the first look end with
	Limits reconcile.Limits     // what may be deleted without a person's word
	// OnChange is a command that runs in the container after each batch that
	// arrived there. Empty: none.
	OnChange []string

	// State is the folder where the session keeps what both sides agreed on.
	State string
	// Rules reads what is ignored in the local folder, now.
	Rules func() (Rules, error)
	// IsRuleFile is true for paths whose change means that Rules has news.
	IsRuleFile func(path string) bool
	// Arriving is called before changes of rule files are made in the local folder,
	// and what it returns after; an error has them not made. nil: nobody wants to
	// know, and the pod may have everything.
	Arriving func(changes []tree.Change) (arrived func(), err error)
	// Open opens the local folder.
	Open func(ctx context.Context, rules Rules) (Folder, error)
	// Connect waits until there is a pod, and gets into it. It tells what it waits
	// for with say. A lost connection is made again by calling it again. What
	// trying again can't help is a Final error.
	Connect func(ctx context.Context, rules []byte, say func(text string)) (Link, error)

	Events func(Event) // takes what happens, quickly; nil: nobody wants to know
}

// Rules say what is not synced; *ignore.Rules are.
type Rules interface {
	Ignored(path string, dir bool) bool
	Bytes() []byte
	Notes() []string
	// Held is what the rule files no longer ignore, and stays ignored since the pod
	// changed them. Accept has it no longer be, once Rules is called again.
	Held() ignore.Held
	Accept() error
}

// Folder is a side of a session; *folder.Folder is one.
type Folder interface {
	endpoint.Endpoint
	wire.RuleTaker
}

// Link is the pod's side, for as long as the connection lives.
type Link interface {
	Folder
	// Pod says which container it is, for people.
	Pod() string
	// Place is another one for every container: a new one has the image's own files.
	Place() string
	// Notes say how the session got in, where people should know.
	Notes() []string
	// Done is closed when the connection has ended; Err says why then.
	Done() <-chan struct{}
	Err() error
	Run(ctx context.Context, argv []string, dir string, stdout, stderr io.Writer) (int, error)
	Traffic() record.Traffic
	Usage(ctx context.Context) (wire.Usage, error)
}

// finalError is an error that trying again does not help.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Final marks an error of Connect that trying again does not help.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return finalError{err}
}

func isFinal(err error) bool { return errors.As(err, new(finalError)) }

// Session is a session that runs.
type Session struct {
	config Config
	asks   chan ask // of other goroutines, done by the loop
	began  time.Time
	done   chan struct{} // closed when Run has returned
	usage  usage
}

// New returns a session, to be run once.
func New(c Config) *Session {
	if c.Mode == "" {
		c.Mode = reconcile.TwoWaySafe
	}
	if c.Events == nil {
		c.Events = func(Event) {}
	}
	if c.IsRuleFile == nil {
		c.IsRuleFile = func(string) bool { return false }
	}
	return &Session{config: c, asks: make(chan ask), began: time.Now(), done: make(chan struct{})}
}

// Keep says which versions a resolved conflict leaves.
type Keep string

// The versions. Both leaves the local one at the path, and puts the pod's beside
// it.
const (
	KeepLocal  Keep = "local"
	KeepRemote Keep = "remote"
	KeepBoth   Keep = "both"
)

// Status returns what is known now.
func (s *Session) Status(ctx context.Context) (Status, error) {
	var status Status
	var link Link
	err := s.ask(ctx, func(l *loop) error {
		status, link = l.status(), l.link
		return nil
	})
	if err == nil && link != nil {
		status.Helper = s.usage.of(ctx, link)
	}
	return status, err
}

// Undo brings back what the last batch that took something away took away, and
// says what that was.
func (s *Session) Undo(ctx context.Context) (Undone, error) {
	answer := make(chan undoAnswer, 1)
	if err := s.ask(ctx, func(l *loop) error { return l.undo(ctx, answer) }); err != nil {
		return Undone{}, err
	}
	select {
	case a := <-answer:
		return a.undone, a.err
	case <-ctx.Done():
		return Undone{}, ctx.Err()
	case <-s.done:
		return Undone{}, errEnded
	}
}

// Resolve ends a conflict.
func (s *Session) Resolve(ctx context.Context, path string, keep Keep) error {
	return s.ask(ctx, func(l *loop) error { return l.resolve(path, keep) })
}

// Resume lets a halted session go on.
func (s *Session) Resume(ctx context.Context, how Resumption) error {
	return s.ask(ctx, func(l *loop) error { return l.resume(how) })
}

// errEnded is what a session that does not run any more answers.
var errEnded = errors.New("the session has ended")

// ask is something for the loop to do.
type ask struct {
	do   func(*loop) error
	done chan error
}

// ask has the loop do something and returns what that came to.
func (s *Session) ask(ctx context.Context, do func(*loop) error) error {
	a := ask{do: do, done: make(chan error, 1)}
	select {
	case s.asks <- a:
	case <-s.done:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-a.done:
		return err
	case <-s.done:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}
