// Package kube is the narrow client that kfdev uses of a Kubernetes cluster:
// objects without types, what the server serves, logs, commands in a container,
// and connections to a Service's pod. It knows nothing of stacks or projects.
package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kfdev/kfdev/internal/fault"
)

// Client speaks to one cluster. It is safe for concurrent use.
type Client struct {
	Config   *rest.Config
	Dynamic  dynamic.Interface
	Metadata metadata.Interface
	Mapper   *Mapper

	http    *http.Client
	objects rest.Interface
}

// Load reads the connection of a context out of kubeconfig files: those of the
// given path or, where it is empty, of the user ($KUBECONFIG, ~/.kube/config).
// A context that is not there is a fault of kind NotFound.
func Load(path, name string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	rules.WarnIfAllMissing = false
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: name})
	raw, err := loader.RawConfig()
	if err == nil && raw.Contexts[name] == nil && name != "" {
		return nil, &fault.Error{Op: "reading the kubeconfig", Subject: name, Kind: fault.NotFound, Err: errors.New("there is no such context")}
	}
	var config *rest.Config
	if err == nil {
		config, err = loader.ClientConfig()
	}
	if errors.Is(err, os.ErrNotExist) || clientcmd.IsEmptyConfig(err) {
		return nil, &fault.Error{Op: "reading the kubeconfig", Subject: path, Kind: fault.NotFound, Err: err}
	}
	if err != nil {
		return nil, &fault.Error{Op: "reading the kubeconfig", Subject: path, Err: err}
	}
	return config, nil
}

// Connect makes a client. It sends nothing yet.
func Connect(config *rest.Config) (*Client, error) {
	config = rest.CopyConfig(config)
	// The server has fairness of its own; a limit here only makes kfdev slow.
	config.QPS = -1
	config.UserAgent = "kfdev"
	config.WarningHandler = rest.NoWarnings{}
	fail := func(err error) (*Client, error) {
		return nil, &fault.Error{Op: "connecting to the cluster", Subject: config.Host, Err: err}
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fail(err)
	}
	objects, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return fail(err)
	}
	// Metadata travels as JSON: the raw bytes of managedFields are compared.
	jsonConfig := rest.CopyConfig(config)
	jsonConfig.ContentType, jsonConfig.AcceptContentTypes = "application/json", "application/json"
	meta, err := metadata.NewForConfigAndClient(metadata.ConfigFor(jsonConfig), client)
	if err != nil {
		return fail(err)
	}
	// Paths are given whole, and bodies are taken as they come.
	rawConfig := rest.CopyConfig(jsonConfig)
	rawConfig.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	raw, err := rest.UnversionedRESTClientForConfigAndClient(rawConfig, client)
	if err != nil {
		return fail(err)
	}
	c := &Client{Config: config, Dynamic: objects, Metadata: meta, http: client, objects: raw}
	c.Mapper = NewMapper(c.discover)
	return c, nil
}

// Close drops the client's idle connections. (http.Client's own method stops at
// the first of client-go's wrappers.)
func (c *Client) Close() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// url returns the address of a path of the API server.
func (c *Client) url(path string) string {
	base, _, err := rest.DefaultServerUrlFor(c.Config)
	if err != nil { // Connect made clients of the same configuration
		return path
	}
	return strings.TrimSuffix(base.String(), "/") + path
}

// get reads a path. The caller closes the response's body.
func (c *Client) get(ctx context.Context, path, accept string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(path), nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	err = &apierrors.StatusError{ErrStatus: statusOf(response)}
	return nil, errors.Join(err, response.Body.Close())
}

// Healthy asks the API server whether it is ready to serve.
func (c *Client) Healthy(ctx context.Context) error {
	response, err := c.get(ctx, "/readyz", "")
	if err != nil {
		return fmt.Errorf("the API server at %s is not ready: %w", c.Config.Host, err)
	}
	return response.Body.Close()
}
