package layer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
)

// Format names the bytes that Write and Pack make of a tree. It changes when
// they do, and with it every layer.
const Format = "1"

// Write writes the tree as a tar archive: entries in path order, hard links
// after everything else so that what they lead to is there, times and owner
// names the same for all. Two trees of the same entries give the same bytes.
func (t *Tree) Write(ctx context.Context, w io.Writer) error {
	entries := t.Entries()
	if err := t.check(entries); err != nil {
		return err
	}
	tw := &tarWriter{w: w}
	for _, links := range []bool{false, true} {
		for _, e := range entries {
			if (e.Type == Hardlink) != links {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := tw.entry(e); err != nil {
				return fmt.Errorf("layer path %q: %w", e.Path, err)
			}
		}
	}
	return tw.end()
}

// headerOf returns the header that the entry is written with.
func headerOf(e Entry) header {
	h := header{name: e.Path, mode: unixMode(e.Mode), uid: int64(e.UID), gid: int64(e.GID)}
	switch e.Type {
	case Dir:
		h.flag, h.name = '5', e.Path+"/"
	case Symlink:
		h.flag, h.link, h.mode = '2', e.Link, 0o777
	case Hardlink:
		h.flag, h.link = '1', e.Link
	case File:
		h.flag, h.size = '0', e.Size
	case Removed:
		dir, base := path.Split(e.Path)
		h.flag, h.name = '0', dir+whiteoutPrefix+base
	}
	return h
}

func (t *tarWriter) entry(e Entry) (err error) {
	if err := t.header(headerOf(e)); err != nil || e.Type != File || e.Size == 0 {
		return err
	}
	content, err := e.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	return t.content(content, e.Size)
}

// check refuses what would unpack to something else than the tree says.
func (t *Tree) check(entries []Entry) error {
	types := make(map[string]Type, len(entries))
	for _, e := range entries {
		types[e.Path] = e.Type
	}
	for _, e := range entries {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("layer path %q: %s", e.Path, fmt.Sprintf(format, args...))
		}
		parent := path.Dir(e.Path)
		if _, there := types[parent]; parent != "." && types[parent] != Dir && (there || !t.above(parent)) {
			return fail("%q above it is no folder", parent)
		}
		if strings.HasPrefix(path.Base(e.Path), whiteoutPrefix) {
			return fail("the name means a removed file to those who unpack layers")
		}
		if strings.ContainsRune(e.Path+e.Link, 0) {
			return fail("a NUL in a name")
		}
		if e.UID < 0 || e.GID < 0 || e.Size < 0 {
			return fail("a negative owner or size")
		}
		switch e.Type {
		case Hardlink:
			if to, ok := types[e.Link]; !ok || to != File {
				return fail("a hard link to %q, which is no file of the layer", e.Link)
			}
		case Symlink:
			if e.Link == "" {
				return fail("a symlink to nothing")
			}
		case File, Dir, Removed:
		}
	}
	return nil
}

// Packed is a tree written out as a layer.
type Packed struct {
	DiffID v1.Hash // sha256 of the tar archive
	Size   int64   // of the tar archive, bytes
}

// Pack writes the tree to w as a gzip-compressed tar archive. It compresses as
// fast as it can: layers mostly travel over loopback. The compressor's version
// is pinned by go.mod, so the bytes are the same on every machine. Counter,
// when not nil, is written what goes into the archive, for progress.
func (t *Tree) Pack(ctx context.Context, w, counter io.Writer) (Packed, error) {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return Packed{}, err
	}
	sum, size := sha256.New(), new(count)
	all := []io.Writer{compressed, sum, size}
	if counter != nil {
		all = append(all, counter)
	}
	if err := errors.Join(t.Write(ctx, io.MultiWriter(all...)), compressed.Close()); err != nil {
		return Packed{}, err
	}
	return Packed{DiffID: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, Size: int64(*size)}, nil
}

type count int64

func (c *count) Write(p []byte) (int, error) {
	*c += count(len(p))
	return len(p), nil
}

// ArchiveSize is how many bytes Write writes, as far as the entries say.
func (t *Tree) ArchiveSize() int64 {
	sum := int64(2 * blockSize)
	for _, e := range t.Entries() {
		h := headerOf(e)
		sum += blockSize + h.size + padding(h.size)
		if extended := int64(len(pax(h))); extended > 0 {
			sum += blockSize + extended + padding(extended)
		}
	}
	return sum
}

// OnClose has release called when the tree is closed: for what the entries'
// Open functions read from.
func (t *Tree) OnClose(release func() error) { t.release = append(t.release, release) }

// Close lets go of what the entries' content lies in. The tree is not written
// after it.
func (t *Tree) Close() error {
	var errs []error
	for _, release := range t.release {
		errs = append(errs, release())
	}
	t.release = nil
	return errors.Join(errs...)
}
