package envs

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// fromRegistry resolves the published images and enters them into the lock.
// What the old lock has stays, unless it was named to move.
func (l *locker) fromRegistry(ctx context.Context, next *lock.Lock, all []wanted) (err error) {
	task := progress.Start(l.sink, "lock/resolve", "resolving tags to digests", int64(len(all)+1), progress.Items)
	defer func() { task.End(err) }()
	platforms := platformsOf(*next)
	for _, w := range all {
		i, err := l.resolved(ctx, w, platforms)
		if err != nil {
			return atPlaces(err, w)
		}
		next.Images = append(next.Images, i)
		task.Add(1)
	}
	if l.had && l.old.Node.Image.StandsFor == publishedNode && !l.moves(theNode()) {
		next.Node = l.old.Node
		return nil
	}
	next.Node, err = l.resolvedNode(ctx)
	return err
}

func (l *locker) resolved(ctx context.Context, w wanted, platforms []v1.Platform) (lock.Image, error) {
	at := slices.IndexFunc(l.old.Images, func(i lock.Image) bool {
		return i.Origin == images.FromRegistry && i.StandsFor == w.published && isFor(i, platforms)
	})
	if at >= 0 && !l.moves(w) {
		i := l.old.Images[at]
		i.References = w.references
		return i, nil
	}
	got, err := l.remote.Resolve(ctx, w.published, platforms)
	if err != nil {
		return lock.Image{}, err
	}
	i := lockedPublished(got)
	i.References = w.references
	return i, nil
}

// isFor reports whether an image is locked for just these platforms.
func isFor(i lock.Image, platforms []v1.Platform) bool {
	return len(i.Platforms) == len(platforms) && !slices.ContainsFunc(platforms, func(p v1.Platform) bool {
		return !slices.ContainsFunc(i.Platforms, func(c lock.Child) bool { return c.Platform == p.OS+"/"+p.Architecture })
	})
}

func lockedPublished(got registry.Resolved) lock.Image {
	i := lock.Image{
		Repository: got.Ref.Repository, Digest: got.Ref.Digest, MediaType: string(got.MediaType), Size: got.Size,
		Origin: images.FromRegistry, StandsFor: got.Name,
	}
	for _, c := range got.Children {
		i.Platforms = append(i.Platforms, lock.Child{Platform: c.Platform.OS + "/" + c.Platform.Architecture, Digest: c.Ref.Digest, Size: c.Size})
	}
	return i
}

// resolvedNode locks the published node image for this machine alone.
func (l *locker) resolvedNode(ctx context.Context) (lock.Node, error) {
	server, err := l.world.Daemon.Server(ctx)
	if err != nil {
		return lock.Node{}, err
	}
	got, err := l.remote.Resolve(ctx, publishedNode, []v1.Platform{{OS: "linux", Architecture: architecture(server.Arch)}})
	if err != nil {
		return lock.Node{}, err
	}
	child := got.Children[0]
	config, err := l.configOf(ctx, child)
	if err != nil {
		return lock.Node{}, err
	}
	return lock.Node{Image: lockedPublished(got), Config: child.Config, DiffIDs: config.RootFS.DiffIDs}, nil
}

func (l *locker) configOf(ctx context.Context, child registry.Child) (v1.ConfigFile, error) {
	var file v1.ConfigFile
	manifest, err := l.remote.Manifest(ctx, child.Ref)
	if err != nil {
		return file, err
	}
	parsed, err := v1.ParseManifest(strings.NewReader(string(manifest.Raw)))
	if err != nil {
		return file, err
	}
	content, err := l.remote.Blob(ctx, child.Ref.Repository, parsed.Config)
	if err != nil {
		return file, err
	}
	defer func() { _ = content.Close() }()
	raw, err := io.ReadAll(content)
	if err != nil {
		return file, err
	}
	return file, json.Unmarshal(raw, &file)
}

// architecture is the name that images have for what uname says.
func architecture(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return machine
}

// atPlaces says where an image that can't be resolved is asked for.
func atPlaces(err error, w wanted) error {
	places := make([]string, 0, len(w.references))
	for _, r := range w.references {
		places = append(places, r.Component+": "+r.Object+" "+r.Path)
	}
	return &fault.Error{Op: "resolving " + w.published, Subject: "asked for at " + strings.Join(places, "; "), Err: err}
}
