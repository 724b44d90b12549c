package kube

import (
	"context"
	"fmt"

	"k8s.io/client-go/kubernetes"
)

// Raw gets a path of the API server as it is: what has no kind, like a
// kubelet's statistics.
func (c *Client) Raw(ctx context.Context, path string) ([]byte, error) {
	clients, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	raw, err := clients.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", path, err)
	}
	return raw, nil
}
