package apply

import (
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Behind returns the proposal of a set that comes after others. What those may
// mend is not in the way of it, but unchecked until its turn: that objects do
// not fit a kind which a set before brings or changes, what admission denies as
// the cluster is now, and fields of a shared namespace that a set before lets go.
func (p Proposal) Behind(before []Planned) Proposal {
	before = slices.DeleteFunc(slices.Clone(before), func(b Planned) bool { return !b.Proposal.Changed() })
	p.Objects = slices.Clone(p.Objects)
	for n := range p.Objects {
		o := &p.Objects[n]
		if o.Blocked != "" {
			if by := mends(before, *o); by != "" {
				o.Unchecked, o.Blocked, o.Denied = fmt.Sprintf("the set %s comes before, and may mend it: %s", by, o.Blocked), "", false
			}
		}
		held := slices.DeleteFunc(slices.Clone(o.Conflicts), func(c Conflict) bool { return !c.Force && letsGo(before, o.Object, c) })
		if len(held) < len(o.Conflicts) {
			o.Unchecked, o.Conflicts = "a set that comes before holds fields of it, and changes", held
		}
	}
	return p
}

// mends names the set that may mend what an object is refused for; empty where
// none does.
func mends(before []Planned, o Proposed) string {
	for _, b := range before {
		if o.Denied || slices.Contains(b.kinds(), o.Object.GroupVersionKind().GroupKind()) {
			return b.Set.Name
		}
	}
	return ""
}

// letsGo reports whether the conflict is with a set before: each is a manager of
// its own of the namespaces that it shares.
func letsGo(before []Planned, o Object, c Conflict) bool {
	return isNamespace(o.Kind, o.APIVersion) && slices.ContainsFunc(before, func(b Planned) bool { return c.Manager == Manager+"-"+b.Set.Name })
}

// kinds are those that the plan brings or changes.
func (b Planned) kinds() []schema.GroupKind {
	var all []schema.GroupKind
	for _, content := range b.Set.Objects {
		if !isCRD(content) || !slices.ContainsFunc(b.Proposal.Objects, func(o Proposed) bool {
			return o.Change != Unchanged && o.Object.Kind == content.GetKind() && o.Object.Name == content.GetName()
		}) {
			continue
		}
		all = append(all, kindIn(content))
	}
	return all
}

// kindIn is the kind that a CustomResourceDefinition brings.
func kindIn(crd *unstructured.Unstructured) schema.GroupKind {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	return schema.GroupKind{Group: group, Kind: kind}
}

// deniedByAdmission reports whether a policy, a quota or a webhook refuses an
// object. Their reasons are any that they choose; these are the server's words.
// Source: k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go,
// .../plugin/policy/validating/dispatcher.go.
func deniedByAdmission(err error) bool {
	text := err.Error()
	return apierrors.IsForbidden(err) || strings.Contains(text, "denied request") || strings.Contains(text, "denied the request")
}
