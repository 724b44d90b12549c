package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// maxConfig is the largest image configuration taken, bytes.
const maxConfig = 8 << 20

// Resolved is what a tag stood for when it was asked.
type Resolved struct {
	Name      string     // as asked, fully qualified: "docker.io/library/busybox:1.36"
	Ref       images.Ref // of the index, where the tag is one
	MediaType types.MediaType
	Size      int64   // of all that Children lead to, each blob once, bytes
	Children  []Child // one for each platform asked for, in that order
}

// Child is the image for one platform. Where the tag is no index it is the
// tag's own.
type Child struct {
	Platform  v1.Platform // as asked for
	Ref       images.Ref
	MediaType types.MediaType
	Size      int64   // manifest, config and layers, bytes
	Config    v1.Hash // what a runtime may report as the image's ID
}

// Resolve asks which digest a name stands for, and reads the images of the
// given platforms behind it. The name is normalized as Docker does it; with no
// tag it means latest, with a digest the tag is not looked at. A platform that
// the image does not have is a fault of kind NotFound that names it.
func (o *Origin) Resolve(ctx context.Context, image string, platforms []v1.Platform) (Resolved, error) {
	const op = "resolving"
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return Resolved{}, &fault.Error{Op: op, Subject: image, Kind: fault.Usage, Err: err}
	}
	identifier := "latest"
	if tagged, ok := named.(reference.Tagged); ok {
		identifier = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		identifier = digested.Digest().String()
	}
	repos, err := o.c.candidates(named.Name())
	if err != nil {
		return Resolved{}, &fault.Error{Op: op, Subject: image, Kind: fault.Usage, Err: err}
	}
	manifest, err := first(ctx, o.c, op, image, repos, func(repo name.Repository) (images.Manifest, error) {
		m, err := o.c.manifest(ctx, repo, identifier)
		if err == nil && strings.HasPrefix(identifier, "sha256:") {
			err = images.CheckManifest(m.Raw, v1.Hash{Algorithm: "sha256", Hex: strings.TrimPrefix(identifier, "sha256:")})
		}
		return m, err
	})
	if err != nil {
		return Resolved{}, err
	}
	digest, _, err := v1.SHA256(strings.NewReader(string(manifest.Raw)))
	if err != nil {
		return Resolved{}, err
	}
	r := Resolved{
		Name: reference.TagNameOnly(named).String(), MediaType: manifest.MediaType,
		Ref: images.Ref{Repository: named.Name(), Digest: digest},
	}
	if err := o.fillChildren(ctx, &r, manifest, platforms); err != nil {
		return Resolved{}, &fault.Error{Op: op, Subject: image, Err: err}
	}
	return r, nil
}

func (o *Origin) fillChildren(ctx context.Context, r *Resolved, top images.Manifest, platforms []v1.Platform) error {
	seen := map[v1.Hash]bool{} // what Size has counted
	var absent, has []string
	for _, want := range platforms {
		node, have, err := o.find(ctx, r.Ref, top, want)
		if err != nil {
			return err
		}
		if node == nil {
			absent = append(absent, want.String())
			has = have
			continue
		}
		child := Child{Platform: want, Ref: node.Ref, MediaType: node.Manifest.MediaType, Size: int64(len(node.Manifest.Raw))}
		for i, b := range node.Blobs {
			if i == 0 {
				child.Config = b.Digest
			}
			child.Size += b.Size
			if !seen[b.Digest] {
				seen[b.Digest] = true
				r.Size += b.Size
			}
		}
		if !seen[node.Ref.Digest] {
			seen[node.Ref.Digest] = true
			r.Size += int64(len(node.Manifest.Raw))
		}
		r.Children = append(r.Children, child)
	}
	if len(absent) > 0 {
		return &fault.Error{
			Op: "looking for platforms", Kind: fault.NotFound,
			Hint: "take the platform out of `platforms` in kfdev.yaml, or name an image that has it",
			Err:  fmt.Errorf("no image for %s; there is %s", strings.Join(absent, ", "), strings.Join(has, ", ")),
		}
	}
	if top.MediaType.IsIndex() {
		r.Size += int64(len(top.Raw))
	}
	return nil
}

// find returns the image for a platform, or nil and the platforms there are.
func (o *Origin) find(ctx context.Context, ref images.Ref, top images.Manifest, want v1.Platform) (*images.Node, []string, error) {
	if !top.MediaType.IsIndex() {
		return o.findSingle(ctx, ref, want)
	}
	children, err := images.Children(top)
	if err != nil {
		return nil, nil, err
	}
	var have []string
	for _, child := range children {
		if child.Platform == nil {
			continue
		}
		if !images.MatchPlatform(want, child.Platform) {
			if child.Platform.OS != "unknown" { // attestations
				have = append(have, child.Platform.String())
			}
			continue
		}
		closure, err := images.Walk(ctx, o, images.Ref{Repository: ref.Repository, Digest: child.Digest}, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("the image for %s: %w", want, err)
		}
		return &closure.Nodes[len(closure.Nodes)-1], nil, nil
	}
	return nil, have, nil
}

// findSingle is find for a name that is no index: its configuration says which
// platform it is for.
func (o *Origin) findSingle(ctx context.Context, ref images.Ref, want v1.Platform) (*images.Node, []string, error) {
	closure, err := images.Walk(ctx, o, ref, nil)
	if err != nil {
		return nil, nil, err
	}
	node := closure.Nodes[0]
	content, err := o.Blob(ctx, ref.Repository, node.Blobs[0])
	if err != nil {
		return nil, nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(content, maxConfig))
	if err := errors.Join(err, content.Close()); err != nil {
		return nil, nil, err
	}
	var config struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, nil, fmt.Errorf("reading the image's configuration: %w", err)
	}
	have := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	if !images.MatchPlatform(want, &have) {
		return nil, []string{have.String()}, nil
	}
	return &node, nil, nil
}
