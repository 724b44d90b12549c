package folder

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

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder/beneath"
	"github.com/kfdev/kfdev/sync/tree"
)

// stage makes ready what the changes bring. What fails for one change is its
// outcome; an error is one for all.
func (a *apply) stage(ctx context.Context, from endpoint.Fetcher) error {
	sources := a.sources()
	var wants []endpoint.Want
	var index []int
	for i, c := range a.changes {
		o := &a.outcomes[i]
		if o.Err != nil || o.Done || c.To.Kind != tree.File && c.To.Kind != tree.Symlink || execOnly(c) {
			continue
		}
		if o.Err = errors.Join(a.ready(), a.fits(c.To)); o.Err != nil {
			continue
		}
		switch {
		case c.To.Kind == tree.Symlink:
			if o.Err = a.root.Symlink(c.To.Target, a.in(a.spot(i))); o.Err == nil {
				a.staged[i].place = a.spot(i)
			}
		case c.To.Size == 0:
			s := &stager{a: a, i: i}
			s.take(endpoint.Piece{Last: true})
		case a.copied(ctx, i, sources):
		default:
			wants, index = append(wants, endpoint.Want{Path: c.Path, Entry: c.To}), append(index, i)
		}
	}
	if len(wants) == 0 {
		return ctx.Err()
	}
	return a.fetch(ctx, from, wants, index)
}

// sources are files that the changes take away, by content: a file that was
// renamed is not fetched. Small ones are quicker fetched.
func (a *apply) sources() map[tree.Digest]string {
	var sources map[tree.Digest]string
	for _, c := range a.changes {
		if c.From.Kind == tree.File && c.From.Size > inlineFile && c.From.Digest != c.To.Digest {
			if sources == nil {
				sources = map[tree.Digest]string{}
			}
			sources[c.From.Digest] = c.Path
		}
	}
	return sources
}

// copied stages the content of a change from a file that is here.
func (a *apply) copied(ctx context.Context, i int, sources map[tree.Digest]string) bool {
	path, ok := sources[a.changes[i].To.Digest]
	if !ok {
		return false
	}
	file, _, err := a.root.Open(path)
	if err != nil {
		return false
	}
	defer file.Close() //nolint:errcheck // it was only read
	s := &stager{a: a, i: i}
	buffer := make([]byte, block)
	for ctx.Err() == nil {
		n, err := file.Read(buffer)
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			break
		}
		s.take(endpoint.Piece{Data: buffer[:n], Last: last})
		if last || a.outcomes[i].Err != nil {
			break
		}
	}
	if s.ended && a.outcomes[i].Err == nil {
		return true
	}
	s.fail(endpoint.ErrChanged)
	a.outcomes[i].Err = nil // it is fetched instead
	return false
}

// fetch gets the content of wants and stages it.
func (a *apply) fetch(ctx context.Context, from endpoint.Fetcher, wants []endpoint.Want, index []int) error {
	haves := make(map[int]*have)
	defer func() {
		for _, h := range haves {
			_ = h.file.Close()
		}
	}()
	for j, i := range index {
		if h := a.have(ctx, a.changes[i]); h != nil {
			haves[j], wants[j].Have = h, h.ids()
		}
	}
	stagers := map[int]*stager{}
	defer func() {
		for _, s := range stagers {
			s.fail(io.ErrUnexpectedEOF)
		}
	}()
	ended := make([]bool, len(wants))
	err := from.Fetch(ctx, wants, func(j int, p endpoint.Piece) error {
		if j < 0 || j >= len(wants) || ended[j] {
			return fmt.Errorf("%w: content that was not asked for", endpoint.ErrRefused)
		}
		s := stagers[j]
		if s == nil {
			s = &stager{a: a, i: index[j], have: haves[j]}
			stagers[j] = s
		}
		s.take(p)
		if p.Last || p.Err != nil {
			ended[j] = true
			delete(stagers, j)
		}
		return ctx.Err()
	})
	for j, i := range index {
		if !ended[j] && a.outcomes[i].Err == nil {
			a.outcomes[i].Err = io.ErrUnexpectedEOF
		}
	}
	return err
}

// stager takes the pieces of one file.
type stager struct {
	a     *apply
	i     int
	have  *have
	file  *os.File
	mode  uint32
	size  int64
	wrote int64 // the end of what was written; zeros may follow
	sum   hash.Hash
	list  []chunk.Chunk // as far as it is known, where chunks are at hand
	ended bool
}

// take takes a piece. What fails is the outcome, and later pieces are dropped.
func (s *stager) take(p endpoint.Piece) {
	o := &s.a.outcomes[s.i]
	if o.Err != nil {
		return
	}
	err := p.Err
	if err == nil && s.file == nil {
		err = s.begin()
	}
	if err == nil {
		err = s.write(p)
	}
	if err == nil && p.Last {
		err = s.finish()
	}
	if err != nil {
		s.fail(err)
	}
}

// begin makes the file. One that replaces another has that one's mode.
func (s *stager) begin() error {
	c := s.a.changes[s.i]
	mode := uint32(0o644)
	if c.To.Exec {
		mode = 0o755
	}
	var st beneath.Stat
	var err error
	if c.From.Kind == tree.File {
		st, err = s.a.root.Stat(c.Path)
	}
	if err == nil && st.Kind == beneath.File {
		s.mode = withExec(st.Mode, c.To.Exec)
		mode = 0o600
	}
	if s.file, err = s.a.root.Create(s.a.in(s.a.spot(s.i)), mode); err != nil {
		return err
	}
	s.a.staged[s.i].place = s.a.spot(s.i)
	s.sum = sha256.New()
	if os.Geteuid() == 0 {
		s.own(st)
	}
	return nil
}

// own gives a file that root makes to whoever has what it replaces or, where it
// is new, the folder that it will be in. Best effort: the content counts.
func (s *stager) own(st beneath.Stat) {
	if st.Kind != beneath.File {
		st = s.a.folderOf(s.a.changes[s.i].Path)
	}
	if st.UID != 0 || st.GID != 0 {
		_ = s.file.Chown(int(st.UID), int(st.GID))
	}
}

// folderOf is the folder that a path is in; the zero Stat where it is not there.
// The changes of a folder come together, so that the last answer is the next.
func (a *apply) folderOf(path string) beneath.Stat {
	parent := tree.Parent(path)
	if a.folder.path != parent || !a.folder.known {
		st, err := a.root.Stat(parent)
		if err != nil {
			st = beneath.Stat{}
		}
		a.folder.path, a.folder.known, a.folder.stat = parent, true, st
	}
	return a.folder.stat
}

// withExec is a mode that lets whoever may read also execute, or nobody. Special
// bits are dropped.
func withExec(mode uint32, exec bool) uint32 {
	mode &= 0o777
	if !exec {
		return mode &^ 0o111
	}
	if mode&0o100 != 0 {
		return mode
	}
	return mode | mode&0o444>>2 | 0o100
}

func (s *stager) write(p endpoint.Piece) error {
	data := p.Data
	if data == nil && p.Chunk != (chunk.ID{}) {
		var err error
		if data, err = s.have.read(p.Chunk); err != nil {
			return err
		}
	}
	if len(data) == 0 {
		return nil
	}
	if int64(len(data)) > s.a.changes[s.i].To.Size-s.size {
		return fmt.Errorf("more than the %d bytes that were promised: %w", s.a.changes[s.i].To.Size, endpoint.ErrChanged)
	}
	if s.have != nil && len(data) <= chunk.MaxSize {
		id := p.Chunk
		if p.Data != nil {
			id = sha256.Sum256(data)
		}
		s.list = append(s.list, chunk.Chunk{ID: id, Offset: s.size, Size: len(data)})
	}
	s.sum.Write(data)
	at := s.size
	s.size += int64(len(data))
	if len(data) >= hole && zeros(data) {
		return nil
	}
	s.wrote = s.size
	if err := s.a.spend(len(data)); err != nil {
		return err
	}
	return s.a.root.Write(s.file, data, at)
}

// hole is how many zeros there must be for them not to be written.
const hole = 64 << 10

func zeros(data []byte) bool {
	const most = 4 << 10
	var none [most]byte
	for len(data) > most {
		if !bytes.Equal(data[:most], none[:]) {
			return false
		}
		data = data[most:]
	}
	return bytes.Equal(data, none[:len(data)])
}

func (s *stager) finish() error {
	to := s.a.changes[s.i].To
	if s.size != to.Size || tree.Digest(s.sum.Sum(nil)) != to.Digest {
		return fmt.Errorf("what arrived is not what was promised: %w", endpoint.ErrChanged)
	}
	if s.wrote < s.size {
		if err := s.file.Truncate(s.size); err != nil {
			return err
		}
	}
	if s.mode != 0 {
		if err := s.file.Chmod(os.FileMode(s.mode)); err != nil {
			return err
		}
	}
	err := s.file.Close()
	s.file, s.ended = nil, err == nil
	if s.list != nil {
		s.a.f.lists.put(to.Digest, s.list)
	}
	return err
}

// fail removes what was staged.
func (s *stager) fail(err error) {
	o := &s.a.outcomes[s.i]
	if o.Err == nil {
		o.Err = err
	}
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
	if place := &s.a.staged[s.i].place; *place != "" {
		if err := s.a.root.Remove(s.a.in(*place)); err == nil || errors.Is(err, fs.ErrNotExist) {
			*place = ""
		}
	}
}
