// Package secret finds what must not leave a machine in an image: private keys,
// access tokens, and files that hold nothing else. Only what is nearly certain
// is told, so that what it tells is worth stopping for. A finding never holds
// the secret itself.
package secret

import (
	"bytes"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Finding is a secret's place.
type Finding struct {
	Path string `json:"path" yaml:"path"`
	Line int    `json:"line,omitempty" yaml:"line,omitempty"` // from 1; 0: the file as a whole
	Rule string `json:"rule" yaml:"rule"`
	What string `json:"what" yaml:"what"` // for people: "a private key"
}

// Detector knows the rules. It does not change, and may be used by several
// goroutines.
type Detector struct {
	contents []rule
	npm      rule
	names    []nameRule
}

// New returns a detector.
func New() *Detector { return &Detector{contents: contents(), npm: ofNPM(), names: names()} }

// Name looks at a file's name alone. The path is slash-separated.
func (d *Detector) Name(name string) (Finding, bool) {
	for _, r := range d.names {
		if r.matches(name) {
			return Finding{Path: name, Rule: r.name, What: r.what}, true
		}
	}
	return Finding{}, false
}

// The sizes of scanning, bytes.
const (
	block   = 256 << 10
	overlap = 4 << 10 // no rule matches more, see the table
)

// maxFindings bounds what is told of one file.
const maxFindings = 20

// Scanner looks through one file's content as it is written to it, line by line
// or not: a secret that lies across two writes is found, too.
type Scanner struct {
	path   string
	rules  []rule
	buffer []byte
	line   int  // of the buffer's first byte
	full   bool // too many findings
	found  []Finding
}

// Scanner returns one for the file of that path.
func (d *Detector) Scanner(name string) *Scanner {
	s := &Scanner{path: name, rules: d.contents, line: 1}
	if base := path.Base(name); base == ".npmrc" || base == ".yarnrc" {
		s.rules = append(slices.Clone(s.rules), d.npm)
	}
	return s
}

// Write takes in what comes next. It never fails.
func (s *Scanner) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && !s.full; {
		n := min(len(rest), block-len(s.buffer))
		s.buffer = append(s.buffer, rest[:n]...)
		if rest = rest[n:]; len(s.buffer) == block {
			s.look(block - overlap)
		}
	}
	return len(p), nil
}

// Findings ends the file and returns what was found, in its order.
func (s *Scanner) Findings() []Finding {
	s.look(len(s.buffer))
	return s.found
}

// look tells the matches that start before end, and forgets what is before it.
func (s *Scanner) look(end int) {
	type match struct {
		at   int
		rule rule
	}
	var matches []match
	for _, r := range s.rules {
		if !r.hinted(s.buffer) {
			continue
		}
		for _, at := range r.pattern.FindAllIndex(s.buffer, -1) {
			if at[0] < end && !r.harmless(s.buffer[at[0]:at[1]]) {
				matches = append(matches, match{at[0], r})
			}
		}
	}
	slices.SortStableFunc(matches, func(a, b match) int { return a.at - b.at })
	told := 0
	for _, m := range matches[:min(len(matches), maxFindings-len(s.found))] {
		s.line += bytes.Count(s.buffer[told:m.at], []byte("\n"))
		told = m.at
		s.found = append(s.found, Finding{Path: s.path, Line: s.line, Rule: m.rule.name, What: m.rule.what})
	}
	s.line += bytes.Count(s.buffer[told:end], []byte("\n"))
	s.full = len(s.found) == maxFindings
	s.buffer = append(s.buffer[:0], s.buffer[end:]...)
}

// String is the place, and what is there.
func (f Finding) String() string {
	place := f.Path
	if f.Line > 0 {
		place += ":" + strconv.Itoa(f.Line)
	}
	return place + ": " + f.What + " (" + f.Rule + ")"
}

// within reports whether name is the file, or ends in it: a/.aws/credentials.
func within(name, file string) bool { return name == file || strings.HasSuffix(name, "/"+file) }
