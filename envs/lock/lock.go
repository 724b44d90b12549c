// Package lock is kfdev.lock: the closure of a project's stack, written by
// kfdev and never by hand. It names every image by digest with every place
// that references it, every component by the hash of its sources and of what
// they render to, and every input of what is built from source. Its own
// digest names the stack: two locks with one digest run the same bytes.
package lock

import (
	"cmp"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
)

// FileName is the lock's file, in the project's folder.
const FileName = "kfdev.lock"

// What stands at the head of every lock that this kfdev reads.
const (
	APIVersion = "kfdev.dev/v1alpha1"
	Kind       = "Lock"
)

// Lock is the closure of a stack.
type Lock struct {
	Catalog     string            // version of the catalog that the stack was taken from
	Origin      images.OriginKind // what auto was decided to be, or what the project asks for
	Platforms   []string          // os/architecture, every image has a child for each
	Kubernetes  string            // version: v1.36.1
	GoToolchain string            // that builds what is built from source: go1.26.8; empty where nothing is
	Node        Node
	Images      []Image
	Recipes     []Recipe // of the source images, the node image's included
	Components  []Component
}

// Node is the image that the cluster's nodes run.
type Node struct {
	Image Image
	// Config is the digest of the image's configuration: the ID that Docker
	// gives it, unless Docker keeps its images in containerd's store.
	Config v1.Hash
	// DiffIDs are the digests of the uncompressed layers, lowest first.
	DiffIDs []v1.Hash
	// Holds are the images inside the node image, which a cluster has before it
	// pulls anything: the control plane's.
	Holds []Held
}

// Held is an image inside the node image.
type Held struct {
	Name   string  `yaml:"name"`             // as kubeadm asks for it, with its tag
	Digest v1.Hash `yaml:"digest"`           // of its manifest
	Config v1.Hash `yaml:"config"`           // of its configuration: what a runtime calls an image that was not pulled
	Recipe string  `yaml:"recipe,omitempty"` // empty for a published node image
}

// Image is one image of the stack.
type Image struct {
	Repository string            `yaml:"repository"`
	Digest     v1.Hash           `yaml:"digest"` // of the index where there is one, else of the manifest
	MediaType  string            `yaml:"mediaType"`
	Size       int64             `yaml:"size"` // of all blobs of all locked platforms, each once, bytes
	Origin     images.OriginKind `yaml:"origin"`
	// StandsFor is the published image, with its tag, that a source image takes
	// the place of; for an image of a registry, the tag that was resolved.
	StandsFor  string      `yaml:"standsFor,omitempty"`
	Recipe     string      `yaml:"recipe,omitempty"` // of a source image
	Bake       Bake        `yaml:"bake,omitempty"`   // of a baked image
	Platforms  []Child     `yaml:"platforms"`
	References []Reference `yaml:"references,omitempty"`
}

// Ref returns the image by digest.
func (i Image) Ref() images.Ref { return images.Ref{Repository: i.Repository, Digest: i.Digest} }

// Bake is what a baked image is made of: another image, and the files of a
// folder that kfdev sync keeps equal to one in a pod.
type Bake struct {
	Sync   string  `yaml:"sync"`   // the entry of kfdev.yaml
	Base   string  `yaml:"base"`   // repository@digest
	Folder string  `yaml:"folder"` // where the files are in the image
	Layer  v1.Hash `yaml:"layer"`  // of the files, as it travels
}

// BakedRepository is the repository of what is baked of an entry of kfdev.yaml.
func BakedRepository(project, sync string) string {
	return images.SourceHost + "/baked/" + project + "/" + sync
}

// Child is an image for one platform. Where the image is no index, it is the
// image itself.
type Child struct {
	Platform string  `yaml:"platform"`
	Digest   v1.Hash `yaml:"digest"`
	Size     int64   `yaml:"size"` // of its blobs, bytes
}

// Reference is a place that names an image.
type Reference struct {
	Component string `yaml:"component"`
	Object    string `yaml:"object"` // kind/name, with the namespace where there is one
	Path      string `yaml:"path"`   // within the object
	How       string `yaml:"how"`    // what found it: a container, a rule, the generic finder
}

// Recipe is what a source image is made of.
type Recipe struct {
	Name   string
	Digest v1.Hash          // of the recipe and the files it names
	Layers [][]recipe.Input // lowest first, with those of the recipe it builds on; the order of inputs is the maker's
}

// Component is one component of the stack.
type Component struct {
	Name     string   `yaml:"name"`
	Version  string   `yaml:"version"`
	Folder   string   `yaml:"folder,omitempty"` // of the project, for one that is not the catalog's
	Source   v1.Hash  `yaml:"source"`           // of its files and values
	Rendered v1.Hash  `yaml:"rendered"`         // of its manifests, every image by digest
	Images   []string `yaml:"images,omitempty"` // repositories
}

// name tells the image apart within a lock. One repository may give a stack
// several published images, each under a tag of its own.
func (i Image) name() string {
	if i.Origin == images.FromRegistry && i.StandsFor != "" {
		return i.StandsFor
	}
	return i.Repository
}

// ImagesOf returns the images that something in the component names.
func (l Lock) ImagesOf(component string) []Image {
	var out []Image
	for _, i := range l.Images {
		if slices.ContainsFunc(i.References, func(r Reference) bool { return r.Component == component }) {
			out = append(out, i)
		}
	}
	return out
}

// Image returns the stack's image of that repository: the only one where it is
// built from source, else one of those there may be.
func (l Lock) Image(repository string) (Image, bool) {
	i := slices.IndexFunc(l.Images, func(i Image) bool { return i.Repository == repository })
	if i < 0 {
		return Image{}, false
	}
	return l.Images[i], true
}

// Recipe returns the recipe of that name.
func (l Lock) Recipe(name string) (Recipe, bool) {
	i := slices.IndexFunc(l.Recipes, func(r Recipe) bool { return r.Name == name })
	if i < 0 {
		return Recipe{}, false
	}
	return l.Recipes[i], true
}

// Component returns the component of that name.
func (l Lock) Component(name string) (Component, bool) {
	i := slices.IndexFunc(l.Components, func(c Component) bool { return c.Name == name })
	if i < 0 {
		return Component{}, false
	}
	return l.Components[i], true
}

// Digests returns every digest that something may run under: images, their
// children, the node image, and what it holds.
func (l Lock) Digests() map[v1.Hash]string {
	out := map[v1.Hash]string{}
	for _, i := range append(slices.Clone(l.Images), l.Node.Image) {
		out[i.Digest] = i.Repository
		for _, c := range i.Platforms {
			out[c.Digest] = i.Repository
		}
	}
	for _, h := range l.Node.Holds {
		out[h.Digest], out[h.Config] = h.Name, h.Name
	}
	return out
}

// sorted returns the lock in its one order, in memory of its own.
func (l Lock) sorted() Lock {
	l.Platforms = slices.Sorted(slices.Values(l.Platforms))
	l.Node.Image = l.Node.Image.sorted()
	l.Node.Holds = slices.SortedFunc(slices.Values(l.Node.Holds), func(a, b Held) int { return cmp.Compare(a.Name, b.Name) })
	l.Images = slices.SortedFunc(slices.Values(l.Images), func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.StandsFor, b.StandsFor))
	})
	for i := range l.Images {
		l.Images[i] = l.Images[i].sorted()
	}
	l.Recipes = slices.SortedFunc(slices.Values(l.Recipes), func(a, b Recipe) int { return cmp.Compare(a.Name, b.Name) })
	l.Components = slices.SortedFunc(slices.Values(l.Components), func(a, b Component) int { return cmp.Compare(a.Name, b.Name) })
	for i, c := range l.Components {
		l.Components[i].Images = slices.Compact(slices.Sorted(slices.Values(c.Images)))
	}
	return l
}

func (i Image) sorted() Image {
	i.Platforms = slices.SortedFunc(slices.Values(i.Platforms), func(a, b Child) int { return cmp.Compare(a.Platform, b.Platform) })
	i.References = slices.Compact(slices.SortedFunc(slices.Values(i.References), func(a, b Reference) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Path, b.Path), cmp.Compare(a.How, b.How))
	}))
	return i
}
