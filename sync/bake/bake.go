// Package bake makes one image layer of the folder that a sync session keeps
// equal to one in a pod: what is synced, and nothing else, so that the same
// tree gives the same bytes on every machine. What the image below has of it and
// the sync has deleted, the layer takes away. Secrets in it stop it.
package bake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/bake/secret"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/tree"
)

// Options say what is baked.
type Options struct {
	// Root is the folder on this machine.
	Root string
	// Ignored says which paths are not synced; it is asked about folders before
	// what is in them.
	Ignored func(path string, dir bool) bool
	// Remote is the folder's place in the image, from the root.
	Remote string
	// UID and GID own all of it. Everybody may read it; see Collect.
	UID, GID int
	// AllowSecrets are paths below Root, of files or folders, that may hold
	// secrets.
	AllowSecrets []string
	// Image is what the image that the layer goes on has below the folder: what
	// of it the sync has deleted, the layer takes away.
	Image []layer.Seen
	// Mode is the session's.
	Mode reconcile.Mode
	// Pod is what the pod has in the folder, which must be what is here; nil where
	// nobody knows.
	Pod *tree.Tree
}

// Collected is a folder, ready to be written as a layer.
type Collected struct {
	Tree  *layer.Tree // to be closed
	Files int
	Bytes int64    // of all files
	Notes []string // for people: what is not part of it
}

// Collect reads the folder. Times are one and the same in every layer, files
// may be read by everybody (0644, and 0755 where their owner may execute them,
// the one mode bit that is synced), and so may folders, so that the tree can be
// used by whichever user the image runs as. Symbolic links that lead out of the
// folder, devices and the like are not synced, and not baked.
//
// What the folder here and the pod have not alike is a fault of kind Drift.
// Secrets that were not named are a fault of kind Gate around Secrets. A file
// that changes until it is written to the layer fails the writing.
func Collect(ctx context.Context, o Options) (Collected, error) {
	root, err := os.OpenRoot(o.Root)
	if err != nil {
		return Collected{}, &fault.Error{Op: "baking", Subject: o.Root, Err: err}
	}
	c := &collector{Options: o, root: root, at: strings.TrimPrefix(path.Clean(o.Remote), "/"), detector: secret.New()}
	c.out.Tree = &layer.Tree{}
	c.out.Tree.Beneath(c.at)
	c.out.Tree.OnClose(root.Close)
	err = c.folder(ctx, ".")
	if err == nil {
		err = c.secretsFault()
	}
	if err == nil {
		err = c.differs()
	}
	if err == nil {
		err = c.removed()
	}
	if err != nil {
		return Collected{}, errors.Join(&fault.Error{Op: "baking", Subject: o.Root, Err: err}, c.out.Tree.Close())
	}
	return c.out, nil
}

type collector struct {
	Options
	root     *os.Root
	at       string // Remote without its leading slash
	detector *secret.Detector
	secrets  Secrets
	used     []string // of AllowSecrets
	leftOut  []string // what is here and can't be synced
	others   []string // what is something else in the pod
	out      Collected
}

// folder takes in a folder and all that is synced of what is in it.
func (c *collector) folder(ctx context.Context, name string) error {
	e := c.entry(name, layer.Dir, 0o755)
	if !c.ran(name, entryOf(e)) {
		return nil
	}
	if err := c.out.Tree.Add(e); err != nil {
		return err
	}
	entries, err := fs.ReadDir(c.root.FS(), name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		below := path.Join(name, e.Name())
		if c.Ignored != nil && c.Ignored(below, e.IsDir()) {
			continue
		}
		if strings.HasPrefix(e.Name(), ".wh.") {
			return fmt.Errorf("%s: in an image this name means that a file is removed: rename it, or have it ignored", below)
		}
		if err := c.one(ctx, below, e); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) one(ctx context.Context, name string, e fs.DirEntry) error {
	switch {
	case e.IsDir():
		return c.folder(ctx, name)
	case e.Type()&fs.ModeSymlink != 0:
		return c.link(name)
	case e.Type().IsRegular():
		return c.file(name)
	default:
		c.leave(name, "is no file, folder or link")
		return nil
	}
}

func (c *collector) entry(name string, kind layer.Type, mode fs.FileMode) layer.Entry {
	return layer.Entry{Path: path.Join(c.at, name), Type: kind, Mode: mode, UID: c.UID, GID: c.GID}
}

// link takes in a symbolic link that stays in the folder.
func (c *collector) link(name string) error {
	target, err := c.root.Readlink(name)
	if err != nil {
		return err
	}
	if leadsOut(name, target) {
		c.leave(name, "leads out of the folder")
		return nil
	}
	e := c.entry(name, layer.Symlink, 0o777)
	e.Link = target
	if !c.ran(name, entryOf(e)) {
		return nil
	}
	return c.out.Tree.Add(e)
}

// leadsOut is true for a link out of the folder.
func leadsOut(name, target string) bool {
	end := path.Join(path.Dir(name), target)
	return path.IsAbs(target) || end == ".." || strings.HasPrefix(end, "../")
}

// file reads a file once, for secrets and its digest, and has the writing of
// the layer read it again and compare.
func (c *collector) file(name string) (err error) {
	f, err := c.root.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sum, scan := sha256.New(), c.detector.Scanner(name)
	size, err := io.Copy(io.MultiWriter(sum, scan), f)
	if err != nil {
		return err
	}
	if !c.ran(name, tree.Entry{Kind: tree.File, Size: size, Digest: tree.Digest(sum.Sum(nil))}) {
		return nil
	}
	found := scan.Findings()
	if byName, is := c.detector.Name(name); is {
		found = append([]secret.Finding{byName}, found...)
	}
	if len(found) > 0 && !c.allowed(name) {
		c.secrets = append(c.secrets, found...)
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	e := c.entry(name, layer.File, mode)
	e.Size = size
	e.Open = func() (io.ReadCloser, error) { return c.again(name, sum.Sum(nil)) }
	c.out.Files++
	c.out.Bytes += size
	return c.out.Tree.Add(e)
}

// again opens a file whose content must be what it was.
func (c *collector) again(name string, want []byte) (io.ReadCloser, error) {
	f, err := c.root.Open(name)
	if err != nil {
		return nil, err
	}
	return &same{File: f, name: name, sum: sha256.New(), want: want}, nil
}

// same reads a file and fails at its end unless it is what it was.
type same struct {
	*os.File
	name string
	sum  hash.Hash
	want []byte
}

// Read reads, and compares at the end.
func (s *same) Read(p []byte) (int, error) {
	n, err := s.File.Read(p)
	s.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && !bytes.Equal(s.sum.Sum(nil), s.want) {
		return n, fmt.Errorf("%s changed while it was baked: try again when nothing writes to the folder", s.name)
	}
	return n, err
}

// allowed reports whether a person named the file, or a folder it is in.
func (c *collector) allowed(name string) bool {
	i := slices.IndexFunc(c.AllowSecrets, func(a string) bool {
		a = path.Clean(a)
		return a == name || strings.HasPrefix(name, a+"/")
	})
	if i >= 0 && !slices.Contains(c.used, c.AllowSecrets[i]) {
		c.used = append(c.used, c.AllowSecrets[i])
	}
	return i >= 0
}

func (c *collector) secretsFault() error {
	for _, a := range c.AllowSecrets {
		if !slices.Contains(c.used, a) {
			return &fault.Error{
				Kind: fault.Usage, Subject: a, Err: errors.New("no secret is in it that would have to be allowed"),
				Hint: "name paths as the error about secrets has them, relative to the folder",
			}
		}
	}
	if len(c.secrets) == 0 {
		return nil
	}
	return &fault.Error{
		Kind: fault.Gate, Err: c.secrets,
		Hint: "an image is for many: take secrets out of the folder, or have them ignored (.gitignore, .kfdevignore); one that is meant to be in it, or is none, is named with --allow-secret PATH",
	}
}

// Secrets are what was found and not named, as an error.
type Secrets []secret.Finding

// maxTold bounds how many secrets one error lists.
const maxTold = 20

// Error lists where they are, one on a line, and never what they are.
func (s Secrets) Error() string {
	lines := make([]string, 0, len(s))
	for i, f := range s {
		if i == maxTold {
			lines = append(lines, fmt.Sprintf("and %d more", len(s)-i))
			break
		}
		lines = append(lines, f.String())
	}
	return "secrets in the folder:\n" + strings.Join(lines, "\n")
}
