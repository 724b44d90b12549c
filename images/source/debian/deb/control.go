package deb

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// maxLine bounds one line of a control file, bytes. Debian's longest are
// dependency lists of a few tens of kilobytes.
const maxLine = 4 << 20

// Field is one field of a stanza. Value holds its further lines too, each
// after a newline and with the leading space that marks it.
type Field struct{ Name, Value string }

// Stanza is one paragraph of a control file, its fields in file order.
type Stanza []Field

// Get returns the value of the named field, in any case, or "".
func (s Stanza) Get(name string) string {
	for _, f := range s {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// String writes the stanza as it is read, each line ended, no blank line after.
func (s Stanza) String() string {
	var b strings.Builder
	for _, f := range s {
		b.WriteString(f.Name + ":")
		if f.Value != "" && !strings.HasPrefix(f.Value, "\n") {
			b.WriteByte(' ')
		}
		b.WriteString(f.Value + "\n")
	}
	return b.String()
}

// ParseStanzas reads every stanza of a control file, a Packages index or
// apt-cache's output. Comment lines are left out.
func ParseStanzas(r io.Reader) ([]Stanza, error) {
	var all []Stanza
	var at Stanza
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		switch {
		case line == "":
			if len(at) > 0 {
				all, at = append(all, at), nil
			}
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if len(at) == 0 {
				return nil, fmt.Errorf("line %d continues no field", number)
			}
			at[len(at)-1].Value += "\n" + line
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok || name == "" || strings.ContainsAny(name, " \t") {
				return nil, fmt.Errorf("line %d is not \"Field: value\"", number)
			}
			at = append(at, Field{name, strings.TrimSpace(value)})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(at) > 0 {
		all = append(all, at)
	}
	return all, nil
}

// Control returns the control stanza of the package in r. The data archive is
// not read.
func Control(r io.Reader) (Stanza, error) {
	var found Stanza
	err := Walk(r, Visitor{Control: func(t *tar.Reader) (err error) {
		found, err = ReadControl(t)
		return err
	}})
	return found, err
}

// ReadControl returns the control stanza of a control archive. One that lacks
// the package's name, version or architecture is an error.
func ReadControl(t *tar.Reader) (Stanza, error) {
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("no control file")
		}
		if err != nil {
			return nil, err
		}
		if path.Clean(header.Name) != "control" {
			continue
		}
		stanzas, err := ParseStanzas(t)
		if err != nil {
			return nil, fmt.Errorf("control: %w", err)
		}
		if len(stanzas) != 1 {
			return nil, fmt.Errorf("control holds %d stanzas, not one", len(stanzas))
		}
		for _, need := range []string{"Package", "Version", "Architecture"} {
			if stanzas[0].Get(need) == "" {
				return nil, fmt.Errorf("the control stanza has no %s", need)
			}
		}
		return stanzas[0], nil
	}
}
