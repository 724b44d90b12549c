package fingerprint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/strictyaml"
)

// Comparator says when two values count as the same.
type Comparator string

// The comparators. a is the environment that comes first, where a release was
// proven; b the one that it goes to.
const (
	Exact       Comparator = "exact"
	SemverMinor Comparator = "semver-minor" // major and minor version are the same
	Floor       Comparator = "floor"        // b is no less than a, or both are no less than a floor
	Subset      Comparator = "subset"       // b has all that a has
	Ignore      Comparator = "ignore"       // anything, unknown too
)

func comparators() []string {
	return []string{string(Exact), string(SemverMinor), string(Floor), string(Subset), string(Ignore)}
}

// The comments of the fields below are the descriptions in the JSON Schema,
// and speak to whoever writes a kfdev.yaml.

// Rule is how one dimension is compared.
type Rule struct {
	// When two values count as the same. exact; semver-minor: major and minor version are; floor: the later environment's is no less; subset: the later one has all of the earlier's.
	Compare Comparator `yaml:"compare" json:"compare" jsonschema:"enum=exact,enum=semver-minor,enum=floor,enum=subset,enum=ignore"`
	// With floor: the least that both may have; the later one may have no less than the earlier all the same.
	Floor string `yaml:"floor,omitempty" json:"floor,omitempty"`
	// Why says why the dimension matters.
	Why string `yaml:"-" json:"-"`
}

// Rules are rules by dimension.
type Rules map[string]Rule

// The dimensions that kfdev collects.
const (
	Server          = "kubernetes.version"
	Emulation       = "kubernetes.emulation-version"
	FeatureGates    = "kubernetes.feature-gates"
	APIs            = "kubernetes.apis"
	CRDs            = "crds"
	StoredVersions  = "crd-stored-versions"
	Webhooks        = "webhooks"
	Policies        = "admission-policies"
	StorageClasses  = "storage-classes"
	RuntimeClasses  = "runtime-classes"
	PriorityClasses = "priority-classes"
	IngressClasses  = "ingress-classes"
	GatewayClasses  = "gateway-classes"
	Namespaces      = "namespaces"
	NodeOS          = "nodes.os"
	Kernel          = "nodes.kernel"
	Runtime         = "nodes.container-runtime"
	Kubelet         = "nodes.kubelet"
	Architecture    = "nodes.architecture"
	Allocatable     = "nodes.allocatable"
	GPUProduct      = "gpu.product"
	GPUDriver       = "gpu.driver"
	CUDA            = "gpu.cuda"
	Platform        = "platform-images"
)

// DefaultRules returns how each dimension is compared unless a project says
// otherwise.
func DefaultRules() Rules {
	return Rules{
		Server:          {Compare: SemverMinor, Why: "defaults, validation and served APIs change with a minor version"},
		Emulation:       {Compare: Exact, Why: "the server behaves as the version that it emulates"},
		FeatureGates:    {Compare: Exact, Why: "a gate that is not at its default changes what the server does"},
		APIs:            {Compare: Subset, Why: "what one server serves, the other may not"},
		CRDs:            {Compare: Exact, Why: "another schema prunes or refuses fields"},
		StoredVersions:  {Compare: Exact, Why: "a version left in storage is in the way of an upgrade"},
		Webhooks:        {Compare: Exact, Why: "a webhook changes or refuses objects"},
		Policies:        {Compare: Exact, Why: "a policy changes or refuses objects"},
		StorageClasses:  {Compare: Exact, Why: "access modes, binding and speed of volumes hang on it"},
		RuntimeClasses:  {Compare: Exact, Why: "pods run under another handler, or not at all"},
		PriorityClasses: {Compare: Exact, Why: "who is evicted first hangs on it"},
		IngressClasses:  {Compare: Exact, Why: "another controller reads the same rules differently"},
		GatewayClasses:  {Compare: Exact, Why: "another controller reads the same routes differently"},
		Namespaces:      {Compare: Exact, Why: "quota, limits, pod security and roles decide what may run"},
		NodeOS:          {Compare: Exact, Why: "libraries and defaults of the host differ"},
		Kernel:          {Compare: SemverMinor, Why: "system calls and cgroups change with the kernel"},
		Runtime:         {Compare: SemverMinor, Why: "image and sandbox features change with the runtime"},
		Kubelet:         {Compare: SemverMinor, Why: "pod features change with the kubelet"},
		Architecture:    {Compare: Exact, Why: "other children of the images run"},
		Allocatable:     {Compare: Floor, Why: "what fits in one may not fit in the other"},
		GPUProduct:      {Compare: Exact, Why: "results, speed and memory hang on the model"},
		GPUDriver:       {Compare: Floor, Why: "an image's CUDA needs a driver that is no older"},
		CUDA:            {Compare: Floor, Why: "an image's CUDA must not be newer than the driver's"},
		Platform:        {Compare: Exact, Why: "mesh and certificates act on every object of the stack"},
	}
}

// strictness orders comparators as far as they have an order: exact holds all
// that the others do, ignore nothing.
func stricter(from, to Rule) bool {
	return to == from || to.Compare == Exact || from.Compare == Ignore ||
		from.Compare == Floor && to.Compare == Floor && from.Floor == ""
}

// Tighten returns rules with a project's own. These may only hold more: a
// difference that is meant is declared, with a reason, and not looked away from.
func Tighten(rules, project Rules) (Rules, error) {
	out := maps.Clone(rules)
	for _, name := range slices.Sorted(maps.Keys(project)) {
		to := project[name]
		from, ok := rules[name]
		switch {
		case !ok:
			fix := "the dimensions are " + strings.Join(slices.Sorted(maps.Keys(rules)), ", ")
			if near := strictyaml.Nearest(name, slices.Sorted(maps.Keys(rules))); near != "" {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			return nil, fmt.Errorf("there is no dimension %q: %s", name, fix)
		case !slices.Contains(comparators(), string(to.Compare)):
			return nil, fmt.Errorf("%s: the comparator %q is not known: write one of %s", name, to.Compare, strings.Join(comparators(), ", "))
		case to.Floor != "" && to.Compare != Floor:
			return nil, fmt.Errorf("%s: a floor goes with the comparator floor only", name)
		case to.Floor != "" && name == Allocatable:
			return nil, fmt.Errorf("%s: it is a list of amounts, which one floor cannot be held against: leave it out", name)
		}
		to.Why = from.Why
		if !stricter(from, to) {
			return nil, fmt.Errorf("%s: %s holds less than %s: declare the difference instead, with the path fingerprint/%s", name, to.Compare, from.Compare, name)
		}
		out[name] = to
	}
	return out, nil
}
