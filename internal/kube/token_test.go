package kube

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestToken(t *testing.T) {
	t.Parallel()
	expires := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/namespaces/ns/serviceaccounts/server/token", func(w http.ResponseWriter, r *http.Request) {
		var asked authenticationv1.TokenRequest
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, &asked)
		}
		if err != nil || *asked.Spec.ExpirationSeconds != 3600 {
			http.Error(w, "not what was to be asked", http.StatusBadRequest)
			return
		}
		asked.Status = authenticationv1.TokenRequestStatus{Token: "a.b.c", ExpirationTimestamp: metav1.NewTime(expires)}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(asked)
	})
	client := connect(t, mux)
	got, err := client.Token(t.Context(), "ns", "server", time.Hour)
	require.NoError(t, err)
	require.Equal(t, "a.b.c", got.Value)
	require.True(t, expires.Equal(got.Expires))
	_, err = client.Token(t.Context(), "ns", "other", time.Hour)
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	require.ErrorContains(t, err, "ns/other")
}
