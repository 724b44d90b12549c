package collect

import (
	"context"
	"net/url"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/stack/policy"
)

const admissionregistration = "admissionregistration.k8s.io"

// webhooks reads every webhook that changes or refuses objects, without the
// authority that it is trusted by, which each cluster makes for itself.
func webhooks(ctx context.Context, r *reader) dimensions {
	found := map[string]fingerprint.Value{}
	for prefix, resource := range map[string]string{"mutating": "mutatingwebhookconfigurations", "validating": "validatingwebhookconfigurations"} {
		configurations, why := r.list(ctx, admissionregistration, resource, "")
		if why != "" {
			return unknowns(why, fingerprint.Webhooks)
		}
		for i := range configurations {
			hooks, _, _ := unstructured.NestedSlice(configurations[i].Object, "webhooks")
			for _, each := range hooks {
				hook, ok := each.(map[string]any)
				if !ok {
					continue
				}
				name, _ := hook["name"].(string)
				delete(hook, "name")
				trust(hook)
				found[named(prefix, configurations[i].GetName(), name)] = value(hook)
			}
		}
	}
	return dimensions{fingerprint.Webhooks: items(found)}
}

// trust drops from a webhook how its server is trusted, and what an address may
// hold of secrets.
func trust(hook map[string]any) {
	client, ok := hook["clientConfig"].(map[string]any)
	if !ok {
		return
	}
	delete(client, "caBundle")
	if address, ok := client["url"].(string); ok {
		client["url"] = "an address that can't be read"
		if u, err := url.Parse(address); err == nil {
			u.User, u.RawQuery = nil, ""
			client["url"] = u.String()
		}
	}
}

// policies reads admission policies and their bindings. kfdev's own is part of
// the stack: what it locks differs with the profiles.
func policies(ctx context.Context, r *reader) dimensions {
	found := map[string]fingerprint.Value{}
	for prefix, resource := range map[string]string{
		"validating": "validatingadmissionpolicies", "validating-binding": "validatingadmissionpolicybindings",
		"mutating": "mutatingadmissionpolicies", "mutating-binding": "mutatingadmissionpolicybindings",
	} {
		all, why := r.list(ctx, admissionregistration, resource, "")
		if why != "" {
			return unknowns(why, fingerprint.Policies)
		}
		for i := range all {
			if all[i].GetName() != policy.Name {
				found[named(prefix, all[i].GetName())] = value(fields(&all[i]))
			}
		}
	}
	return dimensions{fingerprint.Policies: items(found)}
}
