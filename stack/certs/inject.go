package certs

import (
	"encoding/base64"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Inject returns objects with the authority's certificate (PEM) in the caBundle
// of those that names (kind/name) name; these are copies, the others are not
// touched. A name that no object has, or whose object has no place for a
// caBundle, is an error.
func Inject(objects []*unstructured.Unstructured, names []string, authority []byte) ([]*unstructured.Unstructured, error) {
	out := slices.Clone(objects)
	bundle := base64.StdEncoding.EncodeToString(authority)
	for _, name := range names {
		i := slices.IndexFunc(out, func(o *unstructured.Unstructured) bool { return o.GetKind()+"/"+o.GetName() == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no %s to put the authority's certificate in", name)
		}
		out[i] = out[i].DeepCopy()
		if err := inject(out[i], bundle); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return out, nil
}

// Bundle returns the caBundle that an object has (PEM); nil where it has none.
func Bundle(o *unstructured.Unstructured) []byte {
	text, _, _ := unstructured.NestedString(o.Object, "spec", "caBundle")
	switch o.GetKind() {
	case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration":
		hooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
		if len(hooks) == 0 {
			return nil
		}
		if m, ok := hooks[0].(map[string]any); ok {
			text, _, _ = unstructured.NestedString(m, "clientConfig", "caBundle")
		}
	case "CustomResourceDefinition":
		text, _, _ = unstructured.NestedString(o.Object, "spec", "conversion", "webhook", "clientConfig", "caBundle")
	}
	bundle, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(bundle) == 0 {
		return nil
	}
	return bundle
}

func inject(o *unstructured.Unstructured, bundle string) error {
	switch o.GetKind() {
	case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration":
		hooks, _, err := unstructured.NestedSlice(o.Object, "webhooks")
		if err != nil {
			return err
		}
		for _, hook := range hooks {
			m, ok := hook.(map[string]any)
			if !ok {
				return fmt.Errorf("a webhook is not a mapping")
			}
			if err := unstructured.SetNestedField(m, bundle, "clientConfig", "caBundle"); err != nil {
				return err
			}
		}
		return unstructured.SetNestedSlice(o.Object, hooks, "webhooks")
	case "CustomResourceDefinition":
		if strategy, _, _ := unstructured.NestedString(o.Object, "spec", "conversion", "strategy"); strategy != "Webhook" {
			return fmt.Errorf("it has no conversion webhook")
		}
		return unstructured.SetNestedField(o.Object, bundle, "spec", "conversion", "webhook", "clientConfig", "caBundle")
	case "APIService":
		return unstructured.SetNestedField(o.Object, bundle, "spec", "caBundle")
	default:
		return fmt.Errorf("a %s has no caBundle", o.GetKind())
	}
}
