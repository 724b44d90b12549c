package collect

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/fingerprint"
)

// classes reads the classes of one kind. The annotation that makes one the
// default counts too.
func classes(ctx context.Context, r *reader, dimension, group, resource, byDefault string, change func(map[string]any)) dimensions {
	all, why := r.list(ctx, group, resource, "")
	if why != "" {
		return unknowns(why, dimension)
	}
	found := map[string]fingerprint.Value{}
	for i := range all {
		v := fields(&all[i])
		if byDefault != "" && all[i].GetAnnotations()[byDefault] == "true" {
			v["default"] = true
		}
		if change != nil {
			change(v)
		}
		found[named(all[i].GetName())] = fingerprint.Value{Is: v}
	}
	return dimensions{dimension: items(found)}
}

func storageClasses(ctx context.Context, r *reader) dimensions {
	return classes(ctx, r, fingerprint.StorageClasses, "storage.k8s.io", "storageclasses", "storageclass.kubernetes.io/is-default-class", keepBack)
}

// keepBack drops parameters that may hold a credential: some drivers take them
// there. Those of CSI itself only name Secrets.
func keepBack(class map[string]any) {
	parameters, _ := class["parameters"].(map[string]any)
	for k := range parameters {
		lower := strings.ToLower(k)
		if strings.HasPrefix(lower, "csi.storage.k8s.io/") {
			continue
		}
		for _, part := range []string{"password", "token", "secret", "key", "credential"} {
			if strings.Contains(lower, part) {
				parameters[k] = "kept back"
			}
		}
	}
}

func runtimeClasses(ctx context.Context, r *reader) dimensions {
	return classes(ctx, r, fingerprint.RuntimeClasses, "node.k8s.io", "runtimeclasses", "", nil)
}

func priorityClasses(ctx context.Context, r *reader) dimensions {
	return classes(ctx, r, fingerprint.PriorityClasses, "scheduling.k8s.io", "priorityclasses", "", func(v map[string]any) { delete(v, "description") })
}

func ingressClasses(ctx context.Context, r *reader) dimensions {
	return classes(ctx, r, fingerprint.IngressClasses, "networking.k8s.io", "ingressclasses", "ingressclass.kubernetes.io/is-default-class", nil)
}

func gatewayClasses(ctx context.Context, r *reader) dimensions {
	return classes(ctx, r, fingerprint.GatewayClasses, "gateway.networking.k8s.io", "gatewayclasses", "", func(v map[string]any) {
		unstructured.RemoveNestedField(v, "spec", "description")
	})
}
