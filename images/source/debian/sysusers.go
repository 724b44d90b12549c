package debian

import (
	"fmt"
	"strconv"
	"strings"
)

// sysuser is a line of a sysusers.d(5) file.
type sysuser struct {
	kind               byte // u, g, m or r
	name, id           string
	gecos, home, shell string
}

// parseSysusers reads a sysusers.d(5) file.
func parseSysusers(text string) ([]sysuser, error) {
	var all []sysuser
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields, err := splitQuoted(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		kind := strings.TrimRight(fields[0], "!")
		if len(kind) != 1 || !strings.Contains("ugmr", kind) || len(fields) < 2 || len(fields) > 6 {
			return nil, fmt.Errorf("line %d: %q is not a line of sysusers.d", number, line)
		}
		for i, f := range fields {
			if strings.ContainsAny(f, "%\n") || strings.Contains(f, ":") && (kind != "u" || i != 2) {
				return nil, fmt.Errorf("line %d: %q is not supported", number, f)
			}
			if f == "-" {
				fields[i] = ""
			}
		}
		if fields[1] == "" && kind != "r" {
			return nil, fmt.Errorf("line %d: %q names nobody", number, line)
		}
		fields = append(fields, "", "", "", "")
		all = append(all, sysuser{kind[0], fields[1], fields[2], fields[3], fields[4], fields[5]})
	}
	return all, nil
}

// splitQuoted splits at white space, with double or single quotes around what
// holds some.
func splitQuoted(line string) ([]string, error) {
	var fields []string
	for line = strings.TrimLeft(line, " \t"); line != ""; line = strings.TrimLeft(line, " \t") {
		if quote := line[0]; quote == '"' || quote == '\'' {
			field, rest, ok := strings.Cut(line[1:], string(quote))
			if !ok {
				return nil, fmt.Errorf("a quote is not closed in %q", line)
			}
			fields, line = append(fields, field), rest
			continue
		}
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		fields, line = append(fields, line[:end]), line[end:]
	}
	return fields, nil
}

// apply adds what the lines ask for: given numbers first, so that none that is
// handed out meets one of them, in line order within each.
func (d *directory) apply(lines []sysuser) error {
	for _, given := range []bool{true, false} {
		for _, line := range lines {
			if (line.id != "") != given || line.kind != 'u' && line.kind != 'g' {
				continue
			}
			if err := d.create(line); err != nil {
				return fmt.Errorf("sysusers.d line for %q: %w", line.name, err)
			}
		}
	}
	for _, line := range lines {
		if line.kind != 'm' {
			continue
		}
		if d.user(line.name) < 0 {
			if err := d.create(sysuser{kind: 'u', name: line.name}); err != nil {
				return err
			}
		}
		if d.group(line.id) < 0 {
			if err := d.create(sysuser{kind: 'g', name: line.id}); err != nil {
				return err
			}
		}
		d.join(line.name, line.id)
	}
	return nil
}

func (d *directory) create(line sysuser) error {
	if line.kind == 'u' && d.user(line.name) >= 0 || line.kind == 'g' && d.group(line.name) >= 0 {
		return nil
	}
	uid, gid, err := d.numbers(line)
	if err != nil {
		return err
	}
	if line.kind == 'g' {
		d.addGroup(line.name, gid)
		return nil
	}
	if !strings.Contains(line.id, ":") {
		d.addGroup(line.name, gid)
	}
	a := account{line.name, uid, gid, line.gecos, line.home, line.shell}
	if a.home == "" {
		a.home = "/"
	}
	if a.shell == "" {
		a.shell = "/usr/sbin/nologin"
	}
	d.users = append(d.users, a)
	return nil
}

// numbers returns what the id column means: nothing, a number, or uid:gid with
// the group by number or name.
func (d *directory) numbers(line sysuser) (uid, gid int, err error) {
	if i := d.group(line.name); i >= 0 && line.id == "" {
		gid = d.groups[i].gid
		uid, err = d.free()
		return uid, gid, err
	}
	if line.id == "" {
		uid, err = d.free()
		return uid, uid, err
	}
	first, second, two := strings.Cut(line.id, ":")
	if uid, err = strconv.Atoi(first); err != nil || uid < 0 {
		return 0, 0, fmt.Errorf("id %q is not supported", line.id)
	}
	if i := d.group(line.name); !two && i >= 0 {
		return uid, d.groups[i].gid, nil
	}
	if !two {
		return uid, uid, nil
	}
	if i := d.group(second); i >= 0 {
		return uid, d.groups[i].gid, nil
	}
	if gid, err = strconv.Atoi(second); err != nil || gid < 0 {
		return 0, 0, fmt.Errorf("id %q names no group", line.id)
	}
	return uid, gid, nil
}
