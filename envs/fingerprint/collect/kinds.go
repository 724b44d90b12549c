package collect

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/fingerprint"
)

const apiextensions = "apiextensions.k8s.io"

// kinds reads the definitions of custom resources, and versions that are left in
// storage. A definition of the release counts as it stands to the release's own
// text, so that two environments with different releases differ where one was
// changed, and not here for what the releases themselves say.
func kinds(ctx context.Context, r *reader) dimensions {
	live, why := r.list(ctx, apiextensions, "customresourcedefinitions", "")
	if why != "" {
		return unknowns(why, fingerprint.CRDs, fingerprint.StoredVersions)
	}
	released := map[string]string{}
	for _, o := range r.options.Release {
		if o.GetKind() == "CustomResourceDefinition" {
			released[o.GetName()] = digestOf(definition(o))
		}
	}
	found, left := map[string]fingerprint.Value{}, map[string]fingerprint.Value{}
	for i := range live {
		o := &live[i]
		digest := digestOf(definition(o))
		switch want, ok := released[o.GetName()]; {
		case !ok:
			found[o.GetName()] = value(digest)
		case want == digest:
			found[o.GetName()] = value("as in the release")
		default:
			found[o.GetName()] = value("not as in the release: " + digest)
		}
		if versions := leftOver(o); len(versions) > 0 {
			left[o.GetName()] = fingerprint.Set(versions...)
		}
	}
	return dimensions{fingerprint.CRDs: items(found), fingerprint.StoredVersions: items(left)}
}

// definition returns what a definition says about objects, in one form for a
// file and for what the server made of it. Left out are what only people see
// (columns, descriptions, categories) and the caBundle.
func definition(o *unstructured.Unstructured) map[string]any {
	scope, _, _ := unstructured.NestedString(o.Object, "spec", "scope")
	strategy, _, _ := unstructured.NestedString(o.Object, "spec", "conversion", "strategy")
	if strategy == "None" {
		strategy = ""
	}
	out := map[string]any{"scope": scope, "conversion": strategy}
	versions, _, _ := unstructured.NestedSlice(o.Object, "spec", "versions")
	for _, each := range versions {
		version, ok := each.(map[string]any)
		if !ok {
			continue
		}
		name, _ := version["name"].(string)
		text, _, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
		served, _ := version["served"].(bool)
		storage, _ := version["storage"].(bool)
		out["version "+name] = map[string]any{
			"served": served, "storage": storage, "schema": node(text), "subresources": subresources(version), "selectableFields": version["selectableFields"],
		}
	}
	return out
}

func subresources(version map[string]any) map[string]any {
	out := map[string]any{}
	if _, ok, _ := unstructured.NestedFieldNoCopy(version, "subresources", "status"); ok {
		out["status"] = true
	}
	if scale, ok, _ := unstructured.NestedMap(version, "subresources", "scale"); ok {
		out["scale"] = scale
	}
	return out
}

// node returns one schema in its canonical form: the server drops what is empty
// and what is false by default, but neither values of the user's (default,
// enum) nor the names of properties.
func node(schema map[string]any) map[string]any {
	out := map[string]any{}
	for key, v := range schema {
		switch key {
		case "description", "title", "example", "externalDocs", "$schema", "id":
			continue
		case "default", "enum":
			out[key] = v
			continue
		case "nullable", "exclusiveMinimum", "exclusiveMaximum", "uniqueItems", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string":
			if v == false {
				continue
			}
		case "properties", "patternProperties", "definitions", "dependencies":
			named := map[string]any{}
			if all, ok := v.(map[string]any); ok {
				for name, each := range all {
					named[name] = schemaOf(each)
				}
			}
			if len(named) > 0 {
				out[key] = named
			}
			continue
		case "required": // a set
			if all, ok := v.([]any); ok {
				v = sorted(all)
			}
		}
		switch v := v.(type) {
		case nil:
		case string:
			if v != "" {
				out[key] = v
			}
		case []any:
			if len(v) > 0 {
				out[key] = schemas(v)
			}
		default:
			out[key] = schemaOf(v)
		}
	}
	return out
}

func schemaOf(v any) any {
	if m, ok := v.(map[string]any); ok {
		return node(m)
	}
	return v
}

func schemas(list []any) []any {
	out := make([]any, 0, len(list))
	for _, each := range list {
		out = append(out, schemaOf(each))
	}
	return out
}

func sorted(list []any) []any {
	texts := make([]string, 0, len(list))
	for _, each := range list {
		text, ok := each.(string)
		if !ok {
			return list
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	out := make([]any, 0, len(texts))
	for _, text := range texts {
		out = append(out, text)
	}
	return out
}

// leftOver returns the versions that objects may still be stored in beside the
// one that is stored now.
func leftOver(o *unstructured.Unstructured) []string {
	stored, _, _ := unstructured.NestedStringSlice(o.Object, "status", "storedVersions")
	versions, _, _ := unstructured.NestedSlice(o.Object, "spec", "versions")
	var out []string
	for _, name := range stored {
		now := slices.ContainsFunc(versions, func(each any) bool {
			version, _ := each.(map[string]any)
			return version["name"] == name && version["storage"] == true
		})
		if !now {
			out = append(out, name)
		}
	}
	return out
}
