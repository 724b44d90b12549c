// Package project is a project on disk: the folder with kfdev.yaml, which
// people write and kfdev reads strictly, and the starter that kfdev init puts
// into a new one. kfdev.lock beside it is package lock's.
package project

import (
	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/profiles"
)

// FileName is the project file, in the project's folder.
const FileName = "kfdev.yaml"

// What stands at the head of every project file that this kfdev reads.
const (
	APIVersion = "kfdev.dev/v1alpha1"
	Kind       = "Project"
)

// The comments of the fields below are the descriptions in the JSON Schema,
// and speak to whoever writes a kfdev.yaml.

// Project is what a kfdev.yaml says: the stack that a team wants, the same in every environment.
type Project struct {
	// The version of this file's form.
	APIVersion string `yaml:"apiVersion" jsonschema:"enum=kfdev.dev/v1alpha1"`
	// What this file describes.
	Kind string `yaml:"kind" jsonschema:"enum=Project"`
	// What the project is called.
	Metadata Metadata `yaml:"metadata"`
	// The platforms that every image is locked for; one that an image lacks is an error of kfdev lock. Left out: linux/amd64.
	Platforms []Platform `yaml:"platforms,omitempty" jsonschema:"uniqueItems=true,enum=linux/amd64,enum=linux/arm64"`
	// Where the bytes of images come from. auto: a registry where one answers within a few seconds, else a build from source; kfdev lock decides it, once. Left out: auto.
	Origin Origin `yaml:"origin,omitempty" jsonschema:"enum=auto,enum=registry,enum=source"`
	// What runs.
	Stack Stack `yaml:"stack"`
	// How published images are reached.
	Registry Registry `yaml:"registry,omitempty"`
	// Folders of the project that kfdev sync keeps equal to folders in pods.
	Sync []Sync `yaml:"sync,omitempty"`
	// The places that the stack runs in.
	Environments Environments `yaml:"environments,omitempty"`
	// Teams, each with a namespace of its own: the same in every environment.
	Profiles []profiles.Profile `yaml:"profiles,omitempty"`
	// What environments may do differently. Whatever is not listed here is the same everywhere.
	Differences []difference.Entry `yaml:"differences,omitempty"`
	// How dimensions of what environments are (docs/drift.md) are compared, where that is to be stricter than it is by itself.
	Fingerprint fingerprint.Rules `yaml:"fingerprint,omitempty"`
	// A file of the project with rules for what is no drift, beyond those that kfdev has (docs/drift.md).
	Noise string `yaml:"noise,omitempty" jsonschema:"minLength=1"`
}

// Names of what stands beside the components in every cluster; no component is
// called so.
const (
	ProfilesName = "profiles" // the project's profiles
	PolicyName   = "policy"   // what keeps other images out
)

// Metadata names the project.
type Metadata struct {
	// The project's name: lower-case letters, digits and hyphens, at most 40. Its cluster and its kubeconfig context are called kfdev-NAME.
	Name string `yaml:"name" jsonschema:"pattern=^[a-z]([-a-z0-9]*[a-z0-9])?$,maxLength=40"`
}

// Platform is an operating system and an architecture, as OCI writes them.
type Platform string

// The platforms that a stack can be locked for.
const (
	LinuxAMD64 Platform = "linux/amd64"
	LinuxARM64 Platform = "linux/arm64"
)

// Origin says where a project wants its images from.
type Origin string

// The origins that a project may ask for.
const (
	OriginAuto     Origin = "auto"
	OriginRegistry Origin = "registry"
	OriginSource   Origin = "source"
)

// Stack says which components run.
type Stack struct {
	// A named set of components. tiny: volumes only. core: notebooks, distributed training, workflows and teams.
	Preset string `yaml:"preset" jsonschema:"enum=tiny,enum=core"`
	// Components by name: taken from the preset or added to it, with their values.
	Components map[string]Component `yaml:"components,omitempty"`
}

// Component is what a project says about one component.
type Component struct {
	// false takes the component out of the stack. Left out: true.
	Enabled *bool `yaml:"enabled,omitempty"`
	// A folder of the project with the component's own manifests (a component.yaml and a kustomization.yaml), in place of kfdev's catalog.
	Folder string `yaml:"folder,omitempty" jsonschema:"minLength=1"`
	// Parameters of the component; see its component.yaml for what it takes.
	Values map[string]Value `yaml:"values,omitempty"`
}

// On reports whether the component is to run.
func (c Component) On() bool { return c.Enabled == nil || *c.Enabled }

// Value is a parameter as it was written: a text, a number, or true or false.
type Value string

// UnmarshalText takes what was written, also of a number or a truth value.
func (v *Value) UnmarshalText(text []byte) error {
	*v = Value(text)
	return nil
}

// Registry says how published images are reached.
type Registry struct {
	// For a registry host, the mirrors to ask first, in order: docker.io: [mirror.example.com/hub].
	Mirrors map[string][]string `yaml:"mirrors,omitempty"`
}

// Dev is the environment on this machine.
type Dev struct {
	// The cluster of the environment.
	Cluster Cluster `yaml:"cluster,omitempty"`
	// Secrets that the environment needs. No value stands here: each Secret is there already, or up is given its values.
	Secrets []Secret `yaml:"secrets,omitempty"`
}

// Cluster says how the cluster of an environment is made.
type Cluster struct {
	// A cluster in Docker, made with kind.
	Kind KindCluster `yaml:"kind,omitempty"`
}

// KindCluster is a cluster in Docker.
type KindCluster struct {
	// How many nodes, the control plane's included. More than one needs a published node image. Left out: 1.
	Nodes int `yaml:"nodes,omitempty" jsonschema:"minimum=1,maximum=10"`
	// Ports of this machine, on the loopback address, that lead to ports of the first node. They are given when the cluster is made.
	Ports []Port `yaml:"ports,omitempty"`
}

// Port is a port of this machine that leads into the cluster.
type Port struct {
	// The port of this machine; it listens on 127.0.0.1.
	Host int `yaml:"host" jsonschema:"minimum=1,maximum=65535"`
	// The port of the node: a Service's nodePort.
	Node int `yaml:"node" jsonschema:"minimum=1,maximum=65535"`
}
