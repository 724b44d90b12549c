// Package imageref finds every place where Kubernetes objects name an image,
// also in arguments, environment variables and text inside ConfigMaps, and
// replaces the image at exactly that place by one with a digest.
//
// Several finders work together. Containers are found by their shape wherever
// they are, also in custom resources. Rules, kept with each component, lead to
// what no shape tells. Names that stand beside their tags, in a field each, are
// found by those fields. A generic finder looks at every other text for what
// reads like an image, also in Secrets, so that nothing is missed in silence;
// where it is wrong, a rule says so.
package imageref

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Rule says where an image reference hides in one object: at exactly one of
// Arg, Env, ConfigMapKey and Field. With Ignore alone it says the opposite.
type Rule struct {
	// Object is kind/name: "Deployment/workflow-controller". The name may be *.
	Object    string `yaml:"object"`
	Container string `yaml:"container,omitempty"` // for Arg and Env; empty: every container
	// Arg is a flag whose value is an image, as "--flag value" or "--flag=value",
	// in command or args.
	Arg string `yaml:"arg,omitempty"`
	Env string `yaml:"env,omitempty"` // an environment variable whose value is an image
	// ConfigMapKey is a key of a ConfigMap's data. Without Path the whole value
	// is an image; with it, the value is YAML or JSON and Path leads to images.
	ConfigMapKey string `yaml:"configMapKey,omitempty"`
	// Path is dotted, with * for every item: "spec.containers.*.image". A dot
	// inside a key is written \. there.
	Path string `yaml:"path,omitempty"`
	// Field is a dotted path of the object itself, as Path is.
	Field string `yaml:"field,omitempty"`
	// Ignore is a text that the generic finder takes for an image and that is
	// none: "application/json:v1"; of a name and a tag in a field each, the name.
	Ignore string `yaml:"ignore,omitempty"`
}

// Validate reports what is wrong with the rule itself.
func (r Rule) Validate() error {
	kind, name, ok := strings.Cut(r.Object, "/")
	if !ok || kind == "" || name == "" {
		return fmt.Errorf("object %q is not kind/name", r.Object)
	}
	set := 0
	for _, s := range []string{r.Arg, r.Env, r.ConfigMapKey, r.Field, r.Ignore} {
		if s != "" {
			set++
		}
	}
	switch {
	case set != 1:
		return errors.New("exactly one of arg, env, configMapKey, field and ignore must be set")
	case r.Path != "" && r.ConfigMapKey == "":
		return errors.New("path goes with configMapKey only")
	case r.Container != "" && r.Arg == "" && r.Env == "":
		return errors.New("container goes with arg and env only")
	case r.Arg != "" && !strings.HasPrefix(r.Arg, "-"):
		return fmt.Errorf("arg %q does not start with -", r.Arg)
	}
	return nil
}

// String names the place the rule leads to: "Deployment/x arg --image".
func (r Rule) String() string {
	parts := []string{r.Object}
	for _, p := range [][2]string{
		{"container", r.Container}, {"arg", r.Arg}, {"env", r.Env}, {"configMapKey", r.ConfigMapKey},
		{"path", r.Path}, {"field", r.Field}, {"ignore", r.Ignore},
	} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	return strings.Join(parts, " ")
}

// Of reports whether the rule is about the object.
func (r Rule) Of(o *unstructured.Unstructured) bool { return r.matches(o.GetKind(), o.GetName()) }

// matches reports whether the rule is about an object of this kind and name.
func (r Rule) matches(kind, name string) bool {
	k, n, _ := strings.Cut(r.Object, "/")
	return k == kind && (n == "*" || n == name)
}
