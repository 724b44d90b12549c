package project

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// DevName is the environment on this machine.
const DevName = "dev"

// Environments are the places that the stack runs in: dev, and any others by names of your own.
type Environments struct {
	// The cluster on this machine, which kfdev makes and owns.
	Dev Dev `yaml:"dev,omitempty"`

	Others map[string]Environment `yaml:",inline"`
}

// Environment is a cluster that a kubeconfig context reaches, like staging or prod.
type Environment struct {
	// The cluster of the environment.
	Cluster ContextCluster `yaml:"cluster"`
	// Where the environment's images are kept: HOST/PREFIX, or a mapping where nodes pull from another address than images are pushed to, or more is needed.
	Registry EnvironmentRegistry `yaml:"registry,omitempty"`
	// The environments that have a release before this one.
	After []string `yaml:"after,omitempty" jsonschema:"uniqueItems=true"`
	// Secrets that the environment needs. No value stands here: each Secret is there already, or promote is given its values.
	Secrets []Secret `yaml:"secrets,omitempty"`
	// Whether kfdev sync may change files in pods of this environment. Left out: it may not.
	Sync SyncPermission `yaml:"sync,omitempty"`
}

// SecretsOf returns the Secrets that an environment needs, dev among them.
func (e Environments) SecretsOf(name string) []Secret {
	if name == DevName {
		return e.Dev.Secrets
	}
	return e.Others[name].Secrets
}

// ContextCluster is a cluster that exists without kfdev.
type ContextCluster struct {
	// The kubeconfig context that reaches it.
	Context string `yaml:"context" jsonschema:"minLength=1"`
	// The cluster's identity (the uid of its namespace kube-system). kfdev promote writes it, the first time; another cluster under the same context is then refused.
	ID string `yaml:"id,omitempty" jsonschema:"minLength=1"`
	// What the certificate of its API server is signed by (SHA-256 of the authority's certificate). kfdev promote writes it, too; of another one kfdev warns.
	Authority string `yaml:"authority,omitempty" jsonschema:"pattern=^[0-9a-f]{64}$"`
}

// EnvironmentRegistry says where the images of an environment are kept.
type EnvironmentRegistry struct {
	// Where images are pushed to: HOST[:PORT][/PREFIX].
	Push string `yaml:"push" jsonschema:"minLength=1"`
	// Where nodes pull them from. Left out: where they are pushed to.
	Pull string `yaml:"pull,omitempty" jsonschema:"minLength=1"`
	// A file of the project with the certificates (PEM) that the registry's own is signed by. Left out: those that this machine trusts.
	CA string `yaml:"ca,omitempty" jsonschema:"minLength=1"`
	// The Secret in the cluster that nodes pull with. Left out: they need none.
	PullSecret *SecretName `yaml:"pullSecret,omitempty"`
}

// SecretName names a Secret in a cluster.
type SecretName struct {
	// The Secret's namespace.
	Namespace string `yaml:"namespace" jsonschema:"minLength=1"`
	// The Secret's name.
	Name string `yaml:"name" jsonschema:"minLength=1"`
}

// Secret is a Secret that an environment needs.
type Secret struct {
	// The Secret's namespace.
	Namespace string `yaml:"namespace" jsonschema:"minLength=1"`
	// The Secret's name.
	Name string `yaml:"name" jsonschema:"minLength=1"`
	// The Secret's type. Left out: Opaque.
	Type string `yaml:"type,omitempty" jsonschema:"minLength=1"`
	// Where the value of each key comes from. Left out: the Secret is there already, and up or promote sees that it is.
	Keys map[string]SecretSource `yaml:"keys,omitempty"`
}

// SecretSource says where the value of a key comes from, when kfdev brings it in.
type SecretSource struct {
	// A file on the machine that kfdev runs on; a relative path is below the project's folder.
	File string `yaml:"file,omitempty" jsonschema:"minLength=1"`
	// A variable of kfdev's environment.
	Env string `yaml:"env,omitempty" jsonschema:"minLength=1"`
}

// SyncPermission says whether kfdev sync may change files in an environment's pods.
type SyncPermission struct {
	// true allows it.
	Allow bool `yaml:"allow,omitempty"`
	// Required in an environment that is production (its name says so, or nothing comes after it): what runs there is then no longer what was promoted.
	ChangesRunningProductionCode bool `yaml:"changesRunningProductionCode,omitempty"`
}

// longRegistry is EnvironmentRegistry as its longer form is read.
type longRegistry EnvironmentRegistry

// secretSource is SecretSource as it is read.
type secretSource SecretSource

// Forms are what it should be, and a text: a value that somebody wrote down by
// mistake, which no error is to repeat.
func (*SecretSource) Forms() map[yaml.Kind]reflect.Type {
	return map[yaml.Kind]reflect.Type{yaml.ScalarNode: reflect.TypeFor[string](), yaml.MappingNode: reflect.TypeFor[secretSource]()}
}

// UnmarshalYAML reads a mapping, and of a text nothing.
func (s *SecretSource) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return nil
	}
	return n.Decode((*secretSource)(s))
}

// Forms are a text, and a mapping with more.
func (*EnvironmentRegistry) Forms() map[yaml.Kind]reflect.Type {
	return map[yaml.Kind]reflect.Type{yaml.ScalarNode: reflect.TypeFor[string](), yaml.MappingNode: reflect.TypeFor[longRegistry]()}
}

// UnmarshalYAML reads both forms.
func (r *EnvironmentRegistry) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&r.Push)
	}
	return n.Decode((*longRegistry)(r))
}

// Named reports whether there is one.
func (r EnvironmentRegistry) Named() bool { return r.Push != "" }

// Order returns the environments' names, dev first, each behind those that it
// comes after; the rest by name.
func (e Environments) Order() []string {
	order := []string{DevName}
	under := map[string]bool{DevName: true} // a file that is being read may have a ring
	var put func(name string)
	put = func(name string) {
		if _, ok := e.Others[name]; !ok || under[name] {
			return
		}
		under[name] = true
		for _, before := range slices.Sorted(slices.Values(e.Others[name].After)) {
			put(before)
		}
		order = append(order, name)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Others)) {
		put(name)
	}
	return order
}

// Precedes reports whether releases come to an environment before they come to
// another: dev is before all, and one that others come after is before these.
func (e Environments) Precedes(first, then string) bool {
	if first == DevName || then == DevName {
		return first != then && first == DevName
	}
	seen := map[string]bool{} // a file that is being read may have a ring
	var behind func(name string) bool
	behind = func(name string) bool {
		for _, before := range e.Others[name].After {
			if before == first {
				return true
			}
			if !seen[before] {
				seen[before] = true
				if behind(before) {
					return true
				}
			}
		}
		return false
	}
	return first != then && behind(then)
}

// Production reports whether an environment is production, and why: its name
// says so, it comes after one that is, or nothing comes after it. Dev never is.
// Of environments that come after each other in a ring nothing can be said;
// no file that was read has one.
func (e Environments) Production(name string) (why string, is bool) {
	if name == DevName {
		return "", false
	}
	if saysProduction(name) {
		return "by its name", true
	}
	last := true
	for other, each := range e.Others {
		last = last && (other == name || !slices.Contains(each.After, name))
	}
	if last {
		return "since nothing comes after it", true
	}
	for _, before := range slices.Sorted(slices.Values(e.Others[name].After)) {
		if _, is := e.Production(before); is {
			return "since it comes after " + before, true
		}
	}
	return "", false
}

// saysProduction looks for the word in a name: prod, eu-production, but not
// pre-prod.
func saysProduction(name string) bool {
	words := strings.Split(name, "-")
	for i, word := range words {
		if word == "prod" || word == "production" {
			return i == 0 || words[i-1] != "pre" && words[i-1] != "non"
		}
	}
	return false
}

// SyncAllowed returns nil where kfdev sync may change files in pods of the
// environment: in dev, and where the project says so. Else the error is a
// fault of kind Gate, or NotFound where there is no such environment.
func (f *File) SyncAllowed(name string) error {
	if name == DevName {
		return nil
	}
	env, ok := f.Environments.Others[name]
	if !ok {
		return f.NoEnvironment(name)
	}
	if env.Sync.Allow { // validation saw to it that production says so in its words
		return nil
	}
	e := &fault.Error{
		Op: "syncing", Subject: "environment " + name, Kind: fault.Gate,
		Err:  errors.New(FileName + " does not allow it: a sync session changes what runs there, past every promotion"),
		Hint: fmt.Sprintf("sync in dev, or write `sync: {allow: true}` under environments.%s", name),
	}
	if why, is := f.Environments.Production(name); is {
		e.Hint = fmt.Sprintf("%s is production (%s): sync in dev; only where you mean to change running production code, write `sync: {allow: true, changesRunningProductionCode: true}` under environments.%s", name, why, name)
	}
	return e
}

// NoEnvironment is the error about a name that is no environment's.
func (f *File) NoEnvironment(name string) error {
	names := f.Environments.Order()
	hint := "the project has " + strings.Join(names, ", ")
	if near := strictyaml.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return &fault.Error{
		Op: "looking for the environment", Subject: name, Kind: fault.NotFound,
		Err: fmt.Errorf("%s has none of that name", f.Path), Hint: hint,
	}
}
