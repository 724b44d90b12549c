// Package wire is the protocol between a laptop and the helper in a pod: Serve
// is the helper's side, which has the folder; Dial is the laptop's, and gives a
// Remote, which is that folder as an endpoint. docs/sync-protocol.md describes
// the bytes.
//
// The layers: records (sync/wire/record) over any pipe, yamux streams in the
// records, and on each stream one call: messages of a kind, a length and a
// payload, most of them CBOR. Only the laptop makes calls. What the helper
// needs from the laptop, the content of files, it asks for within the call for
// which it needs it, so that a pod can't ask for anything else.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/wire/record"
)

// Major is the version of the protocol. Two sides of different majors do not
// talk to each other.
const Major = 1

// Limits of what a peer may send.
const (
	// MaxPaths is how many paths a tree, and how many changes a batch may have.
	MaxPaths = 2_000_000
	// maxListing is how many bytes of messages a tree or a batch may have.
	maxListing = 1 << 30
	// MaxRules is how many bytes of rules there may be.
	MaxRules = 8 << 20
	// maxHave is how many chunks an asker may name for one file: 16 GiB of them.
	maxHave = 1 << 18
	// maxPiece is how many bytes of content a message has.
	maxPiece = 256 << 10
	// maxContent is how many bytes of content an update or a change carries.
	maxContent = 256 << 10
)

// What Remote.Apply sends along, unasked.
const (
	inlineFile  = 64 << 10 // bytes of one file
	inlineTotal = 1 << 20  // bytes of all of them
)

// Errors of the protocol.
var (
	// ErrVersion: the other side speaks another version of the protocol.
	ErrVersion = errors.New("the other side speaks another version of the sync protocol")
	// ErrProtocol: the other side does not keep to the protocol, or sent
	// something that is not allowed.
	ErrProtocol = errors.New("the other side does not keep to the sync protocol")
	// ErrCorrupt: what arrived is not what was sent.
	ErrCorrupt = record.ErrCorrupt
	// ErrStalled: there was no sign of life for Options.Timeout.
	ErrStalled = record.ErrStalled
	// ErrLost: the connection broke.
	ErrLost = record.ErrLost
	// ErrNoPeer: what answered was not the helper. The error says what it
	// printed.
	ErrNoPeer = record.ErrNoPeer
)

func protocol(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// Open says which folder the helper is to open, and how.
type Open struct {
	Session string // its name; for messages, and to tell who holds the folder
	Root    string // absolute, on the helper's machine; or ~, or below ~/
	Rules   []byte // what is ignored, in the form that the helper's Opener knows
	Caps    Caps
}

// Caps are limits of a session that the helper's endpoint holds to. 0: its own.
type Caps struct {
	FileBytes int64 // of one file
	Paths     int
	Depth     int
}

// Opener opens the helper's folder.
type Opener func(ctx context.Context, o Open) (endpoint.Endpoint, error)

// Runner runs a command in dir, and returns its exit code. It ends it when the
// context ends. The error says why it could not be run.
type Runner func(ctx context.Context, argv []string, dir string, stdout, stderr io.Writer) (code int, err error)

// RuleTaker is an endpoint whose rules can be changed. Rules are as in Open.
type RuleTaker interface {
	SetRules(ctx context.Context, rules []byte) error
}

// Options are how a side behaves. The zero value is good.
type Options struct {
	Version   string        // of the program, for messages
	Heartbeat time.Duration // how often a sign of life is sent; 0: 3 s
	Timeout   time.Duration // without a sign of life the connection is lost; 0: 10 s
	Greeting  time.Duration // how long the other side may take to start; 0: 30 s
	Run       Runner        // of Serve; nil: no command is run
}

func (o Options) greeting() time.Duration {
	if o.Greeting == 0 {
		return 30 * time.Second
	}
	return o.Greeting
}

func (o Options) record(answers bool) record.Config {
	return record.Config{Heartbeat: o.Heartbeat, Timeout: o.Timeout, Answers: answers}
}
