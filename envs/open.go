package envs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// tokenLife is how long a token that lets a person in holds: a working day.
const tokenLife = 12 * time.Hour

// Opened is a local address that leads to a component, until Close.
type Opened struct {
	Component string    `json:"component"`
	URL       string    `json:"url"`
	User      string    `json:"user,omitempty"`
	Password  string    `json:"password,omitempty"`
	Token     string    `json:"token,omitempty"`  // to be sent as Authorization: Bearer TOKEN
	Expires   time.Time `json:"expires,omitzero"` // the token
	Note      string    `json:"note,omitempty"`   // what a person should know of the component

	forward *kube.Forward
	live    live
}

// Close ends it.
func (o *Opened) Close() error {
	err := o.forward.Close()
	o.live.Close()
	return err
}

// Open opens a local address that answers, and follows the component's pod
// when that is replaced. Port 0 takes any that is free.
func (e *Engine) Open(ctx context.Context, name string, port int) (*Opened, error) {
	s, err := e.asWritten()
	if err != nil {
		return nil, err
	}
	p, err := s.part(name)
	if err != nil {
		return nil, err
	}
	if p.Open == nil {
		return nil, &fault.Error{Op: "opening", Subject: name, Kind: fault.NotFound, Err: errors.New("it serves no page"), Hint: "`kfdev status` lists the components"}
	}
	live, _, err := e.running(ctx, s)
	if err != nil {
		return nil, err
	}
	opened, err := open(ctx, p, port, live)
	if err != nil {
		live.Close()
	}
	return opened, err
}

func open(ctx context.Context, p part, port int, live live) (*Opened, error) {
	o, err := login(ctx, p, live)
	if err != nil {
		return nil, err
	}
	o.live = live
	o.forward, err = live.Client().Forward(ctx, openNamespace(p), p.Open.Service, p.Open.Port, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	scheme := p.Open.Scheme
	if scheme == "" {
		scheme = "http"
	}
	o.URL = scheme + "://" + o.forward.Addr() + p.Open.Path
	return o, nil
}

// login finds out how a person gets in.
func login(ctx context.Context, p part, live live) (o *Opened, err error) {
	o = &Opened{Component: p.Name, Note: p.Note}
	if p.Open.Secret != "" {
		if o.User, err = live.Secret(ctx, openNamespace(p), p.Open.Secret, p.Open.UserKey); err != nil {
			return nil, err
		}
		if o.Password, err = live.Secret(ctx, openNamespace(p), p.Open.Secret, p.Open.PasswordKey); err != nil {
			return nil, err
		}
	}
	if p.Open.ServiceAccount != "" {
		token, err := live.Token(ctx, openNamespace(p), p.Open.ServiceAccount, tokenLife)
		if err != nil {
			return nil, err
		}
		o.Token, o.Expires = token.Value, token.Expires
	}
	return o, nil
}

func openNamespace(p part) string { return cmp.Or(p.Open.Namespace, p.Namespace) }

// asWritten is the stack as kfdev.yaml has it, whatever the lock says: enough
// to look at what runs.
func (e *Engine) asWritten() (settled, error) {
	parts, err := e.stackOf(e.file)
	return settled{file: e.file, parts: parts}, err
}
