// Package policy keeps images that are in no lock out of an environment, without
// kfdev at work: a ValidatingAdmissionPolicy (CEL in the API server, no webhook)
// with the digests of the release as its parameter. It holds with kfdev gone
// and every registry down.
//
// The parameter is a kind of kfdev's own and not a ConfigMap, by measurement
// (docs/benchmarks.md, Admission): the API server converts a ConfigMap anew for
// every request, which takes longer the more digests there are, and writes each
// key once more into managedFields, so that 10,000 digests would be 1.5 MB, all
// that etcd takes. A custom resource is used as it lies there, and its digests
// are one atomic field.
package policy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// Name is the name of the policy, its binding and its parameter.
const Name = "kfdev-locked-images"

// MaxDigests is how many digests one environment may allow: 700 KB of the
// 1.5 MiB that etcd takes.
const MaxDigests = 10_000

// Resource is where the parameter is served.
func Resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kfdev.dev", Version: "v1alpha1", Resource: "allowedimages"}
}

// Options are what an environment's policy is made of.
type Options struct {
	// Namespaces are the stack's and the profiles'. They are selected by the
	// label kubernetes.io/metadata.name, which the API server itself sets: a
	// label of kfdev's could be taken off by whoever may edit a namespace, and
	// would have to be there before the first pod.
	Namespaces []string
	// Digests ("sha256:…") are those of the lock, and those that Retain keeps.
	Digests []string
	// Warn makes it warn and audit, and never deny: in a development
	// environment.
	Warn bool
}

//go:embed kind.yaml
var kindText []byte

//go:embed policy.yaml
var policyText string

// Objects returns the objects of an environment's policy: the parameter's kind,
// the parameter, the policy, its binding. It refuses more digests than fit, and
// namespaces that a cluster or kfdev itself needs to mend things.
func Objects(o Options) ([]*unstructured.Unstructured, error) {
	fail := func(kind fault.Kind, hint string, err error) ([]*unstructured.Unstructured, error) {
		return nil, &fault.Error{Op: "making the policy of images", Kind: kind, Hint: hint, Err: err}
	}
	digests, err := digestSet(o.Digests)
	if err != nil {
		return fail(fault.Failure, "", err)
	}
	if len(digests) > MaxDigests {
		return fail(fault.Preflight, "remove what still names old images (finished runs, workflows, notebooks), or images from the stack",
			fmt.Errorf("%d images are to be allowed: at most %d fit", len(digests), MaxDigests))
	}
	namespaces := slices.Compact(slices.Sorted(slices.Values(o.Namespaces)))
	for _, n := range namespaces {
		if Exempt(n) {
			return fail(fault.Usage, "put the component into a namespace of its own", fmt.Errorf("the namespace %s is never locked", n))
		}
	}
	if len(namespaces) == 0 {
		return fail(fault.Failure, "", errors.New("no namespace is to be locked"))
	}
	kind, err := object(kindText)
	if err != nil {
		return fail(fault.Failure, "", err)
	}
	allowed := map[string]any{}
	for _, d := range digests {
		allowed[d] = ""
	}
	objects := []*unstructured.Unstructured{kind, {Object: map[string]any{
		"apiVersion": Resource().GroupVersion().String(), "kind": "AllowedImages",
		"metadata": map[string]any{"name": Name, "labels": labels()},
		"spec":     map[string]any{"digests": allowed},
	}}}
	rules, err := render(namespaces, o.Warn)
	if err != nil {
		return fail(fault.Failure, "", err)
	}
	return append(objects, rules...), nil
}

// Exempt reports whether a namespace is never locked: Kubernetes' own, and
// kfdev's, without which nothing could be mended.
func Exempt(namespace string) bool {
	return strings.HasPrefix(namespace, "kube-") || namespace == apply.SystemNamespace
}

func labels() map[string]any { return map[string]any{"app.kubernetes.io/managed-by": apply.Manager} }

// digestSet returns the hexadecimal parts of digests, each once, sorted.
func digestSet(digests []string) ([]string, error) {
	form := regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	var out []string
	for _, d := range digests {
		if !form.MatchString(d) {
			return nil, fmt.Errorf("%q is no digest", d)
		}
		out = append(out, strings.TrimPrefix(d, "sha256:"))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func object(text []byte) (*unstructured.Unstructured, error) {
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{}
	return o, o.UnmarshalJSON(data)
}

// render fills the policy and its binding in.
func render(namespaces []string, warn bool) ([]*unstructured.Unstructured, error) {
	t, err := template.New("policy").Parse(policyText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, map[string]any{"Name": Name, "Namespaces": namespaces, "Warn": warn}); err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, part := range bytes.Split(out.Bytes(), []byte("\n---\n")) {
		o, err := object(part)
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}
