package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"unicode"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/endpoint"
)

// failure is an error on its way to the other side: what it is, and what it
// says. The zero value is no error.
type failure struct {
	Code    failureCode `cbor:"1,keyasint,omitempty"`
	Text    string      `cbor:"2,keyasint,omitempty"`
	Op      string      `cbor:"3,keyasint,omitempty"`
	Subject string      `cbor:"4,keyasint,omitempty"`
	Kind    uint8       `cbor:"5,keyasint,omitempty"` // fault.Kind
	Hint    string      `cbor:"6,keyasint,omitempty"`
}

// failureCode says which error it is for errors.Is.
type failureCode uint8

// The codes. The numbers are part of the protocol.
const (
	codeOther failureCode = iota
	codeChanged
	codeRefused
	codeRescan
	codeRootGone
	codeCanceled
	codeDeadline
	codeNotExist
	codeExist
	codePermission
	codeNoSpace
	codeReadOnly
	codeProtocol
	codeStays
)

// meaning is the error that a code stands for; nil for codeOther and for codes
// that are not known.
func (c failureCode) meaning() error {
	switch c {
	case codeChanged:
		return endpoint.ErrChanged
	case codeRefused:
		return endpoint.ErrRefused
	case codeRescan:
		return endpoint.ErrRescan
	case codeRootGone:
		return endpoint.ErrRootGone
	case codeCanceled:
		return context.Canceled
	case codeDeadline:
		return context.DeadlineExceeded
	case codeNotExist:
		return fs.ErrNotExist
	case codeExist:
		return fs.ErrExist
	case codePermission:
		return fs.ErrPermission
	case codeNoSpace:
		return syscall.ENOSPC
	case codeReadOnly:
		return syscall.EROFS
	case codeProtocol:
		return ErrProtocol
	case codeStays:
		return endpoint.ErrStays
	default:
		return nil
	}
}

// failureOf puts an error into its form for the wire.
func failureOf(err error) failure {
	if err == nil {
		return failure{}
	}
	f := failure{Text: clean(err.Error(), 4<<10)}
	for c := codeChanged; c <= codeProtocol; c++ {
		if errors.Is(err, c.meaning()) {
			f.Code = c
			break
		}
	}
	if errors.Is(err, endpoint.ErrStays) { // which is an ErrRefused, too
		f.Code = codeStays
	}
	var known *fault.Error
	if errors.As(err, &known) {
		f.Op, f.Subject, f.Kind = clean(known.Op, 256), clean(known.Subject, 4<<10), uint8(fault.KindOf(err)) //nolint:gosec // kinds are few
		f.Hint = clean(strings.Join(fault.Hint(err), " "), 4<<10)
		if known.Err != nil {
			f.Text = clean(known.Err.Error(), 4<<10)
		}
	}
	if f.Text == "" {
		f.Text = "failed"
	}
	return f
}

// err is the error that crossed. Its text is what the other side said, without
// anything that could play with a terminal.
func (f failure) err() error {
	if f == (failure{}) {
		return nil
	}
	text := clean(f.Text, 4<<10)
	var err error = &remoteError{text: text, meaning: f.Code.meaning()}
	if f.Op != "" || f.Hint != "" || f.Kind != 0 {
		kind := fault.Kind(f.Kind)
		if kind > fault.Canceled {
			kind = fault.Failure
		}
		err = &fault.Error{Op: clean(f.Op, 256), Subject: clean(f.Subject, 4<<10), Kind: kind, Hint: clean(f.Hint, 4<<10), Err: err}
	}
	return err
}

// remoteError is an error of the other side.
type remoteError struct {
	text    string
	meaning error
}

// Error is what the other side said.
func (e *remoteError) Error() string { return e.text }

// Unwrap is which error it was, where that is known.
func (e *remoteError) Unwrap() error { return e.meaning }

// clean is text of the other side that may be shown to people: on one line,
// without control characters, and not longer than limit bytes.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}

// unexpected is the error for a message that is not allowed where it came.
func unexpected(k kind, where string) error {
	return protocol("a message of kind %d %s", k, where)
}

// describe adds to a connection's end what was being done.
func describe(doing string, err error) error { return fmt.Errorf("%s: %w", doing, err) }
