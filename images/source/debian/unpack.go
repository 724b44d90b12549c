package debian

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/source/debian/deb"
)

// mergedFolders are the folders at the root that Debian has as links into /usr
// since the merge (what the package usr-is-merged checks, on amd64).
func mergedFolders() []string { return []string{"bin", "lib", "lib64", "sbin"} }

// The owners that Debian assigns statically are 0 to 99 and 65534 (Policy
// 9.2.2); only these mean the same on every machine.
const (
	lastStaticID = 99
	nobodyID     = 65534
)

// unpacker gathers the content of packages.
type unpacker struct {
	spool   *spool
	entries map[string]layer.Entry
	owners  map[string]string // path of what is not a folder → its package
	links   map[string]string // path of a hard link → what it links to
	control map[string]deb.Stanza
	at      string // the package at hand
}

func newUnpacker(s *spool) *unpacker {
	return &unpacker{
		spool: s, entries: map[string]layer.Entry{}, owners: map[string]string{},
		links: map[string]string{}, control: map[string]deb.Stanza{},
	}
}

// add unpacks one package.
func (u *unpacker) add(r io.Reader) error {
	return deb.Walk(r, deb.Visitor{
		Control: func(t *tar.Reader) error {
			stanza, err := deb.ReadControl(t)
			if err != nil {
				return err
			}
			u.at = stanza.Get("Package")
			u.control[u.at] = stanza
			return nil
		},
		Data: u.data,
	})
}

// data adds a data archive.
func (u *unpacker) data(r *tar.Reader) error {
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := cleanPath(header.Name)
		if err == nil && name != "." {
			err = u.entry(name, header, r)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", header.Name, err)
		}
	}
}

// cleanPath returns an archive's path relative to the root, and refuses one
// that could lead out of it.
func cleanPath(name string) (string, error) {
	if strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) || slices.Contains(strings.Split(name, "/"), "..") || name == "" {
		return "", errors.New("is not a path below the root")
	}
	return path.Clean(name), nil
}

// merge moves a path into /usr where a merged Debian has it there.
func merge(name string) string {
	first, _, _ := strings.Cut(name, "/")
	if slices.Contains(mergedFolders(), first) {
		return "usr/" + name
	}
	return name
}

func (u *unpacker) entry(name string, header *tar.Header, content io.Reader) error {
	e := layer.Entry{
		Path: merge(name), UID: header.Uid, GID: header.Gid,
		Mode: header.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky),
	}
	if !static(e.UID) || !static(e.GID) {
		return fmt.Errorf("belongs to %d:%d, which Debian does not assign statically", e.UID, e.GID)
	}
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "SCHILY.xattr.") {
			return errors.New("has extended attributes, which layers do not carry")
		}
	}
	switch header.Typeflag {
	case tar.TypeDir:
		e.Type = layer.Dir
	case tar.TypeSymlink:
		if slices.Contains(mergedFolders(), name) {
			return nil // the merge link itself, which every layer gets
		}
		e.Type, e.Mode, e.Link = layer.Symlink, 0o777, header.Linkname
	case tar.TypeReg:
		e.Type = layer.File
		var err error
		if e.Size, e.Open, err = u.spool.add(content); err != nil {
			return err
		}
	case tar.TypeLink:
		target, err := cleanPath(header.Linkname)
		if err != nil {
			return fmt.Errorf("links to %q, which %w", header.Linkname, err)
		}
		e.Type = layer.Hardlink
		e.Link = merge(target)
	default:
		return fmt.Errorf("is of type %q, which packages do not hold", header.Typeflag)
	}
	return u.put(e)
}

func static(id int) bool { return id >= 0 && (id <= lastStaticID || id == nobodyID) }

// put adds an entry of the package at hand, by dpkg's rules for a path that
// several packages hold: folders are shared, a file goes to the package whose
// Replaces names the other.
func (u *unpacker) put(e layer.Entry) error {
	old, taken := u.entries[e.Path]
	switch {
	case !taken:
	case old.Type == layer.Dir && e.Type == layer.Dir:
		// The more particular one counts, so that the order of packages does not.
		if old.Mode != 0o755 || old.UID != 0 || old.GID != 0 {
			return nil
		}
	case old.Type == layer.Symlink && e.Type == layer.Symlink && old.Link == e.Link:
		return nil
	case old.Type == layer.Dir || e.Type == layer.Dir:
		return fmt.Errorf("is a folder in one of %s and %s and not in the other", u.owners[e.Path], u.at)
	default:
		other := u.owners[e.Path]
		if u.replaces(other, u.at) {
			return nil
		}
		if !u.replaces(u.at, other) {
			return fmt.Errorf("is in %s too", other)
		}
	}
	delete(u.links, e.Path)
	u.entries[e.Path] = e
	u.owners[e.Path] = u.at
	if e.Type == layer.Hardlink {
		u.links[e.Path] = e.Link
	}
	return nil
}

// replaces reports whether package a may take over the files of package b.
func (u *unpacker) replaces(a, b string) bool {
	groups, err := deb.ParseRelations(u.control[a].Get("Replaces"))
	if err != nil {
		return false
	}
	for _, group := range groups {
		if group[0].Name == b && group[0].Allows(u.control[b].Get("Version")) {
			return true
		}
	}
	return false
}

// finish leaves out what the filter says, and turns each set of hard links
// into one file, first in path order, and links to it.
func (u *unpacker) finish(f filter) error {
	sets := map[string][]string{} // the file → every path of it
	for name := range u.links {
		file, err := u.linked(name)
		if err != nil {
			return err
		}
		sets[file] = append(sets[file], name)
	}
	for file, names := range sets {
		names = append(names, file)
		names = slices.DeleteFunc(names, f.excludes)
		slices.Sort(names)
		content := u.entries[file]
		for i, name := range names {
			e := content
			e.Path = name
			if i > 0 {
				e.Type, e.Link, e.Size, e.Open = layer.Hardlink, names[0], 0, nil
			}
			u.entries[name] = e
		}
	}
	maps.DeleteFunc(u.entries, func(name string, _ layer.Entry) bool { return f.excludes(name) })
	return nil
}

// linked follows a hard link to the file it is a name of.
func (u *unpacker) linked(name string) (string, error) {
	at := name
	for range len(u.links) {
		at = u.entries[at].Link
		switch e, ok := u.entries[at]; {
		case !ok || e.Type != layer.File && e.Type != layer.Hardlink:
			return "", fmt.Errorf("%q: hard link to %q, which is not a file of the layer", name, u.entries[name].Link)
		case e.Type == layer.File:
			return at, nil
		}
	}
	return "", fmt.Errorf("%q: hard link to %q, which is not a file of the layer", name, u.entries[name].Link)
}

// text reads a file that was unpacked.
func (u *unpacker) text(name string) ([]byte, error) {
	if u.entries[name].Type == layer.Hardlink {
		file, err := u.linked(name)
		if err != nil {
			return nil, err
		}
		name = file
	}
	e, ok := u.entries[name]
	if !ok || e.Type != layer.File {
		return nil, fmt.Errorf("no package of the layer holds the file /%s", name)
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}

// under returns the paths of the files below a folder that end in suffix, sorted.
func (u *unpacker) under(folder, suffix string) []string {
	var names []string
	for name, e := range u.entries {
		if strings.HasPrefix(name, folder+"/") && strings.HasSuffix(name, suffix) && e.Type != layer.Dir {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
