package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/store"
)

// configFormat names the bytes that a recipe's configuration turns into.
const configFormat = "1"

// created is the time that every image says it was made at: that of the files
// in its layers.
const created = "1970-01-01T00:00:01Z"

// imageConfig is an image's configuration as the OCI image specification 1.1
// has it, with the fields that kfdev sets, in their order.
type imageConfig struct {
	Created      string       `json:"created"`
	Architecture string       `json:"architecture"`
	OS           string       `json:"os"`
	Config       runConfig    `json:"config"`
	RootFS       imageContent `json:"rootfs"`
}

type runConfig struct {
	User       string              `json:"User,omitempty"`
	Env        []string            `json:"Env,omitempty"`
	Entrypoint []string            `json:"Entrypoint,omitempty"`
	Cmd        []string            `json:"Cmd,omitempty"`
	Volumes    map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir string              `json:"WorkingDir,omitempty"`
	Labels     map[string]string   `json:"Labels,omitempty"`
	StopSignal string              `json:"StopSignal,omitempty"`
}

type imageContent struct {
	Type    string    `json:"type"`
	DiffIDs []v1.Hash `json:"diff_ids"`
}

func configOf(c recipe.Config, diffIDs []v1.Hash) imageConfig {
	run := runConfig{
		User: c.User, Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd,
		WorkingDir: c.WorkingDir, Labels: c.Labels, StopSignal: c.StopSignal,
	}
	for _, v := range c.Volumes {
		if run.Volumes == nil {
			run.Volumes = map[string]struct{}{}
		}
		run.Volumes[v] = struct{}{}
	}
	return imageConfig{
		Created: created, Architecture: "amd64", OS: "linux", Config: run,
		RootFS: imageContent{Type: "layers", DiffIDs: diffIDs},
	}
}

// madeLayer is a layer in the store.
type madeLayer struct {
	store.Blob
	DiffID v1.Hash
}

// assemble writes configuration and manifest of an image whose layers are in
// the store.
func assemble(ctx context.Context, s *store.Store, image recipe.Image, layers []madeLayer) (images.Ref, error) {
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{}}
	diffIDs := []v1.Hash{}
	for _, l := range layers {
		diffIDs = append(diffIDs, l.DiffID)
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: types.OCILayer, Size: l.Size, Digest: l.Digest})
	}
	config, err := putJSON(ctx, s, configOf(image.Recipe.Config, diffIDs))
	if err != nil {
		return images.Ref{}, err
	}
	manifest.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Size: config.Size, Digest: config.Digest}
	raw, err := json.Marshal(manifest)
	if err != nil {
		return images.Ref{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return images.Ref{}, err
	}
	ref := images.Ref{Repository: Repository(image.Recipe.Name), Digest: digest}
	target := store.NewOrigin(s, images.FromSource)
	return ref, target.PutManifest(ctx, ref, images.Manifest{MediaType: types.OCIManifestSchema1, Raw: raw})
}

func putJSON(ctx context.Context, s *store.Store, value any) (store.Blob, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return store.Blob{}, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return store.Blob{}, err
	}
	return store.Blob{Digest: digest, Size: size}, s.Put(ctx, digest.String(), bytes.NewReader(raw))
}

// describe reads an image that was built before from the store.
func describe(ctx context.Context, s *store.Store, ref images.Ref) (Image, error) {
	origin := store.NewOrigin(s, images.FromSource)
	closure, err := images.Walk(ctx, origin, ref, nil)
	if err != nil {
		return Image{}, err
	}
	top := closure.Nodes[len(closure.Nodes)-1]
	image := Image{Ref: ref, MediaType: top.Manifest.MediaType}
	for _, b := range top.Blobs {
		image.Size += b.Size
		if found, err := origin.Has(ctx, ref.Repository, b); err != nil || !found {
			return Image{}, fmt.Errorf("%s: its blob %s is not in the store", ref, b.Digest)
		}
	}
	image.Digest = ref.Digest
	if len(top.Blobs) == 0 {
		return Image{}, fmt.Errorf("%s is no single image", ref)
	}
	image.Config = top.Blobs[0].Digest
	image.DiffIDs, err = diffIDs(ctx, origin, ref.Repository, top.Blobs[0])
	return image, err
}

func diffIDs(ctx context.Context, origin *store.Origin, repository string, desc v1.Descriptor) ([]v1.Hash, error) {
	content, err := origin.Blob(ctx, repository, desc)
	if err != nil {
		return nil, err
	}
	config, err := v1.ParseConfigFile(content)
	if err := errors.Join(err, content.Close()); err != nil {
		return nil, err
	}
	return config.RootFS.DiffIDs, nil
}
