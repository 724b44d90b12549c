package kube

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
)

// LogOptions says which part of a container's log is read.
type LogOptions struct {
	Container string // empty: the only one
	Tail      int    // at most so many last lines; 0: all
	Previous  bool   // of the container's life before this one
	Follow    bool   // until the container ends or the context does
}

// Logs opens the log of a pod's container. The caller closes it.
func (c *Client) Logs(ctx context.Context, namespace, pod string, o LogOptions) (io.ReadCloser, error) {
	query := url.Values{}
	if o.Container != "" {
		query.Set("container", o.Container)
	}
	if o.Tail > 0 {
		query.Set("tailLines", strconv.Itoa(o.Tail))
	}
	if o.Previous {
		query.Set("previous", "true")
	}
	if o.Follow {
		query.Set("follow", "true")
	}
	response, err := c.get(ctx, fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log?%s", url.PathEscape(namespace), url.PathEscape(pod), query.Encode()), "")
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s/%s: %w", namespace, pod, err)
	}
	return response.Body, nil
}
