package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/render"
)

// made is a release with its artifact and the lock that is in it.
type made struct {
	release.Release
	artifact release.Artifact
	lock     lock.Lock
}

func (m made) digest() string { return m.artifact.Digest.String() }

// repositories are those of the lock's images.
func (m made) repositories() []string {
	var all []string
	for _, i := range m.lock.Images {
		all = append(all, i.Repository)
	}
	return all
}

// release makes the project's release: of the same project, the same one.
func (e *Engine) release(s settled) (made, error) {
	all, err := e.renderAll(s)
	if err != nil {
		return made{}, err
	}
	text, digest, err := lock.Encode(s.lock)
	if err != nil {
		return made{}, err
	}
	m := made{lock: s.lock, Release: release.Release{
		Project: e.file.Metadata.Name, LockDigest: digest.String(), Lock: text, Differences: e.file.Differences,
	}}
	for _, p := range s.base {
		c := p.Component
		c.Files, c.Dir = nil, ""
		m.Components = append(m.Components, c)
	}
	for _, name := range e.file.Environments.Order() {
		env := release.Environment{Name: name}
		if name != project.DevName {
			other := e.file.Environments.Others[name]
			env.After, env.Pull = slices.Sorted(slices.Values(other.After)), other.Registry.Pull
		}
		for _, p := range all[name].parts {
			env.Sets = append(env.Sets, release.Set{Name: p.Name, Namespace: p.Namespace, Hash: p.hash, Objects: p.rendered.Objects, Images: p.refs})
		}
		m.Environments = append(m.Environments, env)
	}
	m.artifact, err = m.Encode()
	return m, err
}

// stored returns a release by its digest, from the registry of the environment
// or of one that it comes after.
func (e *Engine) stored(ctx context.Context, name, digest string) (made, error) {
	hash, err := v1.NewHash(digest)
	if err != nil {
		return made{}, &fault.Error{Op: "looking for the release", Subject: digest, Kind: fault.Usage, Err: err, Hint: "a release is named by its digest, sha256:…"}
	}
	ref := images.Ref{Repository: release.Repository(e.file.Metadata.Name), Digest: hash}
	var errs []error
	for _, from := range append([]string{name}, e.file.Environments.Others[name].After...) {
		if from == project.DevName {
			continue
		}
		r, err := e.siteRegistry(from, nil)
		if err == nil {
			var got release.Release
			if got, err = release.Pull(ctx, reading{r.target}, ref); err == nil {
				return remade(got, hash)
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", from, err))
	}
	return made{}, &fault.Error{Op: "looking for the release", Subject: digest, Kind: fault.NotFound, Err: errors.Join(errs...)}
}

// publish brings the release itself into an environment's registry, and has it
// kept there.
func (m made) publish(ctx context.Context, r siteRegistry, sink progress.Sink, task string) error {
	ref := images.Ref{Repository: release.Repository(m.Project), Digest: m.artifact.Digest}
	copier := images.Copier{From: release.Origin(m.artifact, ref.Repository), To: r.target, Sink: sink, Task: task}
	if _, err := copier.Copy(ctx, ref); err != nil {
		return err
	}
	return r.target.Keep(ctx, ref)
}

// remade is a release that was read, ready to be promoted again.
func remade(r release.Release, digest v1.Hash) (made, error) {
	artifact, err := r.Encode()
	if err != nil {
		return made{}, err
	}
	if artifact.Digest != digest {
		return made{}, &fault.Error{Op: "reading the release", Subject: digest.String(), Err: errors.New("another kfdev wrote it in another form"),
			Hint: "promote it with the kfdev that made it"}
	}
	l, _, err := lock.Decode(lock.FileName, r.Lock)
	return made{Release: r, artifact: artifact, lock: l}, err
}

// parts are what an environment of the release gets, as the stack's side of a
// cluster takes them.
func (m made) parts(name string) ([]part, error) {
	env, ok := m.Environment(name)
	if !ok {
		return nil, &fault.Error{Op: "reading the release", Subject: release.Short(m.digest()), Kind: fault.NotFound,
			Err: fmt.Errorf("it was made before the project had the environment %s", name)}
	}
	var parts []part
	for _, set := range env.Sets {
		c, ok := m.Component(set.Name)
		if !ok {
			c = stack.Component{Name: set.Name, Namespace: set.Namespace}
		}
		parts = append(parts, part{Component: c, rendered: render.Rendered{Objects: set.Objects}, hash: set.Hash, refs: set.Images})
	}
	return parts, nil
}
