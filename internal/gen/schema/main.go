// Command schema writes the JSON Schema of kfdev.yaml from the Go types that
// read it: names and whether they are required from the yaml tags, limits from
// the jsonschema tags, descriptions from the comments. Run it at the root of
// the repository: go run ./internal/gen/schema.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"

	"github.com/invopop/jsonschema"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/profiles"
	"github.com/kfdev/kfdev/schema"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	data, err := generate()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("schema", schema.FileName), data, 0o644)
}

// generate returns the schema. The sources are looked for below the working folder.
func generate() ([]byte, error) {
	r := jsonschema.Reflector{FieldNameTag: "yaml", Mapper: mapper}
	for _, dir := range []string{"./envs/project", "./envs/difference", "./envs/fingerprint", "./profiles"} {
		if err := r.AddGoComments("github.com/kfdev/kfdev", dir, jsonschema.WithFullComment()); err != nil {
			return nil, fmt.Errorf("reading the comments: %w", err)
		}
	}
	s := r.Reflect(&project.Project{})
	s.ID = "https://kfdev.dev/schemas/project.v1alpha1.json"
	s.Title = "kfdev project"
	// Types that the reflector does not reach: those of an inlined map.
	maps.Copy(s.Definitions, r.Reflect(&project.Environment{}).Definitions)
	s.Definitions["Environments"].AdditionalProperties = &jsonschema.Schema{Ref: "#/$defs/Environment"}
	for _, def := range s.Definitions {
		allowNull(def)
	}
	shortForm(s.Definitions["Environment"], "registry")
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// mapper gives the types whose form is not that of their Go type.
func mapper(t reflect.Type) *jsonschema.Schema {
	text := &jsonschema.Schema{Type: "string", MinLength: at(1)}
	switch t {
	case reflect.TypeFor[project.Value]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
	case reflect.TypeFor[project.Target]():
		one := &jsonschema.Schema{Type: "object", AdditionalProperties: text, MinProperties: at(1), MaxProperties: at(1)}
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{text, one}}
	case reflect.TypeFor[project.Command]():
		words := &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}, MinItems: at(1)}
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{text, words}}
	case reflect.TypeFor[fieldpath.Path]():
		return text
	case reflect.TypeFor[difference.Date]():
		return &jsonschema.Schema{Type: "string", Pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
	case reflect.TypeFor[difference.Bound](), reflect.TypeFor[profiles.Quantity]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "number"}, text}}
	case reflect.TypeFor[project.MaxDelete]():
		count := &jsonschema.Schema{Type: "integer", Minimum: "1"}
		words := &jsonschema.Schema{Type: "string", Pattern: "^([1-9][0-9]*|([1-9][0-9]?|100)%|off)$"}
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{count, words}}
	case reflect.TypeFor[project.MaxFile]():
		count := &jsonschema.Schema{Type: "integer", Minimum: "1"}
		words := &jsonschema.Schema{Type: "string", Pattern: "^([1-9][0-9]*(Ki|Mi|Gi|Ti)?|off)$"}
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{count, words}}
	}
	return nil
}

func at(n uint64) *uint64 { return &n }

// shortForm lets a property that is a mapping be one text, too.
func shortForm(def *jsonschema.Schema, name string) {
	property, _ := def.Properties.Get(name)
	property.OneOf = append(property.OneOf, &jsonschema.Schema{Type: "string", MinLength: at(1)})
}

// allowNull lets every key that may be left out have no value too, as the
// decoder does: a key whose children are all commented out is no error.
func allowNull(def *jsonschema.Schema) {
	required := map[string]bool{}
	for _, name := range def.Required {
		required[name] = true
	}
	for pair := def.Properties.Oldest(); pair != nil; pair = pair.Next() {
		if items := pair.Value.AdditionalProperties; items != nil && len(items.OneOf) == 0 {
			pair.Value.AdditionalProperties = orNull(items)
		}
		if !required[pair.Key] && !anything(pair.Value) {
			pair.Value = orNull(pair.Value)
		}
	}
}

// anything reports whether a schema takes any value, null too.
func anything(s *jsonschema.Schema) bool {
	bare := *s
	bare.Description = ""
	return reflect.DeepEqual(bare, jsonschema.Schema{})
}

func orNull(s *jsonschema.Schema) *jsonschema.Schema {
	inner := *s
	inner.Description = ""
	return &jsonschema.Schema{Description: s.Description, OneOf: []*jsonschema.Schema{&inner, {Type: "null"}}}
}
