// Package release is what is promoted: the lock, the differences, and what
// every environment gets, as one OCI artifact that is made once and never again.
// Its digest names it everywhere; whoever makes it of the same project gets the
// same. All of it is text, so that oras and crane read it without kfdev.
package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"gopkg.in/yaml.v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack"
)

// The media types of a release and of its parts.
const (
	ArtifactType        = "application/vnd.kfdev.release.v1"
	ConfigMedia         = types.MediaType("application/vnd.kfdev.release.config.v1+json")
	LockMedia           = types.MediaType("application/vnd.kfdev.lock.v1+yaml")
	DifferencesMedia    = types.MediaType("application/vnd.kfdev.differences.v1+yaml")
	ComponentMedia      = types.MediaType("application/vnd.kfdev.component.v1+yaml")
	ManifestsMedia      = types.MediaType("application/vnd.kfdev.manifests.v1+yaml")
	titleAnnotation     = "org.opencontainers.image.title" // the file name that oras gives a layer
	projectAnnotation   = "dev.kfdev.project"
	lockFileTitle       = "kfdev.lock"
	differencesTitle    = "differences.yaml"
	repositoryOfRelease = "releases"
)

// Repository is where a project's releases lie in an environment's registry,
// by the name that a layout is asked for.
func Repository(project string) string {
	return images.SourceHost + "/" + repositoryOfRelease + "/" + project
}

// Release is what is promoted.
type Release struct {
	Project      string
	LockDigest   string // as the lock names itself
	Lock         []byte // the file as it is
	Differences  []difference.Entry
	Components   []stack.Component // those of all environments, without files
	Environments []Environment     // each after those that it comes after
}

// Environment is what one environment gets.
type Environment struct {
	Name  string
	After []string
	Pull  string // the registry that its nodes pull from; empty: the images' own
	Sets  []Set  // each after what it requires
}

// Set is one component as an environment gets it.
type Set struct {
	Name      string // the component's
	Namespace string // of objects that name none
	Hash      string // of the objects
	Objects   []*unstructured.Unstructured
	Images    map[string]images.Ref // by the component's own names, as the environment pulls them
}

// Environment returns what the environment of that name gets.
func (r Release) Environment(name string) (Environment, bool) {
	i := slices.IndexFunc(r.Environments, func(e Environment) bool { return e.Name == name })
	if i < 0 {
		return Environment{}, false
	}
	return r.Environments[i], true
}

// Component returns the component of that name.
func (r Release) Component(name string) (stack.Component, bool) {
	i := slices.IndexFunc(r.Components, func(c stack.Component) bool { return c.Name == name })
	if i < 0 {
		return stack.Component{}, false
	}
	return r.Components[i], true
}

// Artifact is a release as it lies in a registry.
type Artifact struct {
	Digest   v1.Hash
	Manifest images.Manifest
	Blobs    map[v1.Hash][]byte
}

// config is the artifact's configuration: what the texts in the layers are for.
type config struct {
	Project      string              `json:"project"`
	Lock         string              `json:"lock"`
	Components   []string            `json:"components"`
	Environments []configEnvironment `json:"environments"`
}

type configEnvironment struct {
	Name  string      `json:"name"`
	After []string    `json:"after,omitempty"`
	Pull  string      `json:"pull,omitempty"`
	Sets  []configSet `json:"sets"`
}

type configSet struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace,omitempty"`
	Hash      string            `json:"hash"`
	Images    map[string]string `json:"images,omitempty"`
}

// encoder gathers layers.
type encoder struct {
	manifest manifest
	blobs    map[v1.Hash][]byte
}

// manifest is an OCI 1.1 image manifest with an artifact's type.
type manifest struct {
	v1.Manifest
	ArtifactType string `json:"artifactType"`
}

func (e *encoder) blob(media types.MediaType, data []byte) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return v1.Descriptor{}, err
	}
	e.blobs[digest] = data
	return v1.Descriptor{MediaType: media, Digest: digest, Size: size}, nil
}

func (e *encoder) layer(media types.MediaType, title string, data []byte) error {
	desc, err := e.blob(media, data)
	if err != nil {
		return err
	}
	desc.Annotations = map[string]string{titleAnnotation: title}
	e.manifest.Layers = append(e.manifest.Layers, desc)
	return nil
}

// Encode writes the release in its one form. A Secret with values in it is
// refused: whoever may read a release would read them.
func (r Release) Encode() (Artifact, error) {
	fail := func(err error) (Artifact, error) {
		return Artifact{}, &fault.Error{Op: "making the release", Subject: r.Project, Err: err}
	}
	e := &encoder{blobs: map[v1.Hash][]byte{}}
	if err := r.layers(e); err != nil {
		return fail(err)
	}
	settings, err := json.Marshal(r.config())
	if err != nil {
		return fail(err)
	}
	if e.manifest.Config, err = e.blob(ConfigMedia, settings); err != nil {
		return fail(err)
	}
	e.manifest.Annotations = map[string]string{projectAnnotation: r.Project}
	a, err := e.artifact(ArtifactType)
	if err != nil {
		return fail(err)
	}
	return a, nil
}

// artifact is what was gathered, as an artifact of a type.
func (e *encoder) artifact(kind string) (Artifact, error) {
	e.manifest.SchemaVersion, e.manifest.MediaType, e.manifest.ArtifactType = 2, types.OCIManifestSchema1, kind
	raw, err := json.Marshal(e.manifest)
	if err != nil {
		return Artifact{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	return Artifact{Digest: digest, Manifest: images.Manifest{MediaType: types.OCIManifestSchema1, Raw: raw}, Blobs: e.blobs}, err
}

func (r Release) layers(e *encoder) error {
	if err := e.layer(LockMedia, lockFileTitle, r.Lock); err != nil {
		return err
	}
	entries, err := difference.YAML(r.Differences)
	if err != nil {
		return err
	}
	if err := e.layer(DifferencesMedia, differencesTitle, []byte(entries)); err != nil {
		return err
	}
	for _, c := range r.Components {
		text, err := yaml.Marshal(c)
		if err != nil {
			return err
		}
		if err := e.layer(ComponentMedia, "components/"+c.Name+".yaml", text); err != nil {
			return err
		}
	}
	for _, env := range r.Environments {
		for _, set := range env.Sets {
			text, err := manifests(set.Objects)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", env.Name, set.Name, err)
			}
			if err := e.layer(ManifestsMedia, env.Name+"/"+set.Name+".yaml", text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r Release) config() config {
	c := config{Project: r.Project, Lock: r.LockDigest, Components: []string{}, Environments: []configEnvironment{}}
	for _, component := range r.Components {
		c.Components = append(c.Components, component.Name)
	}
	for _, env := range r.Environments {
		one := configEnvironment{Name: env.Name, After: env.After, Pull: env.Pull, Sets: []configSet{}}
		for _, set := range env.Sets {
			refs := make(map[string]string, len(set.Images))
			for name, ref := range set.Images {
				refs[name] = ref.String()
			}
			one.Sets = append(one.Sets, configSet{Name: set.Name, Namespace: set.Namespace, Hash: set.Hash, Images: refs})
		}
		c.Environments = append(c.Environments, one)
	}
	return c
}

// manifests writes objects as kubectl reads them, keys sorted.
func manifests(objects []*unstructured.Unstructured) ([]byte, error) {
	var out bytes.Buffer
	for _, o := range objects {
		if o.GetKind() == "Secret" && o.GetAPIVersion() == "v1" && (o.Object["data"] != nil || o.Object["stringData"] != nil) {
			return nil, fmt.Errorf("the Secret %s/%s has values, which would be in the release for all to read", o.GetNamespace(), o.GetName())
		}
		text, err := sigsyaml.Marshal(o.Object)
		if err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), nil
}

// Short is how people are told a digest: its first twelve characters.
func Short(digest string) string {
	_, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) < 12 {
		return digest
	}
	return hex[:12]
}

// errForm is what a release that kfdev did not make is refused with.
var errForm = errors.New("it is no release of this form")
