// Package profiles says what a team gets in every environment: a namespace with
// an owner, contributors, a quota, images and objects of its own. A Profile is
// made into the objects of Kubeflow's Profile controller and its access
// management, so that Kubeflow's own tools see and may show them. All of it is
// pure: no cluster, no files.
package profiles

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
)

// The comments of the fields below are the descriptions in the JSON Schema,
// and speak to whoever writes a kfdev.yaml.

// Profile is a team: the same in every environment, but for what differences say.
type Profile struct {
	// What the team and its namespace are called: lower-case letters, digits and hyphens.
	Name string `yaml:"name" json:"name" jsonschema:"pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$,maxLength=63"`
	// The user who owns the namespace, as the cluster's authentication calls them.
	Owner string `yaml:"owner" json:"owner" jsonschema:"minLength=1"`
	// Who else works in it.
	Contributors []Contributor `yaml:"contributors,omitempty" json:"contributors,omitempty"`
	// What the team may take in all, as a ResourceQuota writes it: {cpu: 8, memory: 32Gi, requests.nvidia.com/gpu: 2}.
	Quota map[string]Quantity `yaml:"quota,omitempty" json:"quota,omitempty"`
	// Images that the team runs, beyond those that its objects name; they are locked and travel like all others.
	Images []string `yaml:"images,omitempty" json:"images,omitempty" jsonschema:"uniqueItems=true"`
	// Files of the project with objects of the namespace (PodDefaults, volumes and the like); * stands for any part of a name.
	Objects []string `yaml:"objects,omitempty" json:"objects,omitempty" jsonschema:"uniqueItems=true"`
}

// Contributor is somebody who works in a team's namespace.
type Contributor struct {
	// The user, as the cluster's authentication calls them.
	User string `yaml:"user" json:"user" jsonschema:"minLength=1"`
	// What they may do: edit is everything but giving rights, view is looking.
	Role Role `yaml:"role" json:"role" jsonschema:"enum=edit,enum=view"`
}

// Role is what a contributor may do.
type Role string

// The roles of contributors. The owner's is admin.
const (
	Edit Role = "edit"
	View Role = "view"
)

// Quantity is an amount in Kubernetes' notation, as it was written: 8, 500m, 32Gi.
type Quantity string

// UnmarshalText takes an amount.
func (q *Quantity) UnmarshalText(text []byte) error {
	amount, err := resource.ParseQuantity(string(text))
	if err != nil || amount.Sign() < 0 {
		return fmt.Errorf("not an amount: write it as 8, 500m or 32Gi")
	}
	*q = Quantity(text)
	return nil
}
