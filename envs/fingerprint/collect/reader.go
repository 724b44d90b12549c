package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/internal/kube"
)

// pageSize is how many objects one answer holds.
const pageSize = 500

// reader asks one cluster.
type reader struct {
	client  *kube.Client
	rest    rest.Interface
	options Options

	groups []apidiscovery.APIGroupDiscovery
	served map[schema.GroupResource]string // the version that the server prefers
	why    string                          // it is not known what is served
}

// aggregated asks for all that a server serves in one answer (Kubernetes 1.30
// and later give v2).
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// discover asks what the server serves, with two requests.
func (r *reader) discover(ctx context.Context) {
	r.served = map[schema.GroupResource]string{}
	for _, path := range []string{"/api", "/apis"} {
		raw, err := r.rest.Get().AbsPath(path).SetHeader("Accept", aggregated).DoRaw(ctx)
		var list apidiscovery.APIGroupDiscoveryList
		if err == nil {
			err = json.Unmarshal(raw, &list)
		}
		if err == nil && list.Kind != "APIGroupDiscoveryList" {
			err = fmt.Errorf("it answers with %q", list.Kind)
		}
		if err != nil {
			r.why = reason(err, "ask what is served")
			return
		}
		r.groups = append(r.groups, list.Items...)
	}
	for _, group := range r.groups {
		for _, version := range group.Versions {
			for _, resource := range version.Resources {
				key := schema.GroupResource{Group: group.Name, Resource: resource.Resource}
				if _, ok := r.served[key]; !ok {
					r.served[key] = version.Version
				}
			}
		}
	}
}

// list returns the objects of a resource, in the version that the server
// prefers. why says why they can't be read; of what is not served there are
// none.
func (r *reader) list(ctx context.Context, group, resource, namespace string) (all []unstructured.Unstructured, why string) {
	if r.why != "" {
		return nil, r.why
	}
	key := schema.GroupResource{Group: group, Resource: resource}
	version, ok := r.served[key]
	if !ok {
		return nil, ""
	}
	var from dynamic.ResourceInterface = r.client.Dynamic.Resource(key.WithVersion(version))
	where := ""
	if namespace != "" {
		from = r.client.Dynamic.Resource(key.WithVersion(version)).Namespace(namespace)
		where = " in " + namespace
	}
	options := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := from.List(ctx, options)
		if err != nil {
			return nil, reason(err, "list "+key.String()+where)
		}
		all = append(all, list.Items...)
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return all, ""
		}
	}
}

// inEach returns the objects of a resource by namespace: with one request where
// that is allowed, else with one for each. Where one namespace can't be read,
// its reason stands in whys.
func (r *reader) inEach(ctx context.Context, group, resource string) (all map[string][]unstructured.Unstructured, whys map[string]string) {
	all, whys = map[string][]unstructured.Unstructured{}, map[string]string{}
	everywhere, why := r.list(ctx, group, resource, "")
	if why == "" {
		for _, o := range everywhere {
			all[o.GetNamespace()] = append(all[o.GetNamespace()], o)
		}
		return all, whys
	}
	for _, namespace := range r.options.Namespaces {
		if found, why := r.list(ctx, group, resource, namespace); why != "" {
			whys[namespace] = why
		} else {
			all[namespace] = found
		}
	}
	return all, whys
}

// maxReason bounds what is kept of a server's words.
const maxReason = 300

// reason says why something could not be done, for people.
func reason(err error, doing string) string {
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return "no rights to " + doing
	case apierrors.IsNotFound(err):
		return "the server has no way to " + doing
	}
	text := strings.ToValidUTF8(fmt.Sprintf("it failed to %s: %v", doing, err), "?")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + " …"
	}
	return text
}
