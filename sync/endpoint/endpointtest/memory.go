package endpointtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// Memory is a folder in memory. It is an endpoint, and it is the hand of whoever
// else changes the folder (Hand). It passes Run.
type Memory struct {
	mu     sync.Mutex
	disk   *tree.Tree // with what is ignored
	data   map[string][]byte
	known  *tree.Tree // what was said
	rules  map[string]bool
	forget map[string]bool // came under a rule
	told   chan struct{}
	looked bool
	rescan bool
	seq    uint64
	trash  []memoryBatch
	closed bool
}

type memoryBatch struct {
	name    string
	changes []tree.Change // as they were made
	old     map[string][]byte
}

// NewMemory returns an empty folder.
func NewMemory() *Memory {
	m := &Memory{disk: &tree.Tree{}, data: map[string][]byte{}, known: &tree.Tree{}, told: make(chan struct{}, 1), forget: map[string]bool{}}
	m.put("", tree.Entry{Kind: tree.Dir}, nil)
	return m
}

// put changes the disk.
func (m *Memory) put(path string, e tree.Entry, data []byte) {
	_ = m.disk.WalkBelow(path, func(p string, _ tree.Entry) error {
		if p == path || e.Kind != tree.Dir {
			delete(m.data, p)
		}
		return nil
	})
	if err := m.disk.Put(path, e); err != nil {
		panic(err) // a test that writes into no folder
	}
	if e.Kind == tree.File {
		m.data[path] = data
	}
}

func (m *Memory) tell() {
	select {
	case m.told <- struct{}{}:
	default:
	}
}

// Lose makes the next Next say that changes were missed.
func (m *Memory) Lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rescan = true
	m.tell()
}

// ignored is true for what is below a name of the rules, too.
func (m *Memory) ignored(path string) bool {
	for element := range strings.SplitSeq(path, "/") {
		if m.rules[element] {
			return true
		}
	}
	return false
}

// visible is the disk without what is ignored.
func (m *Memory) visible() *tree.Tree {
	t := m.disk.Clone()
	_ = m.disk.Walk(func(path string, _ tree.Entry) error {
		if path != "" && m.ignored(path) {
			t.Delete(path)
		}
		return nil
	})
	return t
}

// Info implements endpoint.Endpoint.
func (m *Memory) Info() endpoint.Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	info := endpoint.Info{Root: "/memory", Identity: "memory"}
	for _, b := range m.trash[max(0, len(m.trash)-endpoint.MaxBatches):] {
		info.Batches = append(info.Batches, b.name)
	}
	return info
}

// Scan implements endpoint.Endpoint.
func (m *Memory) Scan(ctx context.Context) (*tree.Tree, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known, m.rescan, m.looked, m.forget = m.visible(), false, true, map[string]bool{}
	return m.known.Clone(), ctx.Err()
}

// Next implements endpoint.Endpoint.
func (m *Memory) Next(ctx context.Context) ([]endpoint.Update, error) {
	for {
		updates, err := m.next(ctx)
		if err != nil || len(updates) > 0 {
			return updates, err
		}
		select {
		case <-m.told:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (m *Memory) next(ctx context.Context) ([]endpoint.Update, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err // what is said to nobody must be said again
	}
	now := m.visible()
	switch {
	case m.closed:
		return nil, fs.ErrClosed
	case !m.looked:
		return nil, errors.New("the folder has not been looked at")
	case m.rescan || m.known.Get("") != now.Get(""):
		m.rescan = true
		return nil, endpoint.ErrRescan
	}
	var updates []endpoint.Update
	say := func(path string, e tree.Entry, ignored bool) {
		m.seq++
		updates = append(updates, endpoint.Update{
			Path: path, Entry: e, Content: slices.Clone(m.data[path]), Ignored: ignored, Age: time.Millisecond, Seq: m.seq,
		})
		_ = m.known.Put(path, e) // its folder was said before
	}
	_ = m.known.Clone().Walk(func(path string, _ tree.Entry) error {
		if now.Get(path).Kind == tree.Absent && m.known.Get(path).Kind != tree.Absent {
			say(path, tree.Entry{}, m.disk.Get(path).Kind != tree.Absent)
		}
		return nil
	})
	_ = now.Walk(func(path string, e tree.Entry) error {
		if m.known.Get(path) != e {
			say(path, e, false)
		}
		return nil
	})
	return updates, nil
}

// Apply implements endpoint.Endpoint.
func (m *Memory) Apply(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
	outcomes := make([]endpoint.Outcome, len(changes))
	staged := make([][]byte, len(changes))
	if err := fetchAll(ctx, changes, from, staged, outcomes); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := memoryBatch{name: fmt.Sprintf("batch-%d", m.seq), old: map[string][]byte{}}
	for i, c := range changes {
		m.apply(c, staged[i], &outcomes[i], &b)
	}
	if len(b.changes) > 0 {
		m.trash = append(m.trash, b)
	}
	return outcomes, nil
}

func fetchAll(ctx context.Context, changes []tree.Change, from endpoint.Fetcher, staged [][]byte, outcomes []endpoint.Outcome) error {
	var wants []endpoint.Want
	var index []int
	for i, c := range changes {
		if c.To.Kind == tree.File && (c.From.Kind != tree.File || c.From.Digest != c.To.Digest) {
			wants, index = append(wants, endpoint.Want{Path: c.Path, Entry: c.To}), append(index, i)
			outcomes[i].Err = io.ErrUnexpectedEOF
		}
	}
	if len(wants) == 0 {
		return nil
	}
	return from.Fetch(ctx, wants, func(j int, p endpoint.Piece) error {
		i := index[j]
		staged[i] = append(staged[i], p.Data...)
		switch {
		case p.Err != nil:
			outcomes[i].Err = p.Err
		case p.Last && sha256.Sum256(staged[i]) == changes[i].To.Digest:
			outcomes[i].Err = nil
		case p.Last:
			outcomes[i].Err = fmt.Errorf("wrong content: %w", endpoint.ErrChanged)
		}
		return nil
	})
}

// refused says why a path can't be changed.
func (m *Memory) refused(c tree.Change) error {
	switch {
	case tree.CheckPath(c.Path) != nil || strings.HasPrefix(c.Path, endpoint.StateDir):
		return endpoint.ErrRefused
	case c.Path == "" && c.From.Kind != tree.Absent, c.Path != "" && m.ignored(c.Path):
		return endpoint.ErrRefused
	case c.To.Kind == tree.Symlink && (strings.HasPrefix(c.To.Target, "/") || strings.Count(c.To.Target, "..") > strings.Count(c.Path, "/")):
		return endpoint.ErrRefused
	}
	return nil
}

func (m *Memory) apply(c tree.Change, data []byte, o *endpoint.Outcome, b *memoryBatch) {
	m.seq++
	o.Seq = m.seq
	if err := m.refused(c); err != nil {
		o.Err = err
		return
	}
	now := m.disk.Get(c.Path)
	noFolder := c.Path != "" && m.disk.Get(tree.Parent(c.Path)).Kind != tree.Dir
	if o.Err == nil && (now != c.From || noFolder) {
		o.Err = endpoint.ErrChanged
	}
	if o.Err == nil && now.Kind == tree.Dir && c.To.Kind != tree.Dir {
		for name := range m.disk.Node(c.Path).Children() {
			o.Err = endpoint.ErrStays
			if !m.ignored(name) {
				o.Err = endpoint.ErrChanged
				break
			}
		}
	}
	if o.Err != nil {
		if errors.Is(o.Err, endpoint.ErrChanged) && !noFolder {
			o.Now = now
			_ = m.known.Put(c.Path, now)
			m.tell()
		}
		return
	}
	if c.From.Kind == tree.File && c.From.Digest == c.To.Digest {
		data = m.data[c.Path]
	} else if c.From.Kind != tree.Absent {
		b.old[c.Path] = m.data[c.Path]
		b.changes = append(b.changes, c)
		o.Batch = b.name
	}
	m.put(c.Path, c.To, data)
	_ = m.known.Put(c.Path, c.To) // as on the disk
	o.Done, o.Now = true, c.To
}

// Undo implements endpoint.Endpoint.
func (m *Memory) Undo(context.Context) (string, []endpoint.Update, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.trash) == 0 {
		return "", nil, nil
	}
	b := m.trash[len(m.trash)-1]
	m.trash = m.trash[:len(m.trash)-1]
	var done []endpoint.Update
	for _, c := range slices.Backward(b.changes) {
		if m.disk.Get(c.Path) != c.To || m.disk.Get(tree.Parent(c.Path)).Kind != tree.Dir {
			continue
		}
		m.put(c.Path, c.From, b.old[c.Path])
		_ = m.known.Put(c.Path, c.From)
		m.seq++
		done = append(done, endpoint.Update{Path: c.Path, Entry: c.From, Seq: m.seq})
	}
	slices.SortStableFunc(done, func(x, y endpoint.Update) int { return strings.Compare(x.Path, y.Path) })
	return b.name, done, nil
}

// Fetch implements endpoint.Fetcher.
func (m *Memory) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	for i, w := range wants {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.mu.Lock()
		now, data, ignored := m.disk.Get(w.Path), m.data[w.Path], m.ignored(w.Path)
		m.mu.Unlock()
		var err error
		switch {
		case ignored:
			err = put(i, endpoint.Piece{Err: endpoint.ErrRefused})
		case now != w.Entry:
			err = put(i, endpoint.Piece{Err: endpoint.ErrChanged})
		case len(data) < chunk.Threshold:
			err = put(i, endpoint.Piece{Data: data, Last: true})
		default:
			err = chunk.Cut(strings.NewReader(string(data)), func(c chunk.Chunk, b []byte) error {
				if slices.Contains(w.Have, c.ID) {
					return put(i, endpoint.Piece{Chunk: c.ID})
				}
				return put(i, endpoint.Piece{Data: b})
			})
			if err == nil {
				err = put(i, endpoint.Piece{Last: true})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Sync implements endpoint.Endpoint.
func (m *Memory) Sync(ctx context.Context) error { return ctx.Err() }

// SetRules implements wire.RuleTaker: each line is a name that is ignored
// wherever it is.
func (m *Memory) SetRules(_ context.Context, rules []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rules = map[string]bool{}
	for name := range strings.SplitSeq(string(rules), "\n") {
		m.rules[name] = name != ""
	}
	m.tell()
	return nil
}

// Close implements endpoint.Endpoint.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.tell()
	return nil
}
