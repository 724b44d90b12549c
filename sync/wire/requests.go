package wire

import (
	"path"
	"strings"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
)

// method is what a call asks for.
type method uint8

// The methods. The numbers are part of the protocol.
const (
	methodOpen method = 1 + iota
	methodScan
	methodFetch
	methodApply
	methodUndo
	methodSync
	methodRun
	methodUsage
	methodRules
)

// request is the first message of a call.
type request struct {
	Method  method   `cbor:"1,keyasint"`
	Session string   `cbor:"2,keyasint,omitempty"` // of open
	Root    []byte   `cbor:"3,keyasint,omitempty"` // of open
	Caps    *caps    `cbor:"4,keyasint,omitempty"` // of open
	Rules   int      `cbor:"5,keyasint,omitempty"` // of open and rules: how many bytes of rules follow
	Argv    [][]byte `cbor:"6,keyasint,omitempty"` // of run
	Dir     []byte   `cbor:"7,keyasint,omitempty"` // of run
}

type caps struct {
	FileBytes int64 `cbor:"1,keyasint,omitempty"`
	Paths     int   `cbor:"2,keyasint,omitempty"`
	Depth     int   `cbor:"3,keyasint,omitempty"`
}

// check says what is wrong with a request. The helper does what the laptop
// says; it is only asked for what makes sense.
func (r *request) check() error {
	switch {
	case r.Rules < 0 || r.Rules > MaxRules:
		return protocol("%d bytes of rules", r.Rules)
	case r.Method == methodOpen && !path.IsAbs(string(r.Root)) && string(r.Root) != "~" && !strings.HasPrefix(string(r.Root), "~/"):
		return protocol("a root that is neither absolute nor below the home folder")
	case r.Method == methodRun && (len(r.Argv) == 0 || len(r.Argv[0]) == 0):
		return protocol("a command without words")
	case r.Caps != nil && (r.Caps.FileBytes < 0 || r.Caps.Paths < 0 || r.Caps.Depth < 0):
		return protocol("a cap below nothing")
	}
	return nil
}

// result is the last message of a call that did not fail.
type result struct {
	Info  *info  `cbor:"1,keyasint,omitempty"` // of open and undo, and at the end of a tree
	Batch string `cbor:"2,keyasint,omitempty"` // of undo
	Code  int    `cbor:"3,keyasint,omitempty"` // of run
	Usage *usage `cbor:"4,keyasint,omitempty"` // of usage
}

// info is an endpoint.Info.
type info struct {
	Root         []byte   `cbor:"1,keyasint,omitempty"`
	Identity     string   `cbor:"2,keyasint,omitempty"`
	Fresh        bool     `cbor:"3,keyasint,omitempty"`
	FoldsCase    bool     `cbor:"4,keyasint,omitempty"`
	FoldsUnicode bool     `cbor:"5,keyasint,omitempty"`
	Polling      bool     `cbor:"6,keyasint,omitempty"`
	Notes        []string `cbor:"7,keyasint,omitempty"`
	Batches      []string `cbor:"8,keyasint,omitempty"`
	CopyOf       string   `cbor:"9,keyasint,omitempty"` // see featureMore
}

// maxNotes is how many notes an info has.
const maxNotes = 32

// maxIdentity is how long an identity may be, bytes.
const maxIdentity = 256

func infoOf(i endpoint.Info, features uint64) *info {
	w := &info{
		Root: []byte(i.Root), Identity: i.Identity, Fresh: i.Fresh,
		FoldsCase: i.FoldsCase, FoldsUnicode: i.FoldsUnicode, Polling: i.Polling,
	}
	for _, note := range i.Notes[:min(len(i.Notes), maxNotes)] {
		w.Notes = append(w.Notes, clean(note, 1<<10))
	}
	if features&featureMore != 0 {
		w.Batches, w.CopyOf = i.Batches[max(0, len(i.Batches)-endpoint.MaxBatches):], i.CopyOf
	}
	return w
}

func (w *info) info() (endpoint.Info, error) {
	if w == nil || len(w.Notes) > maxNotes || len(w.Batches) > endpoint.MaxBatches || !identity(w.Identity) || !identity(w.CopyOf) {
		return endpoint.Info{}, protocol("no description of the folder")
	}
	i := endpoint.Info{
		Root: clean(string(w.Root), 4<<10), Identity: w.Identity, Fresh: w.Fresh, CopyOf: w.CopyOf,
		FoldsCase: w.FoldsCase, FoldsUnicode: w.FoldsUnicode, Polling: w.Polling,
	}
	for _, note := range w.Notes {
		i.Notes = append(i.Notes, clean(note, 1<<10))
	}
	for _, batch := range w.Batches {
		i.Batches = append(i.Batches, clean(batch, 128))
	}
	return i, nil
}

// identity is true for what may be one.
func identity(id string) bool { return len(id) <= maxIdentity && id == clean(id, maxIdentity) }

// usage is a Usage.
type usage struct {
	Memory int64 `cbor:"1,keyasint,omitempty"` // bytes
	CPU    int64 `cbor:"2,keyasint,omitempty"` // ns
	Uptime int64 `cbor:"3,keyasint,omitempty"` // ns
}

// Usage is what the helper costs in the pod.
type Usage struct {
	Memory int64         `json:"memory"` // resident bytes; 0: not known
	CPU    time.Duration `json:"cpu"`    // since it started; 0: not known
	Uptime time.Duration `json:"uptime"`
}
