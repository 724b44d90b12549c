package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Names that take away what the layers below have (OCI image specification 1.1,
// layer.md). Others that begin with opaquePrefix mean nothing.
const (
	whiteoutPrefix = ".wh."
	opaquePrefix   = ".wh..wh."
	opaqueName     = ".wh..wh..opq"
)

// maxSeen bounds how many names a view has.
const maxSeen = 4_000_000

// Seen is one name that layers have, without its content.
type Seen struct {
	Entry

	Special bool // a device or the like, which Type does not say
}

// View is what layers have in a folder when one is put on the other.
type View struct {
	dir     string
	entries map[string]Seen // of dir and what is below it
	links   map[string]bool // what stands above it and is no folder
}

// NewView returns the view of a folder, clean and relative to the root, in which
// nothing is yet.
func NewView(dir string) *View {
	return &View{dir: dir, entries: map[string]Seen{}, links: map[string]bool{}}
}

// Put puts a layer on what is there: a tar archive, plain or compressed with
// gzip or zstd. It reads to the end.
func (v *View) Put(layer io.Reader) (err error) {
	raw := bufio.NewReaderSize(layer, 64<<10)
	plain, release, err := unpacked(raw)
	if err != nil {
		return err
	}
	defer release()
	// What a layer takes away is of those below it, wherever in it that stands.
	var gone, cleared []string
	var has []Seen
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading a layer: %w", err)
		}
		at := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		dir, base := path.Split(at)
		dir = strings.TrimSuffix(dir, "/")
		switch {
		case base == opaqueName:
			cleared = append(cleared, dir)
		case strings.HasPrefix(base, opaquePrefix):
		case strings.HasPrefix(base, whiteoutPrefix):
			gone = append(gone, path.Join(dir, strings.TrimPrefix(base, whiteoutPrefix)))
		case v.within(at) || v.over(at):
			if len(has) >= maxSeen {
				return fmt.Errorf("more than %d names in a layer", maxSeen)
			}
			has = append(has, seen(at, h))
		}
	}
	for _, at := range gone {
		v.remove(at, false)
	}
	for _, at := range cleared {
		v.remove(at, true)
	}
	for _, s := range has {
		v.put(s)
	}
	_, err = io.Copy(io.Discard, raw)
	return err
}

// unpacked is what a layer was before it was compressed.
func unpacked(raw *bufio.Reader) (plain io.Reader, release func(), err error) {
	magic, _ := raw.Peek(4) // what is shorter is told by who reads on
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}): // RFC 1952
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("reading a layer: %w", err)
		}
		return z, func() { _ = z.Close() }, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, fmt.Errorf("reading a layer: %w", err)
		}
		return z, z.Close, nil
	}
	return raw, func() {}, nil
}

// seen is what a header says.
func seen(at string, h *tar.Header) Seen {
	s := Seen{Entry: Entry{Path: at, Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid, Size: h.Size}}
	switch h.Typeflag {
	case tar.TypeDir:
		s.Type = Dir
	case tar.TypeSymlink:
		s.Type, s.Link = Symlink, h.Linkname
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		s.Special = true
	}
	return s
}

// within is true for the folder and what is below it.
func (v *View) within(at string) bool { return at == v.dir || strings.HasPrefix(at, v.dir+"/") }

// over is true for what is above the folder.
func (v *View) over(at string) bool { return at == "" || strings.HasPrefix(v.dir, at+"/") }

// put adds a name, in place of what has it.
func (v *View) put(s Seen) {
	switch old, ok := v.entries[s.Path]; {
	case v.over(s.Path) && s.Type == Dir:
		delete(v.links, s.Path)
		return
	case v.over(s.Path):
		v.remove(s.Path, false)
		v.links[s.Path] = true
		return
	case ok && old.Type == Dir && s.Type != Dir:
		v.remove(s.Path, false)
	}
	v.entries[s.Path] = s
}

// remove takes away a name and all below it, or what is below it alone.
func (v *View) remove(at string, below bool) {
	goes := func(p string) bool { return !below && p == at || at == "" || strings.HasPrefix(p, at+"/") }
	maps.DeleteFunc(v.entries, func(p string, _ Seen) bool { return goes(p) })
	maps.DeleteFunc(v.links, func(p string, _ bool) bool { return goes(p) })
}

// Below returns all that is below the folder, in path order. A folder that no
// layer names, and that has something in it, is root's.
func (v *View) Below() []Seen {
	all := maps.Clone(v.entries)
	for p := range v.entries {
		for up := path.Dir(p); strings.HasPrefix(up, v.dir+"/"); up = path.Dir(up) {
			if _, named := all[up]; named {
				break
			}
			all[up] = Seen{Entry: Entry{Path: up, Type: Dir, Mode: 0o755}}
		}
	}
	delete(all, v.dir)
	return slices.SortedFunc(maps.Values(all), func(a, b Seen) int { return strings.Compare(a.Path, b.Path) })
}

// Blocked names what stands in the way down to the folder, or in its place, and
// is no folder; "" where nothing does.
func (v *View) Blocked() string {
	for p := range v.links {
		return p // there is nothing below it that could be another one
	}
	if s, ok := v.entries[v.dir]; ok && s.Type != Dir {
		return v.dir
	}
	return ""
}
