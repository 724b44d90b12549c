package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// Identity is which cluster this is.
type Identity struct {
	// UID is that of kube-system: made with the cluster, and never again.
	UID string
	// Authority is the hash of the certificate that the server's was checked
	// against, sha256 in hexadecimal; empty where none was checked. The same
	// cluster may change it; that is worth a warning.
	Authority string
}

// Identify asks the cluster who it is.
func Identify(ctx context.Context, client *kube.Client) (Identity, error) {
	uid, err := clusterUID(ctx, client)
	if err != nil {
		return Identity{}, err
	}
	authority, err := authority(ctx, client.Config)
	if err != nil {
		return Identity{}, &fault.Error{Op: "asking which cluster this is", Subject: client.Config.Host, Err: err}
	}
	return Identity{UID: uid, Authority: authority}, nil
}

func clusterUID(ctx context.Context, client *kube.Client) (string, error) {
	system, err := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err == nil && system.GetUID() == "" {
		err = errors.New("it has no uid")
	}
	if err != nil {
		return "", &fault.Error{
			Op: "asking which cluster this is", Subject: client.Config.Host, Err: fmt.Errorf("the namespace %s: %w", metav1.NamespaceSystem, err),
			Hint: "the right to get namespaces is needed",
		}
	}
	return string(system.GetUID()), nil
}

// authority looks at the chain that a connection was checked by. A kubeconfig
// may hold several authorities, or none where the system's are used.
func authority(ctx context.Context, config *rest.Config) (string, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return "", err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base.String(), "/")+"/version", nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	if err := response.Body.Close(); err != nil {
		return "", err
	}
	if response.TLS == nil || len(response.TLS.VerifiedChains) == 0 {
		return "", nil
	}
	chain := response.TLS.VerifiedChains[0]
	sum := sha256.Sum256(chain[len(chain)-1].Raw)
	return hex.EncodeToString(sum[:]), nil
}
