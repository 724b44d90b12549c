package apply

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/kube"
)

// verdict puts into p what the server's answer to a dry run means: that it would
// refuse the object, or that it could not say. What is neither is an error.
func (w *work) verdict(i *item, err error, p *Proposed) error {
	secret := isSecret(i.object)
	text := message(err, secret)
	var unknown *kube.UnknownKindError
	switch {
	case errors.As(err, &unknown), apierrors.IsNotFound(err) && !namespaceMissing(err):
		p.Unchecked = "its kind is not served yet"
	case namespaceMissing(err):
		p.Unchecked = "the namespace " + i.object.Namespace + " is not there yet"
	case apierrors.IsForbidden(err) && lacksRights(err):
		p.Unchecked = "no rights to ask: " + text
	case strings.Contains(err.Error(), "does not support dry run"), strings.Contains(err.Error(), "failed calling webhook"):
		p.Unchecked = "a webhook cannot be asked: " + text
	case (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || misshapen(err)) && w.changesKind(i.object.GroupVersionKind().GroupKind()):
		p.Unchecked = "its kind changes with it: " + text
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err), apierrors.IsMethodNotSupported(err), misshapen(err):
		if p.Blocked == "" {
			p.Blocked, p.Denied = text, deniedByAdmission(err)
		}
	case secret:
		return fmt.Errorf("%s: %s", i.object, text)
	default:
		return fmt.Errorf("%s: %w", i.object, err)
	}
	return nil
}

// misshapen reports whether the object does not fit its kind. The server says so
// as an internal error without a reason.
// Source: k8s.io/apimachinery/pkg/util/managedfields/internal/structuredmerge.go.
func misshapen(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed to create typed patch object") || strings.Contains(text, "failed to convert new object")
}

// namespaceMissing reports whether the object's namespace is what was not found.
func namespaceMissing(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

// lacksRights tells the authorizer's refusals, and those of what guards roles,
// from a policy's: they have the same reason.
func lacksRights(err error) bool {
	text := err.Error()
	return strings.Contains(text, `" cannot `) || strings.Contains(text, "attempting to grant RBAC permissions not currently held")
}

// changesKind reports whether the set brings or changes the kind.
func (w *work) changesKind(kind schema.GroupKind) bool {
	return slices.ContainsFunc(w.items, func(i *item) bool {
		if !isCRD(i.content) || i.change == Unchanged {
			return false
		}
		return kindIn(i.content) == kind
	})
}

// longest bounds what is repeated of a server's message.
const longest = 500

// message returns the server's words, each cause by itself. It quotes values, so
// of a Secret only the fields and reasons are told.
func message(err error, secret bool) string {
	var status apierrors.APIStatus
	text := err.Error()
	if errors.As(err, &status) {
		text = status.Status().Message
		if secret {
			text = fmt.Sprintf("the server refuses it (%s %d)", status.Status().Reason, status.Status().Code)
		}
		if details := status.Status().Details; details != nil && apierrors.IsInvalid(err) && len(details.Causes) > 0 {
			var parts []string
			for _, c := range details.Causes {
				told := c.Message
				if secret {
					told = string(c.Type)
				}
				parts = append(parts, c.Field+": "+told)
			}
			text = strings.Join(parts, "; ")
		}
	}
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	return text
}

// conflictsOf reads the conflicts out of a server's answer; none where it is
// something else.
func conflictsOf(err error, before *unstructured.Unstructured) []Conflict {
	var status apierrors.APIStatus
	if !apierrors.IsConflict(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var all []Conflict
	for _, cause := range status.Status().Details.Causes {
		if cause.Type != metav1.CauseTypeFieldManagerConflict {
			continue
		}
		c := Conflict{Field: strings.TrimPrefix(cause.Field, "."), Manager: strings.TrimPrefix(cause.Message, "conflict with ")}
		if quoted, err := strconv.QuotedPrefix(c.Manager); err == nil {
			c.Manager, _ = strconv.Unquote(quoted)
		}
		if _, at, ok := strings.Cut(cause.Message, " at "); ok {
			if t, err := time.Parse(time.RFC3339, at); err == nil {
				c.Since = &metav1.Time{Time: t}
			}
		}
		if c.Since == nil && before != nil {
			c.Since = lastWrite(before, c.Manager)
		}
		all = append(all, c)
	}
	return all
}

func lastWrite(o *unstructured.Unstructured, manager string) *metav1.Time {
	var last *metav1.Time
	for _, e := range o.GetManagedFields() {
		if e.Manager == manager && e.Time != nil && (last == nil || last.Before(e.Time)) {
			last = e.Time
		}
	}
	return last
}

// droppedVersions says which versions of a kind objects may be stored in that
// the new kind does not have: the server would not be able to read them.
func droppedVersions(before, content *unstructured.Unstructured) string {
	if !isCRD(content) {
		return ""
	}
	stored, _, _ := unstructured.NestedStringSlice(before.Object, "status", "storedVersions")
	versions, _, _ := unstructured.NestedSlice(content.Object, "spec", "versions")
	var dropped []string
	for _, s := range stored {
		if !slices.ContainsFunc(versions, func(v any) bool { m, _ := v.(map[string]any); return m["name"] == s }) {
			dropped = append(dropped, s)
		}
	}
	if len(dropped) == 0 {
		return ""
	}
	return "objects are stored as " + strings.Join(dropped, ", ") + ", which the new kind no longer has: migrate them and take that out of status.storedVersions first"
}

// fixed lists what the server never lets change, for where it could not be asked.
// Source: the ValidateUpdate functions of k8s.io/kubernetes/pkg/apis.
func fixed(kind schema.GroupKind) []string {
	switch kind.String() {
	case "Deployment.apps", "DaemonSet.apps", "ReplicaSet.apps":
		return []string{"spec/selector"}
	case "StatefulSet.apps":
		return []string{"spec/selector", "spec/serviceName", "spec/volumeClaimTemplates", "spec/podManagementPolicy"}
	case "Job.batch":
		return []string{"spec/selector", "spec/template", "spec/completionMode"}
	case "RoleBinding.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io":
		return []string{"roleRef"}
	case "StorageClass.storage.k8s.io":
		return []string{"provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"}
	case "CustomResourceDefinition.apiextensions.k8s.io":
		return []string{"spec/group", "spec/scope", "spec/names/kind", "spec/names/plural"}
	case "PersistentVolumeClaim":
		return []string{"spec/storageClassName", "spec/accessModes", "spec/volumeName", "spec/volumeMode", "spec/selector"}
	case "PriorityClass.scheduling.k8s.io":
		return []string{"value", "preemptionPolicy"}
	case "RuntimeClass.node.k8s.io":
		return []string{"handler"}
	case "Secret":
		return []string{"type"}
	}
	return nil
}

// immutable names a field among the changes that can't be changed.
func immutable(o Object, before *unstructured.Unstructured, fields []FieldChange) string {
	paths := fixed(o.GroupVersionKind().GroupKind())
	if sealed, _, _ := unstructured.NestedBool(before.Object, "immutable"); sealed {
		paths = append(paths, "data", "binaryData", "stringData")
	}
	for _, f := range fields {
		for _, p := range paths {
			if rest, ok := strings.CutPrefix(f.Path, p); ok && (rest == "" || rest[0] == '/' || rest[0] == '[') {
				return f.Path + " cannot be changed"
			}
		}
	}
	return ""
}
