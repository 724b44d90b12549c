package team

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// amounts are a quota's, by the names that it gives to resources.
type amounts map[string]resource.Quantity

func amountsOf(hard map[string]any) (amounts, error) {
	all := amounts{}
	for name, v := range hard {
		q, err := resource.ParseQuantity(fmt.Sprint(v))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = q
	}
	return all, nil
}

func (a amounts) equal(b amounts) bool {
	return maps.EqualFunc(a, b, func(x, y resource.Quantity) bool { return x.Cmp(y) == 0 })
}

func (a amounts) text(name string) string {
	q := a[name]
	return q.String()
}

// place says where a pod writes what a quota counts under a name: as a request,
// or as a limit. Names that no pod writes (counts of objects, storage of
// volumes) have none.
// Source: k8s.io/kubernetes/pkg/quota/v1/evaluator/core/pods.go.
func place(name string) (of corev1.ResourceName, limit, ok bool) {
	if rest, is := strings.CutPrefix(name, "limits."); is {
		return corev1.ResourceName(rest), true, true
	}
	rest, is := strings.CutPrefix(name, "requests.")
	switch {
	case rest == "storage":
		return "", false, false
	case is, rest == "cpu", rest == "memory", rest == "ephemeral-storage":
		return corev1.ResourceName(rest), false, true
	}
	return "", false, false
}

// small is the least that a pod must ask for under the quota: it refuses pods
// that leave out what it counts.
func (a amounts) small() corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
	for name := range a {
		of, limit, ok := place(name)
		if !ok || extended(of) {
			continue // what an extended resource's quota counts may be left out
		}
		least := resource.MustParse("1Mi")
		if of == corev1.ResourceCPU {
			least = resource.MustParse("1m")
		}
		r.Requests[of] = least
		if limit {
			r.Limits[of] = least
		}
	}
	return r
}

// extended reports whether a resource is a device's, like nvidia.com/gpu.
func extended(of corev1.ResourceName) bool { return strings.Contains(string(of), "/") }

// above gives, for everything that one pod can ask too much of, a pod's
// resources with one more than the quota.
func (a amounts) above() iter.Seq2[string, corev1.ResourceRequirements] {
	return func(yield func(string, corev1.ResourceRequirements) bool) {
		for _, name := range slices.Sorted(maps.Keys(a)) {
			of, limit, ok := place(name)
			if !ok {
				continue
			}
			more := a[name].DeepCopy()
			more.Add(resource.MustParse("1"))
			r := a.small()
			if limit || extended(of) {
				r.Limits[of] = more
			}
			if !limit {
				r.Requests[of] = more
				if _, bounded := r.Limits[of]; bounded {
					r.Limits[of] = more
				}
			}
			if !yield(name, r) {
				return
			}
		}
	}
}
