package difference

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/internal/fault"
)

// Finding is one place where two environments differ.
type Finding struct {
	// Path is of exactly one object; without fields, one environment lacks it.
	Path fieldpath.Path `json:"path"`
	A    Side           `json:"a"`
	B    Side           `json:"b"`
	// Entry is the difference that speaks of the place; empty where none does.
	Entry string `json:"entry,omitempty"`
	// Allowed says that the entry allows both values.
	Allowed bool `json:"allowed"`
	// Why says why not.
	Why string `json:"why,omitempty"`
	// Matters says why it matters that the place differs.
	Matters string `json:"matters"`
	// DerivedFrom is the object that this one was made from, and under whose
	// entry it counts.
	DerivedFrom *ObjectRef `json:"derivedFrom,omitempty"`
	// Suggestion is an entry that would allow it, but for its reason and owner;
	// nil where none can.
	Suggestion *Entry `json:"suggestion,omitempty"`
}

// Side is what one environment has.
type Side struct {
	Environment string `json:"environment"`
	Present     bool   `json:"present"`
	Value       any    `json:"value,omitempty"` // nil for a whole object, and for what is secret
	// Hash tells secret values apart for whoever has the key; empty without one.
	Hash   string `json:"hash,omitempty"`
	Secret bool   `json:"secret,omitempty"`
}

// String writes a side for people.
func (s Side) String() string {
	switch {
	case !s.Present:
		return s.Environment + " has nothing"
	case s.Hash != "":
		return s.Environment + " has a secret with the hash " + s.Hash
	case s.Secret:
		return s.Environment + " has a secret"
	case s.Value == nil:
		return s.Environment + " has it"
	}
	return s.Environment + " has " + show(s.Value)
}

// String writes the finding on one line.
func (f Finding) String() string {
	text := fmt.Sprintf("%s: %s, %s", f.Path, f.A, f.B)
	if f.Why != "" {
		text += ": " + f.Why
	}
	return text
}

// maxHash is how much of a hash is kept: enough to tell values apart, in hex.
const maxHash = 16

// secret returns a side without its value. The hash is of the place and the
// value, so that it tells nothing of the same value elsewhere.
func (s Side) secret(key []byte, path fieldpath.Path) Side {
	s.Secret = s.Present
	if s.Present && len(key) > 0 {
		raw, err := json.Marshal(s.Value)
		if err == nil {
			mac := hmac.New(sha256.New, key)
			fmt.Fprintf(mac, "%s\x00%s", path, raw)
			s.Hash = hex.EncodeToString(mac.Sum(nil))[:maxHash]
		}
	}
	s.Value = nil
	return s
}

// Undeclared returns the findings that nothing allows.
func Undeclared(findings []Finding) []Finding {
	var out []Finding
	for _, f := range findings {
		if !f.Allowed {
			out = append(out, f)
		}
	}
	return out
}

// maxShown bounds how many findings an error writes out.
const maxShown = 20

// Err returns a fault of kind Drift that names every finding that nothing
// allows, and the entry that would; nil where there is none.
func Err(findings []Finding) error {
	bad := Undeclared(findings)
	if len(bad) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d undeclared", len(bad))
	for i, f := range bad {
		if i == maxShown {
			fmt.Fprintf(&b, "\n  and %d more", len(bad)-maxShown)
			break
		}
		b.WriteString("\n  " + f.String())
		if f.Suggestion == nil {
			continue
		}
		if text, err := YAML([]Entry{*f.Suggestion}); err == nil {
			b.WriteString("\n    this entry in differences would allow it:\n      " +
				strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n      "))
		}
	}
	return &fault.Error{
		Op: "comparing environments", Kind: fault.Drift, Err: errors.New(b.String()),
		Hint: "make the environments equal, or declare the difference in kfdev.yaml with a reason and an owner",
	}
}

// YAML writes entries as they stand in kfdev.yaml.
func YAML(entries []Entry) (string, error) {
	var b strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(entries); err != nil {
		return "", err
	}
	return b.String(), encoder.Close()
}
