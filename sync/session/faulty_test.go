package session_test

import (
	"context"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/tree"
)

// faulty is a link that fails as a test says. What is nil does as the pod does.
type faulty struct {
	session.Link
	scan  func(ctx context.Context) (*tree.Tree, error)
	apply func(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error)
	fetch func(wants []endpoint.Want) // what happens before a Fetch
	rules func(ctx context.Context, rules []byte) error
	undo  func(ctx context.Context) (string, []endpoint.Update, error)
	next  chan error // what Next ends with
}

func (f *faulty) Scan(ctx context.Context) (*tree.Tree, error) {
	if f.scan != nil {
		return f.scan(ctx)
	}
	return f.Link.Scan(ctx)
}

func (f *faulty) Apply(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
	if f.apply != nil {
		return f.apply(ctx, changes, from)
	}
	return f.Link.Apply(ctx, changes, from)
}

func (f *faulty) Fetch(ctx context.Context, wants []endpoint.Want, each func(int, endpoint.Piece) error) error {
	if f.fetch != nil {
		f.fetch(wants)
	}
	return f.Link.Fetch(ctx, wants, each)
}

func (f *faulty) SetRules(ctx context.Context, rules []byte) error {
	if f.rules != nil {
		return f.rules(ctx, rules)
	}
	return f.Link.SetRules(ctx, rules)
}

func (f *faulty) Undo(ctx context.Context) (string, []endpoint.Update, error) {
	if f.undo != nil {
		return f.undo(ctx)
	}
	return f.Link.Undo(ctx)
}

func (f *faulty) Next(ctx context.Context) ([]endpoint.Update, error) {
	return nextOr(ctx, f.Link, f.next)
}

// nextOr is a folder's Next, which may end with an error.
func nextOr(ctx context.Context, of session.Folder, fails <-chan error) ([]endpoint.Update, error) {
	type said struct {
		updates []endpoint.Update
		err     error
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	got := make(chan said, 1)
	go func() {
		updates, err := of.Next(inner)
		got <- said{updates, err}
	}()
	select {
	case err := <-fails:
		cancel()
		<-got
		return nil, err
	case s := <-got:
		return s.updates, s.err
	}
}

// failing is a local folder that fails.
type failing struct {
	session.Folder
	next  chan error
	scans chan error // what Scans end with, as long as there is something in it
}

func (f *failing) Next(ctx context.Context) ([]endpoint.Update, error) {
	return nextOr(ctx, f.Folder, f.next)
}

func (f *failing) Scan(ctx context.Context) (*tree.Tree, error) {
	select {
	case err := <-f.scans:
		return nil, err
	default:
		return f.Folder.Scan(ctx)
	}
}

// withFaults has every connection be one that make returns.
func (p *pair) withFaults(make func(l *faulty)) {
	p.config.Connect = func(ctx context.Context, rules []byte, say func(string)) (session.Link, error) {
		l, err := p.connect(ctx, rules, say)
		if err != nil {
			return nil, err
		}
		f := &faulty{Link: l, next: nil}
		make(f)
		return f, nil
	}
}
