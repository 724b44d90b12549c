// Package stack holds the words of the stack domain: a Component (one part of
// the stack: manifests, images, what must be there before, a smoke test), the
// waves that components go up in, and the presets.
package stack

import (
	"io/fs"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kfdev/kfdev/stack/imageref"
)

// APIVersion is the version of the component files this kfdev reads.
const APIVersion = "kfdev.dev/v1alpha1"

// Kind is the kind of a component file.
const Kind = "Component"

// FileName is the name of a component's file, in the component's folder.
const FileName = "component.yaml"

// Component is one part of the stack, as its component.yaml says. Exactly the
// fields below are allowed in that file; an unknown key is an error with its
// line.
type Component struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"` // always Component
	Name       string `yaml:"name"` // a DNS label; the name of the folder
	Version    string `yaml:"version"`
	Title      string `yaml:"title"`          // one line for people
	Note       string `yaml:"note,omitempty"` // what a person should know, for status and docs
	// Namespace is where the component's own objects live. It is made when the
	// manifests do not bring it.
	Namespace string `yaml:"namespace,omitempty"`
	// Requires names the components that must be ready before this one starts.
	Requires []string `yaml:"requires,omitempty"`
	Images   []Image  `yaml:"images,omitempty"`
	// Rules say where images hide in this component's objects, beyond the
	// image fields of pod templates.
	Rules        []imageref.Rule `yaml:"rules,omitempty"`
	Certificates []Certificate   `yaml:"certificates,omitempty"`
	Secrets      []Secret        `yaml:"secrets,omitempty"`
	Values       []Value         `yaml:"values,omitempty"`
	Needs        Needs           `yaml:"needs,omitempty"`
	// Smoke names the component's smoke test; empty where there is none.
	Smoke string `yaml:"smoke,omitempty"`
	// Open is what `kfdev open` opens; nil where there is nothing to open.
	Open *Open `yaml:"open,omitempty"`

	// Files holds the component's folder at Dir, and what its kustomization
	// reaches outside of that folder.
	Files fs.FS  `yaml:"-"`
	Dir   string `yaml:"-"`
}

// Image is one image that a component runs.
type Image struct {
	Name string `yaml:"name"` // what the component calls it: "controller"
	// Published is the upstream's image with its tag, fully qualified
	// ("docker.io/library/busybox:1.36.1"), as the manifests write it.
	Published string `yaml:"published"`
	// Recipe names the source image that takes its place where no registry is
	// used; empty where there is none.
	Recipe string `yaml:"recipe,omitempty"`
	// Use says who runs the image.
	Use Use `yaml:"use,omitempty"`
}

// Use says who runs an image.
type Use string

// The uses of an image.
const (
	InManifests Use = ""      // the manifests reference it, in an image field or where a rule says
	InSmoke     Use = "smoke" // only the smoke test runs it; no manifest references it
)

// Certificate is a serving certificate with its own authority, for webhooks
// and the like. It lies in its Secret before the component starts, under the
// keys ca.crt, ca.key, tls.crt and tls.key, and is kept while it is valid.
type Certificate struct {
	Secret    string   `yaml:"secret"`
	Namespace string   `yaml:"namespace,omitempty"` // the component's, when empty
	Service   string   `yaml:"service,omitempty"`   // the Service it is served behind; gives its DNS names
	DNSNames  []string `yaml:"dnsNames,omitempty"`  // more names
	// Authority is the common name and the DNS name of the authority's
	// certificate; some programs check it. Empty: "<secret>-ca".
	Authority string `yaml:"authority,omitempty"`
	// Inject names the objects (kind/name) that get the authority's certificate
	// as caBundle: webhook configurations, CustomResourceDefinitions with a
	// conversion webhook, APIServices.
	Inject []string `yaml:"inject,omitempty"`
}

// Secret is a Secret of random values, made once per cluster and kept.
type Secret struct {
	Name      string      `yaml:"name"`
	Namespace string      `yaml:"namespace,omitempty"` // the component's, when empty
	Keys      []SecretKey `yaml:"keys"`
}

// SecretKey is one value of a Secret.
type SecretKey struct {
	Name string `yaml:"name"`
	// Bytes is how many random bytes are drawn; they are written as lower-case
	// hexadecimal, twice as long.
	Bytes int `yaml:"bytes,omitempty"`
	// Value is a fixed text in place of random bytes: a user's name.
	Value string `yaml:"value,omitempty"`
}

// Value is a parameter that a project may set. ${kfdev.NAME} in the files of
// the component's own folder stands for it.
type Value struct {
	Name        string    `yaml:"name"`
	Type        ValueType `yaml:"type"`
	Default     string    `yaml:"default"`
	Description string    `yaml:"description"`
}

// ValueType is the form of a Value.
type ValueType string

// The types of values. A Word is letters, digits and . _ / : @ - only, so that
// it cannot change the meaning of the YAML around it.
const (
	Integer  ValueType = "integer"
	Boolean  ValueType = "boolean"
	Quantity ValueType = "quantity" // of Kubernetes: 512Mi
	Word     ValueType = "word"
)

// Needs is what a component takes when it idles, for the plan that is printed
// before anything starts. They are estimates.
type Needs struct {
	Memory Amount `yaml:"memory,omitempty"` // resident
	CPU    Amount `yaml:"cpu,omitempty"`    // of one core
	Disk   Amount `yaml:"disk,omitempty"`   // unpacked images and volumes
}

// Open is a page that a component serves.
type Open struct {
	Service   string `yaml:"service"`
	Namespace string `yaml:"namespace,omitempty"` // the component's, when empty
	Port      int    `yaml:"port"`                // of the Service
	Scheme    string `yaml:"scheme,omitempty"`    // http, when empty, or https
	Path      string `yaml:"path,omitempty"`      // of the page: "/hub/"
	// Secret and the keys in it are a login that is shown to the person; empty
	// where none is needed.
	Secret      string `yaml:"secret,omitempty"`
	UserKey     string `yaml:"userKey,omitempty"`
	PasswordKey string `yaml:"passwordKey,omitempty"`
	// ServiceAccount is one of the same namespace that the page takes a bearer
	// token of; it is shown to the person. Empty where none is needed.
	ServiceAccount string `yaml:"serviceAccount,omitempty"`
}

// Amount is a quantity in Kubernetes' notation. The zero Amount is none.
type Amount struct{ resource.Quantity }

// UnmarshalText reads Kubernetes' notation.
func (a *Amount) UnmarshalText(text []byte) error {
	q, err := parseQuantity(string(text))
	a.Quantity = q
	return err
}

// MarshalText writes Kubernetes' notation.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
