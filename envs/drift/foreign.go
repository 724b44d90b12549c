package drift

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/running"
)

// foreignObjects reports what is in the environment's namespaces and not in
// the release. In the namespaces of profiles people work: there only what says
// who may do what, and how much, is looked at.
func (s *scan) foreignObjects() {
	ours, teams := s.spaces()
	uids := map[string]bool{}
	for _, l := range s.lists {
		for _, m := range l.items {
			uids[string(m.UID)] = true
		}
	}
	for gk, l := range s.lists {
		if !l.mapping.Namespaced {
			continue
		}
		for _, m := range l.items {
			if s.wants[key{gk.group, gk.kind, m.Namespace, m.Name}] != nil || m.DeletionTimestamp != nil {
				continue
			}
			team := teams[m.Namespace] && rules(gk)
			if !ours[m.Namespace] && !team || s.excused(gk, m, uids) {
				continue
			}
			f := foreigner(l.mapping, m, team)
			if keptClaim(gk, m) {
				s.report.Kept = append(s.report.Kept, f.Object)
				continue
			}
			s.add(f)
		}
	}
	slices.SortFunc(s.report.Kept, func(a, b apply.Object) int { return strings.Compare(a.String(), b.String()) })
}

// keptClaim reports whether an object is a claim that kfdev applied and that nothing
// of the release has any more: it is never taken out, for the data on it, and so
// is nothing that somebody did to the environment.
func keptClaim(k groupKind, m *meta) bool {
	return k == groupKind{"", "PersistentVolumeClaim"} && m.Labels["applyset.kubernetes.io/part-of"] != "" &&
		slices.ContainsFunc(m.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
			return e.Manager == apply.Manager && e.Operation == metav1.ManagedFieldsOperationApply
		})
}

// spaces returns the namespaces of the stack, and those of profiles.
func (s *scan) spaces() (ours, teams map[string]bool) {
	ours, teams = map[string]bool{}, map[string]bool{}
	for _, w := range s.wants {
		switch {
		case w.team && w.object.Kind == "Profile":
			teams[w.object.Name] = true
		case w.team && w.object.Namespace != "":
			teams[w.object.Namespace] = true
		case isNamespace(w.object):
			ours[w.object.Name] = true
		case w.object.Namespace != "":
			ours[w.object.Namespace] = true
		}
	}
	for name := range teams {
		delete(ours, name)
	}
	maps.DeleteFunc(ours, func(name string, _ bool) bool { return clusters(name) })
	return ours, teams
}

// clusters reports whether a namespace holds what the cluster itself came with:
// nobody's release has all of it.
func clusters(namespace string) bool { return strings.HasPrefix(namespace, "kube-") }

// rules reports whether objects of a kind say who may do what, or how much.
func rules(k groupKind) bool {
	switch k.group {
	case "rbac.authorization.k8s.io", "networking.k8s.io", "security.istio.io":
		return true
	case "":
		return k.kind == "ResourceQuota" || k.kind == "LimitRange"
	case "kubeflow.org":
		return k.kind == "PodDefault"
	}
	return false
}

// excused reports whether an object is made by a known program.
func (s *scan) excused(k groupKind, m *meta, uids map[string]bool) bool {
	if m.Namespace == apply.SystemNamespace && strings.HasPrefix(m.Name, "kfdev-") {
		return true
	}
	owner := metav1.GetControllerOfNoCopy(m)
	if _, known := s.rules.Known(k.group, k.kind, m); !known {
		return false
	}
	if owner == nil {
		return true
	}
	// An owner that is nowhere excuses nothing: anyone can write its name.
	group := schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).Group
	l := s.lists[groupKind{group, owner.Kind}]
	return l == nil || l.err != nil || uids[string(owner.UID)]
}

func foreigner(mapping kube.Mapping, m *meta, team bool) Finding {
	f := Finding{
		Class: ForeignObject, Team: team, Why: "the release does not have it",
		Object: apply.Object{APIVersion: mapping.Kind.GroupVersion().String(), Kind: mapping.Kind.Kind, Namespace: m.Namespace, Name: m.Name},
		seen:   seen{uid: m.UID, version: m.ResourceVersion},
	}
	if team {
		f.Why = "it says who may do what in a profile's namespace, and no profile has it"
	}
	if id := m.Labels["applyset.kubernetes.io/part-of"]; id != "" {
		f.Why = fmt.Sprintf("the release does not have it, though it carries the label of a set (%s): it is left over from another release, or was made to look so", id)
	}
	o := ownersOf(m.ManagedFields)
	all := make([]int, len(o.entries))
	for i := range all {
		all[i] = i
	}
	f.Who = o.who(all)
	return f
}

// images reports the containers in the environment's namespaces that run what
// the lock does not name.
func (s *scan) images(ctx context.Context) error {
	if s.wanted.Images == nil {
		return nil
	}
	pods := kube.Mapping{Kind: corev1.SchemeGroupVersion.WithKind("Pod"), Resource: corev1.SchemeGroupVersion.WithResource("pods"), Namespaced: true}
	var all []corev1.Pod
	for _, space := range s.namespaces() {
		if clusters(space) {
			continue
		}
		list, err := s.objects(ctx, pods, space)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			s.add(Finding{Class: Unknown, Object: apply.Object{APIVersion: "v1", Kind: "Pod", Namespace: space, Name: "*"}, Why: "nothing is known of the images that run there: " + err.Error()})
			continue
		}
		for _, o := range list {
			var pod corev1.Pod
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &pod); err != nil {
				return err
			}
			all = append(all, pod)
		}
	}
	for _, f := range running.Compare(all, s.wanted.Images).Foreigners {
		i := slices.IndexFunc(all, func(p corev1.Pod) bool { return p.Namespace == f.Namespace && p.Name == f.Pod })
		s.add(imageFinding(f, &all[i]))
	}
	return nil
}

func imageFinding(f running.Foreigner, pod *corev1.Pod) Finding {
	field := map[running.Role]string{running.Container: "containers", running.Init: "initContainers", running.Sidecar: "initContainers", running.Ephemeral: "ephemeralContainers", running.Volume: "volumes"}[f.Role]
	path := fmt.Sprintf("spec/%s[name=%s]/image", field, f.Container)
	if f.Role == running.Volume {
		path += "/reference"
	}
	live := f.Image
	if f.ImageID != "" {
		live = f.ImageID
	}
	return Finding{
		Class: ForeignImage, Object: apply.Object{APIVersion: "v1", Kind: "Pod", Namespace: f.Namespace, Name: f.Pod},
		Path: path, Live: live, Why: "the lock does not name it: " + f.Why, seen: seen{uid: pod.UID, version: pod.ResourceVersion},
	}
}
