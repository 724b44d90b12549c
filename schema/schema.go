// Package schema holds the JSON Schema of kfdev.yaml, for editors.
package schema

import _ "embed"

// FileName is the schema's file, in this folder. It is generated: go run
// ./internal/gen/schema.
const FileName = "project.v1alpha1.json"

//go:embed project.v1alpha1.json
var project []byte

// Project returns the JSON Schema (draft 2020-12) of a kfdev.yaml.
func Project() []byte { return append([]byte(nil), project...) }
