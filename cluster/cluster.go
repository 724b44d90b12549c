// Package cluster holds the words of a project's own cluster: what it is to
// be (Spec), what it is (State), and who provides it (Provider). The adapters
// are in sub-packages: kind makes real clusters, clustertest has a fake and
// the suite that both pass.
package cluster

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/kfdev/kfdev/internal/fault"
)

// Spec is what a cluster is to be.
type Spec struct {
	// Name is the project's; the cluster and its context are named kfdev-<Name>.
	Name string
	// Owner tells projects of one name apart: the folder of the project.
	Owner string
	Image NodeImage
	// Nodes is how many there are; 0 means 1. The first is the control plane,
	// which runs work where it is the only one.
	Nodes int
	// APIPort is the port on 127.0.0.1 that the API answers at; 0 means any
	// that is free. It is chosen when the cluster is made and then stays.
	APIPort int
	// Ports lead from 127.0.0.1 of this machine to ports of the first node. They
	// are given when the cluster is made, and then stay.
	Ports  []Port
	Mirror Mirror
}

// Port is a port of this machine that leads to one of a node, over TCP.
type Port struct{ Host, Node int }

// String is "8080 → 30080", from this machine to the node.
func (p Port) String() string { return fmt.Sprintf("%d → %d", p.Host, p.Node) }

// nodeAPIPort is where the API server listens in its node.
const nodeAPIPort = 6443

// NodeImage is the image that a cluster's nodes run.
type NodeImage struct {
	// Ref is the ID of an image that is loaded ("sha256:…"), or a published
	// image as repository@digest.
	Ref string
	// FromSource is true for kfdev's own node image. It has a fixed pod network
	// that serves one node, and the control plane's images under Repository.
	FromSource bool
	Repository string // of the control plane's images; only with FromSource
}

// Mirror is the registry that nodes ask first, and how they reach the others.
type Mirror struct {
	// URL is where nodes reach the local registry: "http://kfdev-registry.svc:5000".
	// Empty means none.
	URL string
	// CA holds certificates (PEM) that nodes trust beside the system's when they
	// pull from upstream: those of a proxy that looks into TLS.
	CA []byte
}

// Phase is how far along a cluster is.
type Phase string

// The phases.
const (
	Running    Phase = "running"
	Stopped    Phase = "stopped"    // it keeps all that it had
	Incomplete Phase = "incomplete" // its making was cut short, nothing is in it yet
)

// Node is one node of a cluster.
type Node struct {
	Name    string
	ID      string // of its container; it stays over stop and start
	Running bool
}

// State is what a cluster is.
type State struct {
	Name  string
	Owner string
	Phase Phase
	Image string // that the nodes were made from, as in NodeImage.Ref
	Nodes []Node // the control plane first
	// Server is the API's URL on this machine.
	Server string
	Ports  []Port // that lead to the first node, beside the API's, by the node's port
	// Holds are the images that a published node image brought along, as the
	// cluster had them when it was made and nothing was in it yet. Empty for a
	// node image from source: its lock knows what it holds.
	Holds []Held
	// Kubeconfig reaches the cluster as its administrator; it holds exactly one
	// context. Empty where Phase is Incomplete.
	Kubeconfig []byte
}

// Held is an image that nodes have from birth.
type Held struct {
	Name    string   `json:"name"`    // with its tag, where it has one
	Digests []string `json:"digests"` // "sha256:…" of its configuration, and of manifests it is known by
}

// Provider makes and keeps clusters. A name is the project's. Every method
// that changes something may be repeated; what was cut short is taken up again
// by the next Ensure.
type Provider interface {
	// Ensure has the cluster running and its API and nodes ready. One that is
	// there keeps its nodes and all that is in them; what cannot be changed in
	// place is a fault of kind Drift, and nothing is done.
	Ensure(ctx context.Context, spec Spec) (State, error)
	// Get looks at a cluster; none is a fault of kind NotFound.
	Get(ctx context.Context, name string) (State, error)
	// Start starts a stopped cluster and waits until its API and nodes are ready.
	Start(ctx context.Context, name string) (State, error)
	// Stop stops a cluster and keeps all that is in it. None is a fault of kind
	// NotFound, one that is stopped is none.
	Stop(ctx context.Context, name string) error
	// Delete removes a cluster with all that is in it; none is no fault.
	Delete(ctx context.Context, name string) error
}

// ContextName is the name of a project's cluster and of its context in the
// kubeconfig.
func ContextName(project string) string { return "kfdev-" + project }

// nameLimit keeps "kfdev-<name>-control-plane" a host name (63 characters).
const nameLimit = 63 - len("kfdev-") - len("-control-plane2")

// Validate reports what of a spec cannot be.
func (s Spec) Validate() error {
	fail := func(format string, args ...any) error {
		return &fault.Error{Op: "checking the cluster", Subject: s.Name, Kind: fault.Usage, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`).MatchString(s.Name):
		return fail("the name may have lower-case letters, digits and hyphens, and starts and ends with a letter or digit")
	case len(s.Name) > nameLimit:
		return fail("the name has %d characters; %d fit into a node's host name", len(s.Name), nameLimit)
	case s.Image.Ref == "":
		return fail("no node image")
	case s.Image.FromSource && s.Image.Repository == "":
		return fail("the node image from source has its control plane's images under a repository, and none is named")
	case s.Nodes < 0:
		return fail("%d nodes", s.Nodes)
	case s.Image.FromSource && s.Nodes > 1:
		return fail("%d nodes: the node image from source has a pod network for one node only; with `origin: registry` more are possible", s.Nodes)
	case s.APIPort < 0 || s.APIPort > 65535:
		return fail("port %d for the API", s.APIPort)
	}
	seen := map[Port]bool{}
	for _, p := range s.Ports {
		host, node := Port{Host: p.Host}, Port{Node: p.Node}
		switch {
		case min(p.Host, p.Node) < 1 || max(p.Host, p.Node) > 65535:
			return fail("port %s: from 1 to 65535", p)
		case p.Node == nodeAPIPort:
			return fail("port %s: the node's port %d is the API's, which has an address of its own", p, nodeAPIPort)
		case seen[host] || seen[node]:
			return fail("port %s: one of the two comes twice", p)
		}
		seen[host], seen[node] = true, true
	}
	return nil
}

// Differs says why a cluster as it is cannot be brought to the spec without
// losing what is in it; nil when it can.
func (s Spec) Differs(state State) error {
	fail := func(hint, format string, args ...any) error {
		return &fault.Error{Op: "keeping the cluster", Subject: ContextName(s.Name), Kind: fault.Drift, Hint: hint, Err: fmt.Errorf(format, args...)}
	}
	anew := "`kfdev down --delete` removes it with all that is in it; the next `kfdev up` makes it anew"
	switch nodes := max(s.Nodes, 1); {
	case s.Owner != state.Owner:
		return fail("give this project another name", "a project of the same name in %s has it", state.Owner)
	case s.Image.Ref != state.Image:
		return fail(anew, "its nodes run %s, the lock wants %s", state.Image, s.Image.Ref)
	case nodes != len(state.Nodes):
		return fail(anew, "it has %d nodes, %d are wanted", len(state.Nodes), nodes)
	}
	if has, wanted := sorted(state.Ports), sorted(s.Ports); !slices.Equal(has, wanted) {
		return fail(anew, "its ports are %v, %v are wanted", has, wanted)
	}
	return nil
}

func sorted(ports []Port) []Port {
	return slices.SortedFunc(slices.Values(ports), func(a, b Port) int { return cmp.Compare(a.Node, b.Node) })
}
