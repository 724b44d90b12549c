package profiles

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Decode reads the objects of a file (YAML documents, or JSON) that are to be
// in a profile's namespace. What names another namespace, or belongs to none,
// is an error that says which document it is.
func Decode(data []byte, namespace string) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), len(data)+1)
	var objects []*unstructured.Unstructured
	var problems []error
	for n := 1; ; n++ {
		var text json.RawMessage
		err := decoder.Decode(&text)
		if errors.Is(err, io.EOF) {
			return objects, errors.Join(problems...)
		}
		var fields map[string]any
		if err == nil && len(text) > 0 {
			err = utiljson.Unmarshal(text, &fields) // with whole numbers as such
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		if len(fields) == 0 {
			continue
		}
		o := &unstructured.Unstructured{Object: fields}
		if err := place(o, namespace); err != nil {
			problems = append(problems, fmt.Errorf("document %d: %w", n, err))
			continue
		}
		objects = append(objects, o)
	}
}

// place puts an object into the namespace.
func place(o *unstructured.Unstructured, namespace string) error {
	metadata, isMap := o.Object["metadata"].(map[string]any)
	name, isText := metadata["name"].(string)
	if o.GetAPIVersion() == "" || o.GetKind() == "" || !isMap || !isText || name == "" {
		return errors.New("an object needs apiVersion, kind and metadata.name")
	}
	if in, ok := metadata["namespace"]; ok && in != namespace {
		return fmt.Errorf("%s %s is in the namespace %v: a profile's objects are in its own, %s", o.GetKind(), name, in, namespace)
	}
	if clusterWide(o) {
		return fmt.Errorf("%s %s is in no namespace: make it part of a component, with stack.components.NAME.folder", o.GetKind(), name)
	}
	if o.GetKind() == "Secret" && o.GetAPIVersion() == "v1" {
		return fmt.Errorf("the Secret %s: a Secret's values never stand in a project; name one that is there", name)
	}
	o.SetNamespace(namespace)
	return nil
}

// clusterWide reports whether a kind is known to be in no namespace. Of others
// the cluster says it.
func clusterWide(o *unstructured.Unstructured) bool {
	switch o.GroupVersionKind().Group {
	case "":
		return o.GetKind() == "Namespace" || o.GetKind() == "Node" || o.GetKind() == "PersistentVolume"
	case "rbac.authorization.k8s.io":
		return o.GetKind() == "ClusterRole" || o.GetKind() == "ClusterRoleBinding"
	case Group:
		return o.GetKind() == "Profile"
	case "storage.k8s.io":
		return o.GetKind() == "StorageClass"
	case "apiextensions.k8s.io", "admissionregistration.k8s.io", "apiregistration.k8s.io", "scheduling.k8s.io":
		return true
	}
	return false
}
