package strictyaml

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong in a file.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`   // from 1; 0 where the file as a whole is meant
	Column int    `json:"column"` // from 1
	Text   string `json:"text"`
}

// String returns file:line:column: text.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Problems is everything wrong in a file, in the order of the file. It is an
// error when it is not empty; use Err.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, each := range p {
		lines[i] = each.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns p in the order of the file, or nil where there is none.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return p
}
