package kube

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/internal/fault"
)

// Token is a bearer token of the cluster.
type Token struct {
	Value   string
	Expires time.Time
}

// Token has the API server issue a token of a service account, which holds
// about as long as life says; the server may make it shorter. Nothing is
// stored.
func (c *Client) Token(ctx context.Context, namespace, serviceAccount string, life time.Duration) (Token, error) {
	clients, err := kubernetes.NewForConfigAndClient(c.Config, c.http)
	if err != nil {
		return Token{}, fmt.Errorf("reaching the API server: %w", err)
	}
	seconds := int64(life.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	got, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, serviceAccount, request, metav1.CreateOptions{})
	if err != nil {
		return Token{}, &fault.Error{Op: "asking for a token of the service account", Subject: namespace + "/" + serviceAccount, Err: err}
	}
	return Token{Value: got.Status.Token, Expires: got.Status.ExpirationTimestamp.Time}, nil
}
