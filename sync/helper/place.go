package helper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// place is the view that a session has of a file system: the container's own,
// or that of another container below a folder in /proc.
type place struct {
	prefix string // what comes before every path; empty: nothing
	home   string // what ~ means
	work   string // what a relative path is relative to
}

// own is the view of the container that the program runs in.
func own() place {
	work, err := os.Getwd()
	if err != nil {
		work = "/"
	}
	return place{home: os.Getenv("HOME"), work: work}
}

// errHome: there is no home folder.
var errHome = errors.New("the container has no HOME that ~ could stand for")

// root returns the path under which this process reaches the folder that the
// session calls name.
func (p place) root(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", errors.New("a path has no zero bytes")
	}
	if name == "~" || strings.HasPrefix(name, "~/") {
		if p.home == "" {
			return "", errHome
		}
		name = p.home + name[1:]
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(p.work, name)
	}
	if p.prefix == "" {
		return filepath.Clean(name), nil
	}
	return p.inside(name)
}

// said is what the session is told of a path of this process.
func (p place) said(name string) string {
	if name == p.prefix {
		return "/"
	}
	return strings.TrimPrefix(name, p.prefix)
}

// maxLinks bounds the symbolic links on a path, as the kernel does.
const maxLinks = 40

// inside resolves a path as a process does whose root is the prefix: an absolute
// symbolic link leads to below the prefix, and .. never above it. What is not
// there is taken as it stands.
//
// The links can be changed while this looks at them, by processes of the same
// user in the other container. They gain nothing that way: below its root in
// /proc, this process has no rights that they lack, and above it are only the
// files of an image that holds nothing but this program.
func (p place) inside(name string) (string, error) {
	done, rest := "", name
	for links := 0; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		switch part {
		case "", ".":
			continue
		case "..":
			done = done[:max(0, strings.LastIndexByte(done, '/'))]
			continue
		}
		to, err := os.Readlink(p.prefix + done + "/" + part)
		if err != nil { // no link, or nothing there
			done += "/" + part
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many symbolic links", name)
		}
		if strings.HasPrefix(to, "/") {
			done = ""
		}
		rest = to + "/" + rest
	}
	return p.prefix + done, nil
}
