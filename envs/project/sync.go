package project

import (
	"fmt"
	"path/filepath"
	"reflect"

	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/sync/pod"
	"github.com/kfdev/kfdev/sync/reconcile"
)

// Sync is a folder of the project and the folder in a pod that it is kept equal to.
type Sync struct {
	// What kfdev sync NAME calls it: lower-case letters, digits and hyphens, at most 63.
	Name string `yaml:"name" jsonschema:"pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$,maxLength=63"`
	// The folder in the project, relative to kfdev.yaml.
	Local string `yaml:"local" jsonschema:"minLength=1"`
	// The folder in the pod, from the root: /home/jovyan/src. It is made where it is not there.
	Remote string `yaml:"remote" jsonschema:"pattern=^/."`
	// Whose pod: KIND/NAME, like jupyterhub/dev, notebook/fraud, statefulset/web, pod/web-0 or tfjob/train/worker-0; or {KIND: NAME}.
	Target Target `yaml:"target"`
	// The container in the pod. Left out: its main one.
	Container string `yaml:"container,omitempty" jsonschema:"minLength=1"`
	// The namespace of the target. Left out: it is looked for everywhere.
	Namespace string `yaml:"namespace,omitempty" jsonschema:"minLength=1"`
	// two-way-safe: changes go both ways, and what both sides changed waits for a person. one-way: to the pod, and what only the pod has stays. one-way-replica: to the pod, which has then exactly what the folder has. pull: from the pod. Left out: two-way-safe.
	Mode reconcile.Mode `yaml:"mode,omitempty" jsonschema:"enum=two-way-safe,enum=one-way,enum=one-way-replica,enum=pull"`
	// What runs in the container after each batch of changes that arrived there: the words of a command, or one text for sh -c.
	OnChange Command `yaml:"onChange,omitempty"`
	// How much one batch may delete before a person is asked: a count of paths (200), a percentage (25%), or off. Left out: 50 paths that are more than 50%.
	MaxDelete MaxDelete `yaml:"maxDelete,omitempty"`
	// The largest file that is taken from the pod: 500Mi, 20Gi, a count of bytes, or off. Left out: 4Gi.
	MaxFile MaxFile `yaml:"maxFile,omitempty"`
	// false never adds an ephemeral container to the pod. Left out: one is added where the image has no shell to start the helper with; it stays until the pod ends.
	Ephemeral *bool `yaml:"ephemeral,omitempty"`
}

// MayBeEphemeral reports whether an ephemeral container may be added.
func (s Sync) MayBeEphemeral() bool { return s.Ephemeral == nil || *s.Ephemeral }

// PodTarget returns whose pod is meant, with the container and the namespace.
func (s Sync) PodTarget() (pod.Target, error) {
	t, err := pod.ParseTarget(string(s.Target))
	if err != nil {
		return pod.Target{}, err
	}
	for _, each := range []struct {
		into        *string
		value, what string
	}{{&t.Container, s.Container, "container"}, {&t.Namespace, s.Namespace, "namespace"}} {
		if each.value == "" {
			continue
		}
		if *each.into != "" {
			return pod.Target{}, fmt.Errorf("the target names a %s already: say it once", each.what)
		}
		*each.into = each.value
	}
	return t, nil
}

// Limits returns how much a batch may delete.
func (s Sync) Limits() reconcile.Limits {
	limits, err := reconcile.ParseLimits(string(s.MaxDelete))
	if err != nil {
		return reconcile.Limits{} // cannot be in a file that was read
	}
	return limits
}

// SyncNamed returns the entry of that name.
func (f *File) SyncNamed(name string) (Sync, bool) {
	for _, s := range f.Sync {
		if s.Name == name {
			return s, true
		}
	}
	return Sync{}, false
}

// LocalPath returns the entry's folder on this machine.
func (f *File) LocalPath(s Sync) string { return filepath.Join(f.Dir, filepath.FromSlash(s.Local)) }

// Target is a text that pod.ParseTarget reads. It may be written {KIND: NAME}, too.
type Target string

// Forms are a text, and a mapping with one key.
func (*Target) Forms() map[yaml.Kind]reflect.Type {
	return map[yaml.Kind]reflect.Type{yaml.ScalarNode: reflect.TypeFor[string](), yaml.MappingNode: reflect.TypeFor[map[string]string]()}
}

// UnmarshalYAML reads both forms.
func (t *Target) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode((*string)(t))
	}
	var one map[string]string
	if err := n.Decode(&one); err != nil {
		return err
	}
	if len(one) == 1 {
		for kind, name := range one {
			*t = Target(kind + "/" + name)
		}
	}
	return nil // validation asks for the target where there is none
}

// Command is the words of a command. Written as one text, it is sh's.
type Command []string

// Forms are a text, and a list of words.
func (*Command) Forms() map[yaml.Kind]reflect.Type {
	return map[yaml.Kind]reflect.Type{yaml.ScalarNode: reflect.TypeFor[string](), yaml.SequenceNode: reflect.TypeFor[[]string]()}
}

// UnmarshalYAML reads both forms.
func (c *Command) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return n.Decode((*[]string)(c))
	}
	var text string
	err := n.Decode(&text)
	if text != "" {
		*c = Command{"sh", "-c", text}
	}
	return err
}

// MaxDelete is a count, a percentage, or off.
type MaxDelete string

// UnmarshalText takes what was written, also of a number. Whether it is a limit
// is validation's business: an error here would end the reading of the file.
func (m *MaxDelete) UnmarshalText(text []byte) error {
	*m = MaxDelete(text)
	return nil
}
