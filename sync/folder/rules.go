package folder

import (
	"context"
	"errors"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/ignore"
	"github.com/kfdev/kfdev/sync/tree"
	"github.com/kfdev/kfdev/sync/wire"
)

// ParseRules reads rules as sync/ignore writes them; nothing at all ignores
// nothing.
func ParseRules(raw []byte) (Matcher, error) {
	if len(raw) == 0 {
		return nothing{}, nil
	}
	r, err := ignore.Parse(raw)
	if err != nil {
		return nil, &fault.Error{Op: "reading the rules of what is ignored", Err: err}
	}
	return r, nil
}

// Opener opens folders for wire.Serve.
func Opener(sink progress.Sink) wire.Opener {
	return func(ctx context.Context, o wire.Open) (endpoint.Endpoint, error) {
		rules, err := ParseRules(o.Rules)
		if err != nil {
			return nil, err
		}
		f, err := Open(ctx, Options{
			Root: o.Root, Session: o.Session, Rules: rules, ParseRules: ParseRules, Caps: o.Caps, Sink: sink,
		})
		if err != nil {
			return nil, err // and not a Folder that is nil
		}
		return f, nil
	}
}

// SetRules implements wire.RuleTaker. What is ignored from now on is reported by
// Next as that, and what no longer is as new.
func (f *Folder) SetRules(ctx context.Context, raw []byte) error {
	ctx, leave, err := f.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if f.o.ParseRules == nil {
		return errors.New("the rules of this folder can't be changed")
	}
	rules, err := f.o.ParseRules(raw)
	if err != nil {
		return err
	}
	looked, err := f.looks.hold(ctx)
	if err != nil {
		return err
	}
	defer looked()
	changed, err := f.changes.hold(ctx)
	if err != nil {
		return err
	}
	defer changed()
	f.mu.Lock()
	f.rules = rules
	f.forgetIgnored("", f.known.Root())
	w := f.watch
	f.mu.Unlock()
	if w != nil {
		if err := w.SetSkip(skip(rules)); err != nil {
			return &fault.Error{Op: "watching the folder", Subject: f.o.Root, Err: err}
		}
	}
	f.mu.Lock()
	f.dirty[""] = true
	f.mu.Unlock()
	f.wake()
	return nil
}

// forgetIgnored takes what the rules ignore out of what is known. The caller has
// mu.
func (f *Folder) forgetIgnored(path string, n *tree.Node) {
	for _, name := range n.Names() {
		child, c := tree.Join(path, name), n.Child(name)
		if !f.rules.Ignored(child, c.Kind == tree.Dir) {
			f.forgetIgnored(child, c)
			continue
		}
		if seq, err := f.said(child, tree.Entry{}); err == nil {
			f.news = append(f.news, endpoint.Update{Path: child, Ignored: true, Seq: seq})
		}
	}
}
