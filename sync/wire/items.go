package wire

import (
	"math"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/tree"
)

// item is what all lists of paths are made of; which of the keys may be there
// is a matter of the list.
type item struct {
	Path    cbor.ByteString `cbor:"1,keyasint,omitempty"`
	Entry   *entryItem      `cbor:"2,keyasint,omitempty"` // what is at the path, or is to be; none: nothing
	From    *entryItem      `cbor:"3,keyasint,omitempty"` // of a change
	Content []byte          `cbor:"4,keyasint,omitempty"` // of a change or an update
	Ignored bool            `cbor:"5,keyasint,omitempty"` // of an update
	Age     int64           `cbor:"6,keyasint,omitempty"` // of an update, in ns
	Seq     uint64          `cbor:"7,keyasint,omitempty"` // of an update or an outcome
	Done    bool            `cbor:"8,keyasint,omitempty"` // of an outcome
	Failure *failure        `cbor:"9,keyasint,omitempty"` // of an outcome
	Batch   string          `cbor:"10,keyasint,omitempty"`
}

// entryItem is a tree.Entry.
type entryItem struct {
	Kind   uint8           `cbor:"1,keyasint"`
	Exec   bool            `cbor:"2,keyasint,omitempty"`
	Size   int64           `cbor:"3,keyasint,omitempty"`
	Digest cbor.ByteString `cbor:"4,keyasint,omitempty"`
	Target cbor.ByteString `cbor:"5,keyasint,omitempty"`
}

func entryOf(e tree.Entry) *entryItem {
	if e.Kind == tree.Absent {
		return nil
	}
	i := &entryItem{Kind: uint8(e.Kind), Exec: e.Exec, Size: e.Size, Target: cbor.ByteString(e.Target)}
	if e.Kind == tree.File {
		i.Digest = cbor.ByteString(e.Digest[:])
	}
	return i
}

// entry checks an entry that came over the wire.
func (i *entryItem) entry() (tree.Entry, error) {
	if i == nil {
		return tree.Entry{}, nil
	}
	e := tree.Entry{Kind: tree.Kind(i.Kind), Exec: i.Exec, Size: i.Size, Target: string(i.Target)}
	bare := !i.Exec && i.Size == 0 && i.Digest == ""
	switch e.Kind {
	case tree.Dir:
		if !bare || i.Target != "" {
			return tree.Entry{}, protocol("a folder with the properties of a file")
		}
	case tree.File:
		if len(i.Digest) != len(e.Digest) || i.Size < 0 || i.Size > math.MaxInt64>>8 || i.Target != "" {
			return tree.Entry{}, protocol("a file of %d bytes with a digest of %d", i.Size, len(i.Digest))
		}
		copy(e.Digest[:], i.Digest)
	case tree.Symlink:
		if !bare || i.Target == "" || len(i.Target) >= tree.MaxPath || strings.IndexByte(string(i.Target), 0) >= 0 {
			return tree.Entry{}, protocol("a symbolic link that can't be")
		}
	default:
		return tree.Entry{}, protocol("an entry of kind %d", i.Kind)
	}
	return e, nil
}

// place checks an item's path and entry.
func (i *item) place() (string, tree.Entry, error) {
	path := string(i.Path)
	if err := tree.CheckPath(path); err != nil {
		return "", tree.Entry{}, protocol("%s", clean(err.Error(), 256))
	}
	e, err := i.Entry.entry()
	return path, e, err
}

// content returns what was sent along for an entry: nil where nothing was.
func (i *item) content(e tree.Entry) ([]byte, error) {
	switch {
	case i.Content == nil && (e.Kind != tree.File || e.Size > 0):
		return nil, nil
	case i.Content == nil:
		return []byte{}, nil // an empty file's content is known
	case e.Kind != tree.File || int64(len(i.Content)) != e.Size || len(i.Content) > maxContent:
		return nil, protocol("%d bytes of content for a %v of %d", len(i.Content), e.Kind, e.Size)
	}
	return i.Content, nil
}

func updateItem(u endpoint.Update) *item {
	i := &item{
		Path: cbor.ByteString(u.Path), Entry: entryOf(u.Entry), Ignored: u.Ignored,
		Age: int64(max(u.Age, 0)), Seq: u.Seq,
	}
	if len(u.Content) <= maxContent && int64(len(u.Content)) == u.Entry.Size {
		i.Content = u.Content
	}
	return i
}

func (i *item) update() (endpoint.Update, error) {
	path, e, err := i.place()
	if err != nil {
		return endpoint.Update{}, err
	}
	content, err := i.content(e)
	if err != nil {
		return endpoint.Update{}, err
	}
	if i.From != nil || i.Done || i.Failure != nil || i.Batch != "" || i.Age < 0 {
		return endpoint.Update{}, protocol("an update with what it can't have")
	}
	return endpoint.Update{
		Path: path, Entry: e, Content: content, Ignored: i.Ignored, Age: time.Duration(i.Age), Seq: i.Seq,
	}, nil
}

func changeItem(c tree.Change, content []byte) *item {
	return &item{Path: cbor.ByteString(c.Path), From: entryOf(c.From), Entry: entryOf(c.To), Content: content}
}

func (i *item) change() (tree.Change, []byte, error) {
	path, to, err := i.place()
	if err != nil {
		return tree.Change{}, nil, err
	}
	from, err := i.From.entry()
	if err != nil {
		return tree.Change{}, nil, err
	}
	content, err := i.content(to)
	if err != nil {
		return tree.Change{}, nil, err
	}
	if i.Ignored || i.Age != 0 || i.Seq != 0 || i.Done || i.Failure != nil || i.Batch != "" {
		return tree.Change{}, nil, protocol("a change with what it can't have")
	}
	return tree.Change{Path: path, From: from, To: to}, content, nil
}

func outcomeItem(o endpoint.Outcome) *item {
	i := &item{Entry: entryOf(o.Now), Seq: o.Seq, Done: o.Done, Batch: o.Batch}
	if o.Err != nil {
		f := failureOf(o.Err)
		i.Failure = &f
	}
	return i
}

func (i *item) outcome() (endpoint.Outcome, error) {
	now, err := i.Entry.entry()
	if err != nil {
		return endpoint.Outcome{}, err
	}
	if i.Path != "" || i.From != nil || i.Content != nil || i.Ignored || i.Age != 0 {
		return endpoint.Outcome{}, protocol("an outcome with what it can't have")
	}
	o := endpoint.Outcome{Done: i.Done, Now: now, Seq: i.Seq, Batch: clean(i.Batch, 128)}
	if i.Failure != nil {
		o.Err = i.Failure.err()
	}
	if !o.Done && o.Err == nil {
		return endpoint.Outcome{}, protocol("an outcome that is neither done nor failed")
	}
	return o, nil
}

func wantItem(w endpoint.Want) *item {
	return &item{Path: cbor.ByteString(w.Path), Entry: entryOf(w.Entry)}
}

func (i *item) want() (endpoint.Want, error) {
	path, e, err := i.place()
	if err != nil {
		return endpoint.Want{}, err
	}
	if e.Kind != tree.File {
		return endpoint.Want{}, protocol("the content of a %v is wanted", e.Kind)
	}
	return endpoint.Want{Path: path, Entry: e}, nil
}

// budget limits a list.
type budget struct{ items, bytes int }

func (b *budget) message(n int) error {
	if b.bytes += n; b.bytes > maxListing {
		return protocol("a list of more than %d bytes", maxListing)
	}
	return nil
}

func (b *budget) item() error {
	if b.items++; b.items > MaxPaths {
		return protocol("a list of more than %d paths", MaxPaths)
	}
	return nil
}
