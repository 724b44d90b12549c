package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/imageref"
	"github.com/kfdev/kfdev/stack/render"
)

// KubernetesVersion is the version that kfdev's clusters run: that of the node
// image, from a registry and from source.
const KubernetesVersion = "v1.36.1"

// publishedNode is the node image where a registry is used.
const publishedNode = "docker.io/kindest/node:" + KubernetesVersion

// nodeRecipe is the recipe of the node image from source.
const nodeRecipe = "node"

// LockOptions say how the lock is brought up to date.
type LockOptions struct {
	// Check writes nothing and builds nothing; a lock that would change is a
	// fault of kind Drift.
	Check bool
	// Update moves what a lock otherwise keeps: the images of the given names
	// (component, recipe, repository or published image), or all of them where
	// UpdateAll is set.
	Update    []string
	UpdateAll bool
	Wait      bool // for another kfdev that changes the project
}

// LockResult is what became of the lock.
type LockResult struct {
	Digest  string            `json:"digest"`
	Origin  images.OriginKind `json:"origin"`
	Why     string            `json:"why"` // this origin
	Images  int               `json:"images"`
	First   bool              `json:"first"` // there was no lock before, so all is new
	Changes []lock.Change     `json:"changes"`
	Written bool              `json:"written"`
}

// Lock computes the project's lock and writes it, or checks it.
func (e *Engine) Lock(ctx context.Context, o LockOptions) (result LockResult, err error) {
	if !o.Check {
		release, err := e.records.Acquire(ctx, e.command, o.Wait, e.sink)
		if err != nil {
			return result, err
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	return e.writeLock(ctx, o)
}

func (e *Engine) writeLock(ctx context.Context, o LockOptions) (LockResult, error) {
	old, _, err := lock.Load(e.file.Dir)
	had := err == nil
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return LockResult{}, err
	}
	if o.Check && !had {
		return LockResult{}, &fault.Error{
			Op: "checking the lock", Subject: lock.FileName, Kind: fault.Drift,
			Hint: "run `kfdev lock`", Err: errors.New("the project has none yet"),
		}
	}
	l := &locker{Engine: e, options: o, old: old, had: had}
	next, err := l.compute(ctx)
	if err != nil {
		return LockResult{}, err
	}
	result := LockResult{Origin: next.Origin, Why: l.why, Images: len(next.Images), First: !had, Changes: append([]lock.Change{}, lock.Diff(old, next)...)}
	if o.Check {
		digest, err := lock.Digest(old)
		result.Digest = digest.String()
		if err == nil && len(result.Changes) > 0 {
			err = &fault.Error{
				Op: "checking the lock", Subject: lock.FileName, Kind: fault.Drift,
				Hint: "run `kfdev lock`", Err: fmt.Errorf("it would change in %d facts", len(result.Changes)),
			}
		}
		return result, err
	}
	var digest v1.Hash
	result.Written, digest, err = lock.Save(e.file.Dir, next)
	result.Digest = digest.String()
	return result, err
}

// locker computes one lock.
type locker struct {
	*Engine
	options LockOptions
	old     lock.Lock
	had     bool
	why     string // the origin was decided so
}

func (l *locker) compute(ctx context.Context) (lock.Lock, error) {
	next, parts, all, err := l.begin(ctx)
	if err != nil {
		return next, err
	}
	return l.finish(ctx, next, parts, all)
}

// begin finds what the stack wants, and decides where it comes from.
func (l *locker) begin(ctx context.Context) (next lock.Lock, parts []part, all []wanted, err error) {
	if parts, err = l.stackOf(l.file); err != nil {
		return next, nil, nil, err
	}
	if all, err = wantedBy(parts); err != nil {
		return next, nil, nil, err
	}
	if err := l.checkNames(all); err != nil {
		return next, nil, nil, err
	}
	next = lock.Lock{Catalog: catalogVersion, Kubernetes: KubernetesVersion}
	for _, p := range l.file.Platforms {
		next.Platforms = append(next.Platforms, string(p))
	}
	next.Origin, l.why, err = l.decideOrigin(ctx, all)
	return next, parts, all, err
}

// finish gives every image its digest, and with them every component its hash.
func (l *locker) finish(ctx context.Context, next lock.Lock, parts []part, all []wanted) (lock.Lock, error) {
	var err error
	if next.Origin == images.FromSource {
		err = l.fromSource(ctx, &next, all)
	} else {
		err = l.fromRegistry(ctx, &next, all)
	}
	if err != nil {
		return next, err
	}
	next.Images = append(next.Images, l.keptBaked(next.Platforms)...)
	for _, p := range parts {
		c, err := lockedComponent(p, next)
		if err != nil {
			return next, err
		}
		next.Components = append(next.Components, c)
	}
	return next, nil
}

// decideOrigin says where images come from: what the project asks for, what
// the lock had decided before, or else what answers now.
func (l *locker) decideOrigin(ctx context.Context, all []wanted) (images.OriginKind, string, error) {
	switch want := l.file.Origin; {
	case want == "registry" || want == "source":
		return images.OriginKind(want), "kfdev.yaml says so", nil
	case l.had && l.old.Origin != "" && !l.options.UpdateAll:
		return l.old.Origin, "as the lock decided before", nil
	}
	repositories := []string{repositoryOf(publishedNode)}
	for _, w := range all {
		repositories = append(repositories, repositoryOf(w.published))
	}
	task := progress.Start(l.sink, "lock/origin", "asking the registries whether they answer", 0, progress.None)
	err := l.remote.Answers(ctx, repositories, registryPatience)
	if err == nil {
		task.Finish("the registries answer: images are pulled")
		return images.FromRegistry, "every registry answered", nil
	}
	if ctx.Err() != nil {
		task.Fail(ctx.Err())
		return "", "", ctx.Err()
	}
	task.Finish("no registry answers: images are built from source")
	return images.FromSource, "not every registry answered within " + registryPatience.String(), nil
}

// lockedComponent records a component with every image by digest.
func lockedComponent(p part, l lock.Lock) (lock.Component, error) {
	source, err := v1.NewHash(p.rendered.SourceHash)
	if err != nil {
		return lock.Component{}, err
	}
	pinnedPart, err := pinned(p, l)
	if err != nil {
		return lock.Component{}, err
	}
	rendered, err := v1.NewHash(pinnedPart.hash)
	if err != nil {
		return lock.Component{}, err
	}
	c := lock.Component{Name: p.Name, Version: p.Version, Folder: p.folder, Source: source, Rendered: rendered}
	for _, i := range l.ImagesOf(p.Name) {
		c.Images = append(c.Images, i.Repository)
	}
	return c, nil
}

// pinned returns the part with every image by the lock's digest.
func pinned(p part, l lock.Lock) (part, error) {
	byPublished := map[string]images.Ref{}
	for _, i := range l.Images {
		if i.StandsFor != "" {
			byPublished[i.StandsFor] = i.Ref()
		}
		for _, c := range p.Images {
			if i.Recipe != "" && i.Recipe == c.Recipe {
				byPublished[c.Published] = i.Ref()
			}
		}
	}
	objects := copies(p.rendered.Objects)
	if err := imageref.Pin(objects, byPublished, p.Rules); err != nil {
		return p, err
	}
	p.rendered.Objects = objects
	var err error
	if p.hash, err = render.Hash(objects); err != nil {
		return p, err
	}
	p.refs = map[string]images.Ref{}
	for _, i := range p.Images {
		if ref, ok := byPublished[i.Published]; ok {
			p.refs[i.Name] = ref
		}
	}
	return p, nil
}

// stale says in what the lock is not the lock of just this project; empty when
// it is.
func (e *Engine) stale(s settled) string {
	var names []string
	for _, p := range s.parts {
		names = append(names, p.Name)
		locked, ok := s.lock.Component(p.Name)
		if !ok {
			return "the component " + p.Name + " is not in it"
		}
		if locked.Source.String() != p.rendered.SourceHash {
			return "the component " + p.Name + " has changed"
		}
	}
	for _, c := range s.lock.Components {
		if !slices.Contains(names, c.Name) {
			return "it has the component " + c.Name + ", which the project has not"
		}
	}
	if want := e.file.Origin; want != "auto" && want != "" && string(want) != string(s.lock.Origin) {
		return fmt.Sprintf("its origin is %s, the project says %s", s.lock.Origin, want)
	}
	var platforms []string
	for _, p := range e.file.Platforms {
		platforms = append(platforms, string(p))
	}
	slices.Sort(platforms)
	if !slices.Equal(platforms, slices.Sorted(slices.Values(s.lock.Platforms))) {
		return fmt.Sprintf("its platforms are %v, the project's are %v", s.lock.Platforms, platforms)
	}
	return ""
}
