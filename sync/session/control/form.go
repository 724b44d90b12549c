package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/session"
)

// Limits of what the two sides read, bytes.
const (
	maxRequest = 64 << 10
	maxAnswer  = 64 << 20 // of the status of a session with very many conflicts
	maxEvent   = 1 << 20
)

// resolveRequest is what /resolve takes. Names of files may be of any bytes,
// which text in JSON may not.
type resolveRequest struct {
	Path []byte       `json:"path"`
	Keep session.Keep `json:"keep"`
}

// resumeRequest is what /resume takes.
type resumeRequest struct {
	How session.Resumption `json:"how"`
}

// failure is an error on its way to another process, which ends in the same exit
// code there.
type failure struct {
	Op      string   `json:"op,omitempty"`
	Subject string   `json:"subject,omitempty"`
	Error   string   `json:"error"`
	Kind    string   `json:"kind,omitempty"`
	Hints   []string `json:"hints,omitempty"`
}

// kinds are the names of the kinds of failures; Failure has none.
func kinds() map[fault.Kind]string {
	return map[fault.Kind]string{
		fault.Usage: "usage", fault.Partial: "partial", fault.Preflight: "preflight", fault.NotFound: "not-found",
		fault.Drift: "drift", fault.Timeout: "timeout", fault.Gate: "gate", fault.Canceled: "canceled",
	}
}

func failureOf(err error) failure {
	f := failure{Error: err.Error(), Kind: kinds()[fault.KindOf(err)], Hints: fault.Hint(err)}
	if e, ok := err.(*fault.Error); ok && e.Err != nil { //nolint:errorlint // what is outermost is what is taken apart
		f.Op, f.Subject, f.Error = e.Op, e.Subject, e.Err.Error()
	}
	return f
}

// fault is the error again.
func (f failure) fault() error {
	e := &fault.Error{Op: f.Op, Subject: f.Subject, Hint: strings.Join(f.Hints, "; "), Err: errors.New(f.Error)}
	for kind, name := range kinds() {
		if name == f.Kind {
			e.Kind = kind
		}
	}
	return e
}

// decode reads one JSON value and nothing else. Strict refuses fields that are
// not known.
func decode(r io.Reader, limit int64, strict bool, into any) error {
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return err
	}
	if int64(len(raw)) > limit {
		return fmt.Errorf("more than %d bytes", limit)
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the value")
	}
	return nil
}

// decodeResume reads what /resume takes.
func decodeResume(r io.Reader) (resumeRequest, error) {
	var q resumeRequest
	err := decode(r, maxRequest, true, &q)
	if err == nil && !slices.Contains(session.Resumptions(), q.How) {
		err = fmt.Errorf("%q is no way to go on; there are %s", q.How, session.Resumptions())
	}
	if err != nil {
		return q, &fault.Error{Op: "reading the request", Kind: fault.Usage, Err: err}
	}
	return q, nil
}

// decodeResolve reads what /resolve takes.
func decodeResolve(r io.Reader) (resolveRequest, error) {
	var q resolveRequest
	if err := decode(r, maxRequest, true, &q); err != nil {
		return q, &fault.Error{Op: "reading the request", Kind: fault.Usage, Err: err}
	}
	switch q.Keep {
	case session.KeepLocal, session.KeepRemote, session.KeepBoth:
	default:
		return q, &fault.Error{Op: "reading the request", Kind: fault.Usage, Err: fmt.Errorf("%q is no version to keep; there are local, remote and both", q.Keep)}
	}
	if len(q.Path) == 0 {
		return q, &fault.Error{Op: "reading the request", Kind: fault.Usage, Err: errors.New("it names no path")}
	}
	return q, nil
}
