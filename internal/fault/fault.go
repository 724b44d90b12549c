// Package fault is kfdev's error type: what was being done, to what, why it
// failed, and the way out. Every error that reaches a person is one, and its
// Kind is mapped to an exit code in exactly one place, ExitCode.
package fault

import (
	"context"
	"errors"
	"strings"
)

// Kind says how a failure is to be treated, and so which exit code it ends in.
type Kind int

// The kinds of failure. The numbers are not the exit codes; see ExitCode.
const (
	Failure   Kind = iota // anything that has no kind of its own
	Usage                 // the command line or a file that a person wrote is wrong
	Partial               // some of what was asked for is ready, some is not
	Preflight             // the machine, or what it has, does not meet what is needed
	NotFound              // what was named does not exist
	Drift                 // live state or a lock differs from what was declared
	Timeout               // what was waited for did not come in time
	Gate                  // a gate refused
	Canceled              // the person interrupted
)

// Error is a failure with what a person needs to act on it.
type Error struct {
	Op      string // what was being done, a gerund: "reading the lock"
	Subject string // to what: a file with its line, an image, an object
	Kind    Kind
	Hint    string // the way out, one sentence or a command; empty when there is none to give
	Err     error  // the cause
}

// Error renders operation, subject and cause on one line, without the hint.
func (e *Error) Error() string {
	var parts []string
	for _, s := range []string{e.Op, e.Subject} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns the hints along err's chain, outermost first, each once.
func Hint(err error) []string {
	var hints []string
	seen := map[string]bool{}
	walk(err, func(e *Error) {
		if e.Hint != "" && !seen[e.Hint] {
			seen[e.Hint] = true
			hints = append(hints, e.Hint)
		}
	})
	return hints
}

// KindOf returns the first kind other than Failure along err's chain. A
// context's end counts as Canceled or Timeout where nothing else was said.
func KindOf(err error) Kind {
	kind := Failure
	walk(err, func(e *Error) {
		if kind == Failure {
			kind = e.Kind
		}
	})
	switch {
	case kind != Failure:
		return kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Failure
}

// ExitCode maps err to the exit code that every command documents: 0 ok,
// 1 failure, 2 usage, 3 partly ready, 4 preflight not met, 5 not found,
// 6 drift or undeclared difference, 7 timeout, 8 gate refused, 130 interrupted.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	switch KindOf(err) {
	case Usage:
		return 2
	case Partial:
		return 3
	case Preflight:
		return 4
	case NotFound:
		return 5
	case Drift:
		return 6
	case Timeout:
		return 7
	case Gate:
		return 8
	case Canceled:
		return 130
	case Failure:
	}
	return 1
}

// walk visits every *Error in err's tree, outermost first.
func walk(err error, visit func(*Error)) {
	if err == nil {
		return
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // this is the walk itself
		visit(e)
	}
	switch u := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		walk(u.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, each := range u.Unwrap() {
			walk(each, visit)
		}
	}
}
