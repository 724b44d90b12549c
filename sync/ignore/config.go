package ignore

import (
	"os"
	"path/filepath"
	"strings"
)

// config is what is needed of git's configuration.
type config struct {
	excludesFile string // the user's own rules
	ignoreCase   bool
}

// readConfig reads the machine's and the user's configuration, in git's order,
// and of the repository's only whether case counts: which file of the machine is
// read as rules is not for a repository to say. Conditional includes are not
// followed.
func readConfig(repo *repository) config {
	home, _ := os.UserHomeDir() // without one there is no configuration in it
	xdg := os.Getenv("XDG_CONFIG_HOME")
	if xdg == "" && home != "" {
		xdg = filepath.Join(home, ".config")
	}
	var c config
	var files []string
	if system, set := os.LookupEnv("GIT_CONFIG_SYSTEM"); set {
		files = append(files, system)
	} else if os.Getenv("GIT_CONFIG_NOSYSTEM") == "" {
		files = append(files, "/etc/gitconfig")
	}
	if global, set := os.LookupEnv("GIT_CONFIG_GLOBAL"); set {
		files = append(files, global)
	} else {
		if xdg != "" {
			files = append(files, filepath.Join(xdg, "git", "config"))
		}
		if home != "" {
			files = append(files, filepath.Join(home, ".gitconfig"))
		}
	}
	set := false
	for _, f := range files {
		c.read(f, home, &set, 0)
	}
	if repo != nil {
		own := config{}
		own.ignoreCase = c.ignoreCase
		own.read(filepath.Join(repo.common, "config"), "", new(bool), maxIncludes)
		c.ignoreCase = own.ignoreCase
	}
	if !set && xdg != "" {
		c.excludesFile = filepath.Join(xdg, "git", "ignore")
	}
	return c
}

// maxIncludes is how deep git follows includes.
const maxIncludes = 10

// read takes over what a file says. One that is not there, or that can't be
// understood from some line on, says nothing from there.
func (c *config) read(file, home string, set *bool, depth int) {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return
	}
	parseConfig(string(b), func(key, value string) {
		switch key {
		case "core.excludesfile":
			c.excludesFile, *set = expand(value, filepath.Dir(file), home), true
		case "core.ignorecase":
			c.ignoreCase = isTrue(value)
		case "include.path":
			if depth < maxIncludes {
				c.read(expand(value, filepath.Dir(file), home), home, set, depth+1)
			}
		}
	})
}

// expand is a path of the configuration. git takes a relative one of an include
// from the file that it is in; of an excludes file from where it runs, for which
// there is nothing like it here.
func expand(path, dir, home string) string {
	switch {
	case path == "":
		return ""
	case path == "~" || strings.HasPrefix(path, "~/"):
		return filepath.Join(home, path[1:])
	}
	return resolve(dir, path)
}

func isTrue(value string) bool {
	switch strings.ToLower(value) {
	case "", "false", "no", "off", "0":
		return false
	}
	return true
}

// parseConfig reads the format of git-config(1) and calls set for each variable,
// with section and name in lower case. Sections with a subsection are read past. A
// variable without a value is "true".
func parseConfig(s string, set func(key, value string)) {
	section := ""
	s = strings.TrimPrefix(s, "\ufeff")
	for s != "" {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		line = strings.TrimLeft(line, " \t\r")
		if strings.HasPrefix(line, "[") {
			head, rest, ok := strings.Cut(line[1:], "]")
			if !ok {
				return
			}
			section = strings.ToLower(strings.TrimSpace(head))
			line = strings.TrimLeft(rest, " \t\r")
		}
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, has := strings.Cut(line, "=")
		if !has {
			name, value = strings.TrimRight(line, " \t\r"), "true"
		} else {
			var ok bool
			if value, s, ok = configValue(value, s); !ok {
				return
			}
		}
		set(section+"."+strings.ToLower(strings.TrimSpace(name)), value)
	}
}

// configValue reads a value, which goes on in the next line after a backslash.
func configValue(line, next string) (value, rest string, ok bool) {
	var b strings.Builder
	keep := 0 // spaces at the end that are not quoted do not count
	quoted := false
	line = strings.TrimLeft(line, " \t\r")
	for i := 0; ; i++ {
		if i == len(line) {
			return b.String()[:keep], next, !quoted
		}
		c := line[i]
		switch {
		case c == '"':
			quoted = !quoted
			keep = b.Len()
			continue
		case (c == '#' || c == ';') && !quoted:
			return b.String()[:keep], next, true
		case c == '\\' && (i+1 == len(line) || line[i+1:] == "\r"):
			line, next, _ = strings.Cut(next, "\n")
			i = -1
			continue
		case c == '\\':
			i++
			at := strings.IndexByte(`ntb"\`, line[i])
			if at < 0 {
				return "", next, false
			}
			b.WriteByte("\n\t\b\"\\"[at])
			keep = b.Len()
			continue
		}
		b.WriteByte(c)
		if quoted || c != ' ' && c != '\t' && c != '\r' {
			keep = b.Len()
		}
	}
}
