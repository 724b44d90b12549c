package wire

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// folder is an endpoint in memory: what the tests put behind a connection.
type folder struct {
	mu      sync.Mutex
	tree    *tree.Tree
	data    map[string][]byte
	news    []endpoint.Update
	told    chan struct{}
	failing error // what Next says
	seq     uint64
	undo    []tree.Change
	old     map[string][]byte
	rules   []byte
	synced  int
	closed  bool
	applied int
	fetches int
}

func newFolder() *folder {
	f := &folder{tree: &tree.Tree{}, data: map[string][]byte{}, told: make(chan struct{}, 1)}
	f.must(f.tree.Put("", tree.Entry{Kind: tree.Dir}))
	return f
}

func (f *folder) must(err error) {
	if err != nil {
		panic(err)
	}
}

func fileEntry(data []byte) tree.Entry {
	return tree.Entry{Kind: tree.File, Size: int64(len(data)), Digest: sha256.Sum256(data)}
}

// write puts a file there without telling anybody.
func (f *folder) write(path string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writeLocked(path, data)
}

func (f *folder) writeLocked(path string, data []byte) {
	for i, b := range []byte(path) {
		if b == '/' && f.tree.Get(path[:i]).Kind != tree.Dir {
			f.must(f.tree.Put(path[:i], tree.Entry{Kind: tree.Dir}))
		}
	}
	f.must(f.tree.Put(path, fileEntry(data)))
	f.data[path] = data
}

// edit is write as somebody else than a session would do it.
func (f *folder) edit(path string, data []byte, inline bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writeLocked(path, data)
	f.seq++
	u := endpoint.Update{Path: path, Entry: fileEntry(data), Age: 5, Seq: f.seq}
	if inline {
		u.Content = data
	}
	f.news = append(f.news, u)
	f.tell()
}

func (f *folder) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing = err
	f.tell()
}

func (f *folder) tell() {
	select {
	case f.told <- struct{}{}:
	default:
	}
}

func (f *folder) Info() endpoint.Info {
	return endpoint.Info{Root: "/data", Identity: "id-1", Fresh: true, CopyOf: "id-0", FoldsCase: true, Notes: []string{"be\x1b[2Jware"}}
}

func (f *folder) Scan(ctx context.Context) (*tree.Tree, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.news, f.failing = nil, nil
	return f.tree.Clone(), ctx.Err()
}

func (f *folder) Next(ctx context.Context) ([]endpoint.Update, error) {
	for {
		f.mu.Lock()
		news, failing := f.news, f.failing
		f.news = nil
		f.mu.Unlock()
		if len(news) > 0 {
			return news, nil
		}
		if failing != nil {
			return nil, failing
		}
		select {
		case <-f.told:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *folder) Apply(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
	staged := make([][]byte, len(changes))
	outcomes := make([]endpoint.Outcome, len(changes))
	var wants []endpoint.Want
	var index []int
	for i, c := range changes {
		if c.To.Kind == tree.File {
			wants, index = append(wants, endpoint.Want{Path: c.Path, Entry: c.To}), append(index, i)
		}
	}
	if len(wants) > 0 {
		err := from.Fetch(ctx, wants, func(j int, p endpoint.Piece) error {
			i := index[j]
			staged[i] = append(staged[i], p.Data...)
			outcomes[i].Err = p.Err
			if p.Last && fileEntry(staged[i]).Digest != changes[i].To.Digest {
				outcomes[i].Err = fmt.Errorf("wrong content: %w", endpoint.ErrChanged)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied++
	f.undo, f.old = nil, map[string][]byte{}
	for i, c := range changes {
		f.seq++
		o := &outcomes[i]
		o.Seq, o.Now = f.seq, f.tree.Get(c.Path)
		switch {
		case o.Err != nil:
		case strings.HasPrefix(c.Path, "refused"):
			o.Err = endpoint.ErrRefused
		case o.Now != c.From:
			o.Err = endpoint.ErrChanged
		default:
			f.old[c.Path] = f.data[c.Path]
			f.must(f.tree.Put(c.Path, c.To))
			f.data[c.Path] = staged[i]
			f.undo = append(f.undo, tree.Change{Path: c.Path, From: c.To, To: c.From})
			o.Done, o.Now, o.Batch = true, c.To, "batch"
		}
	}
	return outcomes, nil
}

func (f *folder) Undo(context.Context) (string, []endpoint.Update, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var done []endpoint.Update
	for _, c := range slices.Backward(f.undo) {
		f.must(f.tree.Put(c.Path, c.To))
		f.data[c.Path] = f.old[c.Path]
		f.seq++
		done = append(done, endpoint.Update{Path: c.Path, Entry: c.To, Seq: f.seq})
	}
	f.undo = nil
	return "batch", done, nil
}

func (f *folder) Sync(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced++
	return nil
}

func (f *folder) SetRules(_ context.Context, rules []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
	return nil
}

func (f *folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.New("closed twice")
	}
	f.closed = true
	return nil
}

// Fetch sends chunks of 1,000 bytes, so that there are many pieces.
func (f *folder) Fetch(ctx context.Context, wants []endpoint.Want, put func(int, endpoint.Piece) error) error {
	f.mu.Lock()
	f.fetches++
	f.mu.Unlock()
	for i, w := range wants {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.mu.Lock()
		data, now := f.data[w.Path], f.tree.Get(w.Path)
		f.mu.Unlock()
		if now != w.Entry {
			if err := put(i, endpoint.Piece{Err: endpoint.ErrChanged}); err != nil {
				return err
			}
			continue
		}
		for len(data) > 0 {
			part := data[:min(len(data), 1000)]
			data = data[len(part):]
			p := endpoint.Piece{Data: part}
			if id := chunk.ID(sha256.Sum256(part)); slices.Contains(w.Have, id) {
				p = endpoint.Piece{Chunk: id}
			}
			if err := put(i, p); err != nil {
				return err
			}
		}
		if err := put(i, endpoint.Piece{Last: true}); err != nil {
			return err
		}
	}
	return nil
}
