package release

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
	"github.com/kfdev/kfdev/stack"
)

// Bounds of what is read as a release.
const (
	maxManifest = 4 << 20  // bytes
	maxLayers   = 2000     //
	maxBlob     = 32 << 20 // bytes of one
	maxTotal    = 256 << 20
)

// Fetch returns a blob, checked against its digest and size.
type Fetch func(ctx context.Context, desc v1.Descriptor) ([]byte, error)

// Pull reads a release from where it lies.
func Pull(ctx context.Context, from images.Origin, ref images.Ref) (Release, error) {
	m, err := from.Manifest(ctx, ref)
	if err != nil {
		return Release{}, err
	}
	return Decode(ctx, m.Raw, blobs(from, ref.Repository))
}

// blobs fetches from a repository.
func blobs(from images.Origin, repository string) Fetch {
	return func(ctx context.Context, desc v1.Descriptor) ([]byte, error) {
		content, err := from.Blob(ctx, repository, desc)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(content) // it ends where desc says, or fails
		return data, errors.Join(err, content.Close())
	}
}

// Decode reads what Encode writes, and nothing else.
func Decode(ctx context.Context, raw []byte, fetch Fetch) (Release, error) {
	r, err := decode(ctx, raw, fetch)
	if err != nil {
		return Release{}, &fault.Error{Op: "reading the release", Err: err}
	}
	return r, nil
}

func decode(ctx context.Context, raw []byte, fetch Fetch) (Release, error) {
	if len(raw) > maxManifest {
		return Release{}, fmt.Errorf("%w: its manifest has %d bytes", errForm, len(raw))
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return Release{}, fmt.Errorf("%w: %w", errForm, err)
	}
	if m.ArtifactType != ArtifactType || m.Config.MediaType != ConfigMedia {
		return Release{}, fmt.Errorf("%w: it is of type %q, with a configuration of type %q", errForm, m.ArtifactType, m.Config.MediaType)
	}
	d := &decoder{fetch: fetch, layers: m.Layers}
	if err := d.bounded(m.Config); err != nil {
		return Release{}, err
	}
	data, err := fetch(ctx, m.Config)
	if err != nil {
		return Release{}, err
	}
	var c config
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&c); err != nil {
		return Release{}, fmt.Errorf("%w: its configuration: %w", errForm, err)
	}
	r := Release{Project: c.Project, LockDigest: c.Lock}
	if r.Lock, err = d.next(ctx, LockMedia, lockFileTitle); err != nil {
		return r, err
	}
	if err := d.differences(ctx, &r); err != nil {
		return r, err
	}
	for _, name := range c.Components {
		text, err := d.next(ctx, ComponentMedia, "components/"+name+".yaml")
		if err != nil {
			return r, err
		}
		component, err := stack.Decode(name, text)
		if err != nil {
			return r, err
		}
		r.Components = append(r.Components, component)
	}
	for _, env := range c.Environments {
		one, err := d.environment(ctx, env)
		if err != nil {
			return r, err
		}
		r.Environments = append(r.Environments, one)
	}
	if len(d.layers) > 0 {
		return r, fmt.Errorf("%w: it has %d layers that nothing speaks of", errForm, len(d.layers))
	}
	return r, nil
}

// decoder takes the layers in the order that the configuration gives.
type decoder struct {
	fetch  Fetch
	layers []v1.Descriptor
	total  int64
}

// bounded refuses what is too large before any of it is read.
func (d *decoder) bounded(config v1.Descriptor) error {
	if len(d.layers) > maxLayers {
		return fmt.Errorf("%w: it has %d layers", errForm, len(d.layers))
	}
	for _, l := range append([]v1.Descriptor{config}, d.layers...) {
		d.total += l.Size
		if l.Size < 0 || l.Size > maxBlob || d.total > maxTotal {
			return fmt.Errorf("%w: it is too large", errForm)
		}
	}
	return nil
}

func (d *decoder) next(ctx context.Context, media types.MediaType, title string) ([]byte, error) {
	if len(d.layers) == 0 {
		return nil, fmt.Errorf("%w: %s is missing", errForm, title)
	}
	desc := d.layers[0]
	if desc.MediaType != media || desc.Annotations[titleAnnotation] != title {
		return nil, fmt.Errorf("%w: %s of type %q stands where %s belongs", errForm, desc.Annotations[titleAnnotation], desc.MediaType, title)
	}
	d.layers = d.layers[1:]
	return d.fetch(ctx, desc)
}

func (d *decoder) differences(ctx context.Context, r *Release) error {
	text, err := d.next(ctx, DifferencesMedia, differencesTitle)
	if err != nil {
		return err
	}
	if _, problems := strictyaml.Decode(differencesTitle, text, &r.Differences); len(problems) > 0 {
		return problems.Err()
	}
	if len(r.Differences) == 0 {
		r.Differences = []difference.Entry(nil)
	}
	return nil
}

func (d *decoder) environment(ctx context.Context, c configEnvironment) (Environment, error) {
	env := Environment{Name: c.Name, After: c.After, Pull: c.Pull}
	for _, s := range c.Sets {
		set := Set{Name: s.Name, Namespace: s.Namespace, Hash: s.Hash, Images: map[string]images.Ref{}}
		title := c.Name + "/" + s.Name + ".yaml"
		text, err := d.next(ctx, ManifestsMedia, title)
		if err != nil {
			return env, err
		}
		if set.Objects, err = objects(text); err != nil {
			return env, fmt.Errorf("%s: %w", title, err)
		}
		for name, ref := range s.Images {
			if set.Images[name], err = images.ParseRef(ref); err != nil {
				return env, fmt.Errorf("%s: %w", title, err)
			}
		}
		env.Sets = append(env.Sets, set)
	}
	return env, nil
}

// objects reads what manifests writes.
func objects(text []byte) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		raw, err := sigsyaml.YAMLToJSON(doc)
		if err != nil {
			return nil, err
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(raw); err != nil {
			return nil, err
		}
		if o.GetName() == "" {
			return nil, fmt.Errorf("%w: a %s without a name", errForm, o.GetKind())
		}
		all = append(all, o)
	}
}
