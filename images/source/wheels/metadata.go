package wheels

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

// script is one console or gui script of a distribution.
type script struct {
	name   string // file name in bin
	module string
	attr   string // dotted, within the module
}

var (
	scriptName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_. -]*$`)
	objectRef  = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)\s*:\s*([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)\s*(?:\[[^\]]*\])?$`)
)

// parseEntryPoints reads the scripts of an entry_points.txt (entry points
// specification: the ini file that Python's configparser reads with "=" alone),
// sorted by name. Other groups are passed over.
func parseEntryPoints(data []byte) ([]script, error) {
	var scripts []script
	seen := map[string]bool{}
	group := ""
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxText)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' && line[len(line)-1] == ']' {
			group = strings.TrimSpace(line[1 : len(line)-1])
			continue
		}
		if group != "console_scripts" && group != "gui_scripts" {
			continue
		}
		s, err := parseScript(line)
		if err != nil {
			return nil, fmt.Errorf("entry_points.txt:%d: %w", n, err)
		}
		if seen[s.name] {
			return nil, fmt.Errorf("entry_points.txt:%d: the script %q comes twice", n, s.name)
		}
		seen[s.name] = true
		scripts = append(scripts, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("entry_points.txt: %w", err)
	}
	slices.SortFunc(scripts, func(a, b script) int { return strings.Compare(a.name, b.name) })
	return scripts, nil
}

func parseScript(line string) (script, error) {
	name, target, ok := strings.Cut(line, "=")
	name, target = strings.TrimSpace(name), strings.TrimSpace(target)
	ref := objectRef.FindStringSubmatch(target)
	switch {
	case !ok || ref == nil:
		return script{}, fmt.Errorf("%q is not name = module:function", line)
	case !scriptName.MatchString(name):
		return script{}, fmt.Errorf("%q is not a script's name", name)
	}
	return script{name: name, module: ref[1], attr: ref[2]}, nil
}

// text returns the script's file for an interpreter.
func (s script) text(python string) []byte {
	first, _, _ := strings.Cut(s.attr, ".")
	return fmt.Appendf(nil, "#!%s\nimport sys\n\nfrom %s import %s\n\nif __name__ == \"__main__\":\n    sys.exit(%s())\n",
		python, s.module, first, s.attr)
}

// checkIdentity compares a wheel's METADATA and WHEEL with what the lock says
// it is.
func checkIdentity(metadata, wheel []byte, name, version string) error {
	fields, err := headers(metadata)
	if err != nil {
		return fmt.Errorf("METADATA: %w", err)
	}
	if got := fields.Get("Name"); NormalizeName(got) != name {
		return fmt.Errorf("METADATA names %q and the lock %q", got, name)
	}
	if got := fields.Get("Version"); got != version && normalizeVersion(got) != normalizeVersion(version) {
		return fmt.Errorf("METADATA has version %q and the lock %q", got, version)
	}
	fields, err = headers(wheel)
	if err != nil {
		return fmt.Errorf("WHEEL: %w", err)
	}
	if got := fields.Get("Wheel-Version"); !strings.HasPrefix(got, "1.") {
		return fmt.Errorf("WHEEL has Wheel-Version %q; only 1.x is known", got)
	}
	return nil
}

// headers reads the e-mail style fields before a file's first empty line.
func headers(data []byte) (textproto.MIMEHeader, error) {
	fields := textproto.MIMEHeader{}
	for line := range bytes.Lines(data) {
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		if text[0] == ' ' || text[0] == '\t' {
			continue // the rest of a field whose first line is enough here
		}
		key, value, ok := strings.Cut(text, ":")
		if !ok {
			return nil, fmt.Errorf("%.80q is not a field", text)
		}
		fields.Add(key, strings.TrimSpace(value))
	}
	return fields, nil
}

// normalizeVersion makes the spellings alike that one release has in file names
// and in metadata: a local part after "_" or "+", letters' case, separators.
func normalizeVersion(v string) string {
	return strings.ToLower(strings.NewReplacer("_", "+", "-", ".").Replace(v))
}

// record is a RECORD: path in the archive to its row's hash and size.
type record map[string][2]string

// parseRecord reads a RECORD (recording installed projects: CSV of path, hash,
// size).
func parseRecord(data []byte) (record, error) {
	reader := csv.NewReader(bytes.NewReader(data))
	reader.FieldsPerRecord = -1
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("RECORD: %w", err)
	}
	out := make(record, len(rows))
	for _, row := range rows {
		if len(row) != 3 {
			return nil, fmt.Errorf("RECORD: a row of %d fields", len(row))
		}
		out[row[0]] = [2]string{row[1], row[2]}
	}
	return out, nil
}

// writeRecord writes installed rows, sorted, with the RECORD's own last.
func writeRecord(rows [][3]string, self string) ([]byte, error) {
	sorted := slices.Clone(rows)
	slices.SortFunc(sorted, func(a, b [3]string) int { return strings.Compare(a[0], b[0]) })
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	for _, row := range sorted {
		if err := w.Write(row[:]); err != nil {
			return nil, err
		}
	}
	err := w.Write([]string{self, "", ""})
	w.Flush()
	return b.Bytes(), errors.Join(err, w.Error())
}
