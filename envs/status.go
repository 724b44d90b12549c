package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Readiness says how far along something is, in kstatus' words.
type Readiness string

// The readiness words.
const (
	Current    Readiness = "Current"
	InProgress Readiness = "InProgress"
	NotFound   Readiness = "NotFound"
)

// Status is what runs of a project, and why what does not run does not.
type Status struct {
	Project    string            `json:"project"`
	Context    string            `json:"context"`
	Cluster    cluster.Phase     `json:"cluster"` // empty: there is none
	Server     string            `json:"server,omitempty"`
	Kubernetes string            `json:"kubernetes"`
	Lock       string            `json:"lock"`            // digest
	Stale      string            `json:"stale,omitempty"` // why the lock is not this project's any more
	Origin     string            `json:"origin"`
	Registry   string            `json:"registry,omitempty"` // address on this machine
	Memory     int64             `json:"memory,omitempty"`   // working set of the nodes, bytes
	Components []ComponentStatus `json:"components"`
}

// ComponentStatus is one component.
type ComponentStatus struct {
	Name    string        `json:"name"`
	Version string        `json:"version"`
	State   Readiness     `json:"state"`
	Why     string        `json:"why,omitempty"` // it is not Current
	Images  []ImageStatus `json:"images,omitempty"`
	Note    string        `json:"note,omitempty"`
}

// ImageStatus is one image of a component.
type ImageStatus struct {
	Image     string `json:"image"` // repository@digest
	StandsFor string `json:"standsFor,omitempty"`
}

// Ready reports whether everything is.
func (s Status) Ready() bool {
	for _, c := range s.Components {
		if c.State != Current {
			return false
		}
	}
	return s.Cluster == cluster.Running
}

// Status looks at what runs. It changes nothing.
func (e *Engine) Status(ctx context.Context) (Status, error) {
	s, stale, err := e.settledOrStale(ctx)
	if err != nil {
		return Status{}, err
	}
	out := Status{
		Stale:   stale,
		Project: s.file.Metadata.Name, Context: cluster.ContextName(s.file.Metadata.Name),
		Kubernetes: s.lock.Kubernetes, Lock: s.digest.String(), Origin: string(s.lock.Origin),
	}
	switch got, err := e.world.Registry(nil).Get(ctx); {
	case err == nil && got.Running:
		out.Registry = got.Addr.String()
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return out, err
	}
	live, got, err := e.liveOf(ctx, s)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return out, err
	}
	out.Cluster, out.Server = got.Phase, got.Server
	if live != nil {
		defer live.Close()
		if err := live.Healthy(ctx); err != nil {
			starting(&out, s)
			return out, ctx.Err()
		}
		// A kubelet that has just started does not measure yet.
		if out.Memory, err = live.Memory(ctx); err != nil {
			progress.Warn(e.sink, err.Error())
		}
	}
	out.Components, err = componentsOf(ctx, s, live)
	return out, err
}

// settledOrStale is settled for a look: a lock of an older kfdev.yaml will do,
// and what makes it stale is returned.
func (e *Engine) settledOrStale(ctx context.Context) (s settled, stale string, err error) {
	s, err = e.settled(ctx)
	if fault.KindOf(err) != fault.Drift {
		return s, "", err
	}
	stale = err.Error()
	written, err := e.asWritten()
	if err != nil {
		return s, "", err
	}
	written.lock, written.digest, err = lock.Load(e.file.Dir)
	return written, stale, err
}

// starting is the status of a cluster whose API does not answer yet.
func starting(out *Status, s settled) {
	for _, p := range s.parts {
		c := lockedStatus(s, p)
		c.State, c.Why = InProgress, "the cluster's API does not answer yet"
		out.Components = append(out.Components, c)
	}
}

// componentsOf looks at every component; without a cluster none is there.
func componentsOf(ctx context.Context, s settled, live live) ([]ComponentStatus, error) {
	var sets []string
	if live != nil {
		var err error
		if sets, err = live.Sets(ctx); err != nil {
			return nil, err
		}
	}
	var all []ComponentStatus
	for _, p := range s.parts {
		c := lockedStatus(s, p)
		switch {
		case live == nil:
			c.State, c.Why = NotFound, "the cluster does not run"
		case !slices.Contains(sets, p.Name):
			c.State, c.Why = NotFound, "it was not brought up; run `kfdev up`"
		default:
			ready, why, err := live.Current(ctx, p)
			if err != nil {
				return all, err
			}
			c.State, c.Why = InProgress, why
			if ready {
				c.State, c.Why = Current, ""
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// lockedStatus is what can be said of a component without a look at a cluster.
func lockedStatus(s settled, p part) ComponentStatus {
	c := ComponentStatus{Name: p.Name, Version: p.Version, Note: p.Note}
	for _, i := range s.lock.ImagesOf(p.Name) {
		c.Images = append(c.Images, ImageStatus{Image: i.Ref().String(), StandsFor: i.StandsFor})
	}
	return c
}

// liveOf returns the client of the project's cluster, nil where it does not
// run.
func (e *Engine) liveOf(ctx context.Context, s settled) (live, cluster.State, error) {
	got, err := e.world.Clusters.Get(ctx, s.file.Metadata.Name)
	if err != nil || got.Phase != cluster.Running {
		return nil, got, err
	}
	live, err := e.world.Connect(got.Kubeconfig)
	return live, got, err
}

// running returns the client of the project's cluster, and what that is; one
// that does not run is a fault.
func (e *Engine) running(ctx context.Context, s settled) (live, cluster.State, error) {
	live, got, err := e.liveOf(ctx, s)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, got, err
	}
	if live == nil {
		phase := "is not there"
		if got.Phase != "" {
			phase = "is " + string(got.Phase)
		}
		return nil, got, &fault.Error{
			Op: "reaching the cluster", Subject: cluster.ContextName(s.file.Metadata.Name), Kind: fault.NotFound,
			Hint: "run `kfdev up`", Err: errors.New("it " + phase),
		}
	}
	return live, got, nil
}

// part returns the component of that name, a fault of kind NotFound where the
// project has none.
func (s settled) part(name string) (part, error) {
	var names []string
	for _, p := range s.parts {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return part{}, &fault.Error{
		Op: "finding the component", Subject: name, Kind: fault.NotFound,
		Hint: fmt.Sprintf("the project has %v", names), Err: errors.New("it is not in the stack"),
	}
}
