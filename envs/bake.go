package envs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/derive"
	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/running"
	"github.com/kfdev/kfdev/sync/bake"
	"github.com/kfdev/kfdev/sync/pod"
	"github.com/kfdev/kfdev/sync/session/control"
)

// BakeOptions say what is baked.
type BakeOptions struct {
	Name string // of the entry of kfdev.yaml
	// AllowSecrets are files or folders of the entry's folder that may hold
	// secrets.
	AllowSecrets []string
	Local        bool // the folder as it is here, whatever a session says
	Lock         bool // enter it into the lock
	Wait         bool // for another kfdev that changes the project
}

// Baked is an image that was made of another one and a folder's files.
type Baked struct {
	Image     string   `json:"image"` // repository@digest
	Base      string   `json:"base"`  // repository@digest: what the pod runs
	Pod       string   `json:"pod"`
	Folder    string   `json:"folder"` // in the image
	Platforms []string `json:"platforms"`
	Layer     string   `json:"layer"` // digest
	Files     int      `json:"files"`
	Bytes     int64    `json:"bytes"` // of the files
	UID       int      `json:"uid"`   // of the files' owner
	GID       int      `json:"gid"`
	Compared  bool     `json:"compared"` // with what the pod has, as its session says
	Locked    bool     `json:"locked"`
	Notes     []string `json:"notes,omitempty"` // what of the folder is not in it
}

// Bake makes the image that has what a sync entry's folder has, on top of the
// image that the entry's pod runs, and brings it into the local registry.
func (e *Engine) Bake(ctx context.Context, o BakeOptions) (Baked, error) {
	return e.bake(ctx, o, func(ctx context.Context, l live, t pod.Target) (pod.Pod, error) {
		return pod.Find(ctx, l.Client(), t)
	})
}

// finder finds the pod that a target names.
type finder func(context.Context, live, pod.Target) (pod.Pod, error)

func (e *Engine) bake(ctx context.Context, o BakeOptions, find finder) (_ Baked, err error) {
	entry, ok := e.file.SyncNamed(o.Name)
	if !ok {
		return Baked{}, e.noSync(o.Name)
	}
	if o.Lock {
		release, err := e.records.Acquire(ctx, e.command, o.Wait, e.sink)
		if err != nil {
			return Baked{}, err
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	s, err := e.settled(ctx)
	if err != nil {
		return Baked{}, err
	}
	b := baker{Engine: e, options: o, entry: entry, settled: s}
	if err := b.findBase(ctx, find); err != nil {
		return Baked{}, err
	}
	release, err := e.store.Hold(ctx) // what is made is not pruned before it is in the lock
	if err != nil {
		return Baked{}, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := b.make(ctx); err != nil {
		return Baked{}, err
	}
	if err := b.push(ctx); err != nil {
		return Baked{}, err
	}
	err = b.enter()
	b.tell()
	return b.result, err
}

func (e *Engine) noSync(name string) error {
	names := make([]string, 0, len(e.file.Sync))
	for _, s := range e.file.Sync {
		names = append(names, s.Name)
	}
	hint := fmt.Sprintf("kfdev.yaml has the entries %v", names)
	if len(names) == 0 {
		hint = "write an entry under sync in kfdev.yaml: name, local, remote and target"
	}
	return &fault.Error{Op: "looking for the sync entry", Subject: name, Kind: fault.NotFound, Hint: hint, Err: errors.New("kfdev.yaml has none of that name")}
}

// baker makes one image.
type baker struct {
	*Engine
	options BakeOptions
	entry   project.Sync
	settled settled
	target  images.Target
	base    images.Ref
	derived derive.Derived
	layer   derive.Layer
	result  Baked
	knows   *control.Running // the session that knows what the pod has; nil: none does
}

// findBase finds what the pod runs, and where its bytes are.
func (b *baker) findBase(ctx context.Context, find finder) error {
	target, err := b.entry.PodTarget()
	if err != nil {
		return err
	}
	live, _, err := b.running(ctx, b.settled)
	if err != nil {
		return err
	}
	defer live.Close()
	p, err := find(ctx, live, target)
	if err != nil {
		return err
	}
	registry, err := b.world.Registry(nil).Get(ctx)
	if err == nil && !registry.Running {
		err = errors.New("it does not run")
	}
	if err != nil {
		return &fault.Error{Op: "reaching the local registry", Kind: fault.KindOf(err), Hint: "run `kfdev up`", Err: err}
	}
	b.target = b.world.Target(registry.Addr)
	b.result.Pod = p.String()
	b.base, err = baseOf(p, b.settled.lock)
	b.result.Base = b.base.String()
	return err
}

// baseOf is the lock's image that the pod runs. A pod that runs what was baked
// is baked anew on what that was baked on: the folder takes the place of what
// it was, and no layers pile up.
func baseOf(p pod.Pod, l lock.Lock) (images.Ref, error) {
	digest, known := running.Digest(p.ImageID)
	for _, i := range l.Images {
		if !known || i.Digest != digest && !slices.ContainsFunc(i.Platforms, func(c lock.Child) bool { return c.Digest == digest }) {
			continue
		}
		if i.Origin == images.FromBake {
			return images.ParseRef(i.Bake.Base)
		}
		return i.Ref(), nil
	}
	return images.Ref{}, &fault.Error{
		Op: "looking for what the pod runs in the lock", Subject: p.String(), Kind: fault.NotFound,
		Err:  fmt.Errorf("%s, which is %s there, is not an image of kfdev.lock", p.Image, p.ImageID),
		Hint: "what is baked is to be promoted, and so builds on an image of the lock: start the pod from one of those that `kfdev images ls` lists",
	}
}

// make writes the layer and the image into the store.
func (b *baker) make(ctx context.Context) (err error) {
	from, ok := b.target.(contents)
	if !ok {
		return errors.New("the local registry cannot be read")
	}
	base, err := derive.Read(ctx, from, b.base, platformsOf(b.settled.lock))
	if err != nil {
		return &fault.Error{Op: "baking", Subject: b.entry.Name, Hint: "`kfdev up` brings what the local registry lacks", Err: err}
	}
	for _, blob := range base.Blobs() { // so that the registry links them, and none travels
		if has, err := b.target.Has(ctx, b.base.Repository, blob); err != nil || !has {
			return errors.Join(err, &fault.Error{Op: "baking on", Subject: b.base.String(), Kind: fault.NotFound, Hint: "run `kfdev up`", Err: fmt.Errorf("the local registry lacks its blob %s", blob.Digest)})
		}
	}
	uid, gid, _ := base.Owner() // root's where it is not known
	folder := b.file.LocalPath(b.entry)
	rules, err := b.ignored(folder)
	if err != nil {
		return err
	}
	o := bake.Options{
		Root: folder, Ignored: rules.Ignored, Remote: b.entry.Remote, UID: uid, GID: gid, AllowSecrets: b.options.AllowSecrets,
	}
	if err := b.findSession(ctx, &o); err != nil {
		return err
	}
	if o.Image, err = b.has(ctx, base, from); err != nil {
		return err
	}
	if err := b.ran(ctx, &o); err != nil { // reading that took a while
		return err
	}
	collected, err := bake.Collect(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, collected.Tree.Close()) }()
	if err := b.pack(ctx, collected); err != nil {
		return err
	}
	b.result.UID, b.result.GID, b.result.Folder = uid, gid, b.entry.Remote
	b.result.Files, b.result.Bytes, b.result.Notes = collected.Files, collected.Bytes, collected.Notes
	if b.derived, err = base.With(b.layer, lock.BakedRepository(b.file.Metadata.Name, b.entry.Name)); err != nil {
		return &fault.Error{Op: "baking on", Subject: b.base.String(), Err: err}
	}
	b.result.Image, b.result.Layer = b.derived.Ref.String(), b.layer.Digest.String()
	for _, c := range b.derived.Children {
		b.result.Platforms = append(b.result.Platforms, c.Platform.OS+"/"+c.Platform.Architecture)
	}
	return b.keep(ctx)
}

// has reads what the base has in the folder.
func (b *baker) has(ctx context.Context, base derive.Base, from contents) (_ []layer.Seen, err error) {
	task := progress.Start(b.sink, "sync/bake/base", "reading what "+b.base.Repository+" has in "+b.entry.Remote, base.LayerBytes(), progress.Bytes)
	defer func() { task.End(err) }()
	return base.Folder(ctx, from, strings.TrimPrefix(path.Clean(b.entry.Remote), "/"), task)
}

// pack writes the layer into the store.
func (b *baker) pack(ctx context.Context, c bake.Collected) (err error) {
	task := progress.Start(b.sink, "sync/bake", "writing "+b.entry.Local+" as a layer", c.Tree.ArchiveSize(), progress.Bytes)
	defer func() { task.End(err) }()
	w, err := b.store.Create(ctx, "")
	if err != nil {
		return err
	}
	packed, err := c.Tree.Pack(ctx, w, task)
	var blob store.Blob
	if err == nil {
		blob, err = w.Commit()
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return &fault.Error{Op: "baking", Subject: b.entry.Local, Err: err}
	}
	b.layer = derive.Layer{Digest: blob.Digest, DiffID: packed.DiffID, Size: blob.Size, Comment: b.entry.Name + " at " + b.entry.Remote}
	return nil
}

// keep puts configurations and manifests into the store.
func (b *baker) keep(ctx context.Context) error {
	content := map[v1.Hash][]byte{}
	for digest, config := range b.derived.Configs {
		content[digest] = config
	}
	for _, m := range b.derived.Manifests {
		content[m.Ref.Digest] = m.Raw
	}
	for digest, raw := range content {
		if err := b.store.Put(ctx, digest.String(), bytes.NewReader(raw)); err != nil {
			return err
		}
	}
	return nil
}

// push brings the image into the local registry.
func (b *baker) push(ctx context.Context) error {
	from, _ := b.target.(contents) // as make read it
	copier := images.Copier{From: withBaked([]*place{b.storePlace()}, from, []lock.Image{b.locked()}), To: b.target, Sink: b.sink, Task: "sync/bake/push"}
	_, err := copier.Copy(ctx, b.derived.Ref)
	return err
}

// tell says what the result alone does not show people.
func (b *baker) tell() {
	for _, note := range b.result.Notes {
		progress.Warn(b.sink, note)
	}
	text := fmt.Sprintf("baked %d files, %s, at %s on %s, for %s", b.result.Files, size(b.result.Bytes), b.result.Folder, b.result.Base, strings.Join(b.result.Platforms, ", "))
	if b.result.Locked {
		text += "; it is in kfdev.lock"
	}
	progress.Say(b.sink, text)
}

// locked is the image as the lock has it.
func (b *baker) locked() lock.Image {
	i := lock.Image{
		Repository: b.derived.Ref.Repository, Digest: b.derived.Ref.Digest, MediaType: string(b.derived.MediaType), Size: b.derived.Size, Origin: images.FromBake,
		Bake: lock.Bake{Sync: b.entry.Name, Base: b.base.String(), Folder: b.entry.Remote, Layer: b.layer.Digest},
	}
	for _, c := range b.derived.Children {
		i.Platforms = append(i.Platforms, lock.Child{Platform: c.Platform.OS + "/" + c.Platform.Architecture, Digest: c.Digest, Size: c.Size})
	}
	return i
}

// enter writes the image into the lock, in place of what was baked of the entry
// before.
func (b *baker) enter() error {
	if !b.options.Lock {
		return nil
	}
	next := b.settled.lock
	mine := b.locked()
	next.Images = append(slices.DeleteFunc(slices.Clone(next.Images), func(i lock.Image) bool { return i.Repository == mine.Repository }), mine)
	_, _, err := lock.Save(b.file.Dir, next)
	b.result.Locked = err == nil
	return err
}
