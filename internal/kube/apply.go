package kube

import (
	"context"
	"net/http"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Apply is one server-side apply.
type Apply struct {
	Mapping   Mapping
	Namespace string // empty for kinds without namespaces
	Name      string
	Manager   string
	Content   []byte // JSON
	Force     bool   // takes fields from other managers
	DryRun    bool
}

// Apply sends a server-side apply, refusing fields that the kind does not have.
// It says whether the server made the object, which the object does not tell.
func (c *Client) Apply(ctx context.Context, a Apply) (o *unstructured.Unstructured, created bool, err error) {
	request := c.objects.Patch(types.ApplyPatchType).AbsPath(a.Mapping.path(a.Namespace, a.Name)).
		Param("fieldManager", a.Manager).Param("fieldValidation", "Strict").Body(a.Content)
	if a.Force {
		request = request.Param("force", "true")
	}
	if a.DryRun {
		request = request.Param("dryRun", "All")
	}
	var status int
	result := request.Do(ctx).StatusCode(&status)
	// Error, unlike Raw, reads the server's own account out of the answer.
	if err := result.Error(); err != nil {
		return nil, false, err
	}
	raw, err := result.Raw()
	if err != nil {
		return nil, false, err
	}
	o = &unstructured.Unstructured{}
	return o, status == http.StatusCreated, o.UnmarshalJSON(raw)
}

// path returns where the API server has an object.
func (m Mapping) path(namespace, name string) string {
	path := "/apis/" + m.Resource.Group + "/" + m.Resource.Version
	if m.Resource.Group == "" {
		path = "/api/" + m.Resource.Version
	}
	if namespace != "" {
		path += "/namespaces/" + namespace
	}
	return path + "/" + m.Resource.Resource + "/" + name
}
