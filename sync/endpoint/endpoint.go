// Package endpoint is one side of a sync session: a folder that can be looked
// at, watched, read and changed. The laptop's folder and the pod's are both
// endpoints; the one in the pod is reached over sync/wire. Paths, entries and
// trees are sync/tree's.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kfdev/kfdev/sync/chunk"
	"github.com/kfdev/kfdev/sync/tree"
)

// Endpoint is a folder with its root, as a session sees it. What is ignored is
// not there for it. Its methods may be called from several goroutines, but
// Scan, Next and Apply are each called by one at a time.
type Endpoint interface {
	Fetcher
	// Info says what the folder is and what its file system can do.
	Info() Info
	// Scan looks at all of the folder and returns its tree. From then on Next
	// reports what differs from it. A root that is not there gives a tree whose
	// root is Absent, and is no error. A file whose content can't be had (not
	// readable, larger than a cap) is in the tree all the same, with a zero
	// Digest: it is like no other, and Fetch says why. Were it left out, it would
	// look deleted.
	Scan(ctx context.Context) (*tree.Tree, error)
	// Next blocks until something is different from what Scan, Next and Apply
	// have said so far, and returns it as one batch, parents before what is in
	// them. What the endpoint itself wrote in Apply is never in it.
	// ErrRescan means that changes were missed, and that Scan is needed.
	Next(ctx context.Context) ([]Update, error)
	// Apply makes changes to the folder, all of which are staged before the
	// first is seen. It fetches what it lacks from. Each change has an outcome,
	// in the same order; a change whose path is no longer what From says is left
	// alone. A change of the path "" from nothing to a folder makes the root. A
	// folder that holds what is ignored is not removed (ErrStays), unless that is a
	// cache that anybody can make again, nor one that holds what is not known yet (ErrChanged). An error means
	// that it is not known what was done: Scan is needed.
	Apply(ctx context.Context, changes []tree.Change, from Fetcher) ([]Outcome, error)
	// Undo puts back what the last batch that Apply did took away or replaced,
	// as far as the paths still are what the batch made of them. It returns what
	// it did as Next would, and an empty list when there is nothing to undo. The
	// name of the batch that is undone is returned too.
	Undo(ctx context.Context) (batch string, done []Update, err error)
	// Sync makes durable what Apply and Undo have done: after it, not even a
	// power cut undoes it. It may be called beside everything else, and what
	// changes meanwhile does not wait for it.
	Sync(ctx context.Context) error
	// Close ends watching and lets go of the folder.
	Close() error
}

// Fetcher gives content of files.
type Fetcher interface {
	// Fetch sends the content of every want to put, one want after the other, in
	// the order of the wants, as pieces in order; the last piece of each has Last
	// set, or Err where the file can't be read or is no longer what was wanted.
	// Put's error ends it.
	Fetch(ctx context.Context, wants []Want, put func(i int, p Piece) error) error
}

// Want is a file's content that is asked for.
type Want struct {
	Path  string
	Entry tree.Entry // what the file must be
	// Have are chunks that the asker has at hand; the answer names them instead
	// of sending them. Only for files of at least chunk.Threshold bytes.
	Have []chunk.ID
}

// Piece is a part of a file's content.
type Piece struct {
	Data  []byte   // literal bytes; valid until put returns
	Chunk chunk.ID // or, where Data is nil and Last is not set alone, one of the chunks that the asker has
	Last  bool     // nothing comes after; Data and Chunk may be empty then
	Err   error    // the content can't be had; ErrChanged where the file is another one by now
}

// Update is a path that is different from what was known.
type Update struct {
	Path  string
	Entry tree.Entry // Absent: it is gone, with all that was below it
	// Content is the file's, where it is small and the batch is; it spares a
	// Fetch. Nil means that it was not sent along.
	Content []byte
	// Ignored is true where the path is not gone but has come under an ignore
	// rule: it is to be forgotten, and nothing is to be deleted for it.
	Ignored bool
	// Age is the time from the file system's report of the first change of the
	// batch to the moment the endpoint said it.
	Age time.Duration
	// Seq is the endpoint's count of what it has come to know, over Next, Apply
	// and Undo alike. Of two things said of one path, the one with the higher
	// number is true now: the two may overtake each other on their way.
	Seq uint64
}

// Outcome is what became of a change.
type Outcome struct {
	Done  bool
	Now   tree.Entry // what is at the path after; known only where Done or Err is ErrChanged
	Err   error      // why it was not done: ErrChanged, ErrRefused, or of the file system
	Batch string     // the name under which Undo knows it, where it took something away
	Seq   uint64     // as in Update
}

// Info is what a folder is.
type Info struct {
	Root string // its absolute path, on its own machine
	// Identity tells one folder at this path from the next: it is made when the
	// folder is first an endpoint and stays in it (in StateDir). Fresh is true
	// where it is new: a new container's folder, a wiped volume; until the first
	// Sync, before which nobody may have come to know it. Where the root is not
	// there it is empty, until Apply makes the root or Scan finds one.
	Identity string
	Fresh    bool
	// CopyOf is, while Fresh, the identity that was found in the folder and made
	// somewhere else: the folder is a copy, as where an image was built of it.
	// Some file systems make a folder look like a copy that is none.
	CopyOf string
	// FoldsCase and FoldsUnicode are true where two names that differ only in
	// case, or only in their Unicode form, are one file.
	FoldsCase, FoldsUnicode bool
	// Polling is true where the file system reports no changes, and is looked at
	// from time to time instead.
	Polling bool
	// Notes are for people: what is not as it could be, with the fix.
	Notes []string
	// Batches are those that Undo can bring back, the newest last; of many, the
	// last MaxBatches. They are as of the last Scan or Undo.
	Batches []string
}

// MaxBatches is how many batches an Info names.
const MaxBatches = 64

// StateDir is the folder inside a root that is the endpoint's own: what is
// staged, what was replaced, its identity. It is never part of a tree.
const StateDir = ".kfdev-sync"

// Errors of endpoints. They cross the wire as themselves.
var (
	// ErrChanged: the file or path is no longer what the other side thought.
	ErrChanged = errors.New("changed meanwhile")
	// ErrRefused: it would not be safe: a path that leads outside of the root, a
	// device, more than a cap allows.
	ErrRefused = errors.New("refused")
	// ErrStays is an ErrRefused: a folder is not removed, because of what it holds
	// beside what is synced.
	ErrStays = fmt.Errorf("%w: the folder stays", ErrRefused)
	// ErrRescan: changes were missed.
	ErrRescan = errors.New("changes were missed: the folder must be looked at again")
	// ErrRootGone: the root is not there, or is no folder.
	ErrRootGone = errors.New("the root is gone, or is no folder")
)
