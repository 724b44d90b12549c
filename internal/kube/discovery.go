package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// aggregated asks for the whole list of what a server has in one answer; every
// Kubernetes since 1.27 gives it.
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," +
	"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"

// discover lists every kind that the server serves, with two requests.
func (c *Client) discover(ctx context.Context) ([]Mapping, error) {
	var all []Mapping
	for _, path := range []string{"/api", "/apis"} {
		list, err := c.groups(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("asking the API server what it serves: %w", err)
		}
		for _, group := range list.Items {
			for _, version := range group.Versions {
				all = append(all, mappings(group.Name, version)...)
			}
		}
	}
	return all, nil
}

func (c *Client) groups(ctx context.Context, path string) (list apidiscovery.APIGroupDiscoveryList, err error) {
	response, err := c.get(ctx, path, aggregated)
	if err != nil {
		return list, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	err = json.NewDecoder(response.Body).Decode(&list)
	if err == nil && list.Kind != "APIGroupDiscoveryList" {
		err = fmt.Errorf("%s answers with %s; Kubernetes 1.27 or later is needed", path, list.Kind)
	}
	return list, err
}

func mappings(group string, version apidiscovery.APIVersionDiscovery) []Mapping {
	var all []Mapping
	for _, r := range version.Resources {
		if r.ResponseKind == nil || r.ResponseKind.Kind == "" {
			continue
		}
		m := Mapping{
			Kind:       schema.GroupVersionKind{Group: group, Version: version.Version, Kind: r.ResponseKind.Kind},
			Resource:   schema.GroupVersionResource{Group: group, Version: version.Version, Resource: r.Resource},
			Namespaced: r.Scope == apidiscovery.ScopeNamespace,
			List:       slices.Contains(r.Verbs, "list"),
		}
		for _, sub := range r.Subresources {
			m.Status = m.Status || sub.Subresource == "status"
		}
		all = append(all, m)
	}
	return all
}

// statusOf reads the API server's own account of a failure, and makes one
// where the answer is not one.
func statusOf(response *http.Response) metav1.Status {
	body, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err == nil && status.Kind == "Status" {
		return status
	}
	return metav1.Status{Status: metav1.StatusFailure, Code: int32(response.StatusCode), Message: response.Status + ": " + string(body)}
}
