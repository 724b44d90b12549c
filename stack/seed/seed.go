// Package seed puts in place what must be there before a component starts: its
// namespace, its serving certificates, and its Secrets of random values. What
// is there already is kept: certificates while they are good, values for ever.
package seed

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/certs"
)

// The keys of a certificate's Secret.
const (
	AuthorityFile    = "ca.crt"
	AuthorityKeyFile = "ca.key"
	ServingFile      = "tls.crt"
	ServingKeyFile   = "tls.key"
)

// manager is the field manager of what is put in place here.
const manager = "kfdev-seed"

// opaque is the type of a Secret that is of none in particular.
const opaque = "Opaque"

// ComponentLabel names the component that a Secret is for.
const ComponentLabel = "kfdev.dev/component"

// Seeder puts in place what components need in one cluster.
type Seeder struct {
	client *kube.Client
	now    func() time.Time
	fence  func(context.Context) error
}

// New returns a Seeder. Now is the time that certificates are judged by.
func New(client *kube.Client, now func() time.Time) *Seeder {
	return &Seeder{client: client, now: now}
}

// Fenced returns a Seeder that asks fence before every write, and writes
// nothing where that fails.
func (s *Seeder) Fenced(fence func(context.Context) error) *Seeder {
	fenced := *s
	fenced.fence = fence
	return &fenced
}

func (s *Seeder) permitted(ctx context.Context) error {
	if s.fence == nil {
		return nil
	}
	return s.fence(ctx)
}

// Result is what is, or would be, in place.
type Result struct {
	Changes apply.ChangeSet
	// Authorities holds, for each of the component's certificates, the
	// authority's certificate as PEM; nil for one that a plan would make.
	Authorities [][]byte
}

// Plan says what Ensure would do, and writes nothing.
func (s *Seeder) Plan(ctx context.Context, c stack.Component) (Result, error) {
	return s.all(ctx, c, false)
}

// Trusted is Plan with the authorities that the cluster trusts now in the place of
// those that a plan would make: what is there is to be that until it is renewed.
func (s *Seeder) Trusted(ctx context.Context, c stack.Component) (Result, error) {
	r, err := s.Plan(ctx, c)
	for i, certificate := range c.Certificates {
		if err == nil && r.Authorities[i] == nil {
			r.Authorities[i], err = s.published(ctx, certificate.Inject)
		}
	}
	return r, err
}

// Ensure puts everything in place and returns the authorities to be trusted.
func (s *Seeder) Ensure(ctx context.Context, c stack.Component) (Result, error) {
	return s.all(ctx, c, true)
}

func (s *Seeder) all(ctx context.Context, c stack.Component, write bool) (Result, error) {
	var r Result
	for _, certificate := range c.Certificates {
		authority, entry, err := s.certificate(ctx, c, certificate, write)
		if err != nil {
			return r, &fault.Error{Op: "issuing the certificate", Subject: entry.Object.String(), Err: err}
		}
		r.Changes, r.Authorities = append(r.Changes, entry), append(r.Authorities, authority)
	}
	for _, secret := range c.Secrets {
		entry, err := s.secret(ctx, c, secret, write)
		if err != nil {
			return r, &fault.Error{Op: "making the secret", Subject: entry.Object.String(), Err: err}
		}
		r.Changes = append(r.Changes, entry)
	}
	return r, nil
}

// Request returns what a certificate of a component is for.
func Request(c stack.Component, certificate stack.Certificate, now time.Time) certs.Request {
	r := certs.Request{Authority: certificate.Authority, Now: now}
	if r.Authority == "" {
		r.Authority = certificate.Secret + "-ca"
	}
	if certificate.Service != "" {
		base := certificate.Service + "." + namespace(certificate.Namespace, c)
		r.DNSNames = append(r.DNSNames, base+".svc", base+".svc.cluster.local", base, certificate.Service)
	}
	r.DNSNames = append(r.DNSNames, certificate.DNSNames...)
	return r
}

func (s *Seeder) certificate(ctx context.Context, c stack.Component, certificate stack.Certificate, write bool) ([]byte, apply.Entry, error) {
	object := secretObject(namespace(certificate.Namespace, c), certificate.Secret)
	entry := apply.Entry{Object: object, Change: apply.Unchanged}
	have, err := s.read(ctx, object)
	if !write && apierrors.IsForbidden(err) {
		authority, err := s.published(ctx, certificate.Inject)
		return authority, unread(entry), err
	}
	if err != nil {
		return nil, entry, err
	}
	old := certs.Pair{
		Authority: have.data[AuthorityFile], AuthorityKey: have.data[AuthorityKeyFile],
		Serving: have.data[ServingFile], ServingKey: have.data[ServingKeyFile],
	}
	request := Request(c, certificate, s.now())
	if certs.Check(old, request) == nil {
		return old.Authority, entry, nil
	}
	entry.Change = have.change()
	if !write {
		return nil, entry, nil
	}
	pair, err := certs.Renew(old, request)
	if err != nil {
		return nil, entry, err
	}
	return pair.Authority, entry, s.write(ctx, c.Name, opaque, object, have, map[string][]byte{
		AuthorityFile: pair.Authority, AuthorityKeyFile: pair.AuthorityKey,
		ServingFile: pair.Serving, ServingKeyFile: pair.ServingKey,
	})
}

// unread is what a plan says of a Secret that its maker may not read.
func unread(e apply.Entry) apply.Entry {
	e.Change, e.Reason = apply.Skipped, "it may not be read, and was not checked"
	return e
}

// published is the authority that the first of the objects trusts, for those
// who may not read Secrets: they compare the others with it, and not it with
// anything.
func (s *Seeder) published(ctx context.Context, inject []string) ([]byte, error) {
	groups := map[string]schema.GroupVersionResource{
		"ValidatingWebhookConfiguration": {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
		"MutatingWebhookConfiguration":   {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
		"CustomResourceDefinition":       {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
		"APIService":                     {Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
	}
	for _, each := range inject {
		kind, name, _ := strings.Cut(each, "/")
		resource, ok := groups[kind]
		if !ok {
			continue
		}
		o, err := s.client.Dynamic.Resource(resource).Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		if err == nil {
			if bundle := certs.Bundle(o); bundle != nil {
				return bundle, nil
			}
		}
	}
	return nil, nil
}

func (s *Seeder) secret(ctx context.Context, c stack.Component, secret stack.Secret, write bool) (apply.Entry, error) {
	object := secretObject(namespace(secret.Namespace, c), secret.Name)
	entry := apply.Entry{Object: object, Change: apply.Unchanged}
	have, err := s.read(ctx, object)
	if !write && apierrors.IsForbidden(err) {
		return unread(entry), nil
	}
	if err != nil {
		return entry, err
	}
	missing := map[string][]byte{}
	for _, key := range secret.Keys {
		if len(have.data[key.Name]) > 0 {
			continue
		}
		missing[key.Name] = []byte(key.Value)
		if key.Value == "" {
			if missing[key.Name], err = random(key.Bytes); err != nil {
				return entry, err
			}
		}
	}
	if len(missing) == 0 {
		return entry, nil
	}
	entry.Change = have.change()
	if !write {
		return entry, nil
	}
	return entry, s.write(ctx, c.Name, opaque, object, have, missing)
}

func random(bytes int) ([]byte, error) {
	raw := make([]byte, bytes)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	return []byte(hex.EncodeToString(raw)), nil
}

// existing is a Secret as it is.
type existing struct {
	found     bool
	uid       types.UID
	version   string
	kind      string // its type
	component string // that it is for; empty where kfdev did not make it
	data      map[string][]byte
}

func (e existing) change() apply.Change {
	if e.found {
		return apply.Configured
	}
	return apply.Created
}

func (s *Seeder) secrets(namespace string) dynamic.ResourceInterface {
	return s.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(namespace)
}

func (s *Seeder) read(ctx context.Context, object apply.Object) (existing, error) {
	found, err := s.secrets(object.Namespace).Get(ctx, object.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return existing{}, nil
	}
	if err != nil {
		return existing{}, err
	}
	e := existing{found: true, uid: found.GetUID(), version: found.GetResourceVersion(), component: found.GetLabels()[ComponentLabel], data: map[string][]byte{}}
	e.kind, _, _ = unstructured.NestedString(found.Object, "type")
	texts, _, err := unstructured.NestedStringMap(found.Object, "data")
	if err != nil {
		return existing{}, err
	}
	for key, text := range texts {
		if e.data[key], err = base64.StdEncoding.DecodeString(text); err != nil {
			return existing{}, fmt.Errorf("the key %s: %w", key, err)
		}
	}
	return e, nil
}

// write puts data into the Secret, which must still be as it was read; a key
// whose data is nil goes. Kind is the Secret's type where it is made.
func (s *Seeder) write(ctx context.Context, component, kind string, object apply.Object, have existing, data map[string][]byte) error {
	if err := s.permitted(ctx); err != nil {
		return err
	}
	texts := map[string]any{}
	for key, value := range data {
		if texts[key] = nil; value != nil {
			texts[key] = base64.StdEncoding.EncodeToString(value)
		}
	}
	metadata := map[string]any{"labels": map[string]any{"app.kubernetes.io/managed-by": "kfdev", ComponentLabel: component}}
	content := map[string]any{"metadata": metadata, "data": texts}
	if have.found {
		metadata["resourceVersion"] = have.version
		patch, err := json.Marshal(content)
		if err != nil {
			return err
		}
		_, err = s.secrets(object.Namespace).Patch(ctx, object.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
		return err
	}
	if err := s.ensureNamespace(ctx, object.Namespace); err != nil {
		return err
	}
	metadata["name"], metadata["namespace"] = object.Name, object.Namespace
	content["apiVersion"], content["kind"], content["type"] = "v1", "Secret", kind
	_, err := s.secrets(object.Namespace).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{FieldManager: manager})
	return err
}

func (s *Seeder) ensureNamespace(ctx context.Context, name string) error {
	namespaces := s.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	_, err := namespaces.Get(ctx, name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = namespaces.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/managed-by": "kfdev"}},
	}}, metav1.CreateOptions{FieldManager: manager})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// Read returns one value of a Secret: a login that a person is to be shown. One
// that is not there is a fault of kind NotFound.
func (s *Seeder) Read(ctx context.Context, namespace, name, key string) (string, error) {
	have, err := s.read(ctx, secretObject(namespace, name))
	if err == nil && len(have.data[key]) == 0 {
		err = &fault.Error{Kind: fault.NotFound, Err: errors.New("it has no key " + key)}
	}
	if err != nil {
		return "", &fault.Error{Op: "reading the secret", Subject: namespace + "/" + name, Err: err}
	}
	return string(have.data[key]), nil
}

func namespace(own string, c stack.Component) string {
	if own != "" {
		return own
	}
	return c.Namespace
}

func secretObject(namespace, name string) apply.Object {
	return apply.Object{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: name}
}
