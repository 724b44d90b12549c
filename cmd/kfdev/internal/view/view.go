// Package view writes the results and the errors of commands: for people, or
// as JSON or YAML for programs.
package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// Format is how a result is written.
type Format string

// The formats.
const (
	Text Format = "text"
	JSON Format = "json"
	YAML Format = "yaml"
)

// Formats returns every format, for flags.
func Formats() []Format { return []Format{Text, JSON, YAML} }

// ParseFormat reads a format.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("%q is no output format: one of %v is", s, Formats())
}

// Result writes a command's result: value as JSON or YAML, by its json tags,
// or what text writes.
func Result(w io.Writer, format Format, value any, text func(io.Writer) error) error {
	switch format {
	case JSON:
		return writeJSON(w, value)
	case YAML:
		data, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	default:
		return text(w)
	}
}

// Item writes one of many results that come one after the other: JSON on one
// line, YAML as a document of its own.
func Item(w io.Writer, format Format, value any, text func(io.Writer) error) error {
	switch format {
	case JSON:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(value)
	case YAML:
		data, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = w.Write(append([]byte("---\n"), data...))
		return err
	default:
		return text(w)
	}
}

func writeJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// Failure is an error as programs see it: the last of the events that a
// command writes as JSON.
type Failure struct {
	Time     time.Time            `json:"time"`
	State    string               `json:"state"` // always error
	Error    string               `json:"error"`
	Kind     string               `json:"kind"`
	ExitCode int                  `json:"exitCode"`
	Hints    []string             `json:"hints,omitempty"`
	Problems []strictyaml.Problem `json:"problems,omitempty"` // of a file, each with its place
}

// ErrorEvent writes a command's error and its hints on one line; the exit code
// is what the command will end in.
func ErrorEvent(w io.Writer, err error, exitCode int) error {
	f := Failure{Time: time.Now(), State: "error", Error: err.Error(), Kind: kindName(exitCode), ExitCode: exitCode, Hints: fault.Hint(err)}
	var problems strictyaml.Problems
	if errors.As(err, &problems) {
		f.Problems = problems
	}
	return Item(w, JSON, f, nil)
}

// ErrorText writes a command's error for people: its first line behind
// "error:" and the others, such as the problems of a file, on lines of their
// own, so that editors find the places; then its hints.
func ErrorText(w io.Writer, err error) error {
	message := err.Error()
	var problems strictyaml.Problems
	if errors.As(err, &problems) && len(problems) > 1 {
		head := strings.TrimSuffix(message, problems.Error())
		message = fmt.Sprintf("%s%d problems\n%s", head, len(problems), problems.Error())
	}
	var out strings.Builder
	fmt.Fprintf(&out, "error: %s\n", strings.TrimRight(message, "\n"))
	for _, hint := range fault.Hint(err) {
		fmt.Fprintf(&out, "hint: %s\n", hint)
	}
	_, werr := io.WriteString(w, out.String())
	return werr
}

// kindName names what an exit code means, for programs.
func kindName(exitCode int) string {
	switch exitCode {
	case 2:
		return "usage"
	case 3:
		return "partly-ready"
	case 4:
		return "preflight"
	case 5:
		return "not-found"
	case 6:
		return "drift"
	case 7:
		return "timeout"
	case 8:
		return "gate"
	case 130:
		return "interrupted"
	}
	return "failure"
}
