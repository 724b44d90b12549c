// Package strictyaml decodes YAML that people write: an unknown key, a key
// twice, a value of another type are problems, all of them are reported at
// once, and each says where it is and what would be right.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// Formed is a type that may be written in several forms: as a text or as a
// list, say. Its UnmarshalYAML decodes the nodes of those kinds.
type Formed interface {
	yaml.Unmarshaler
	// Forms says for each kind of node what it is held against; none of the
	// types may be Formed by the same kind again.
	Forms() map[yaml.Kind]reflect.Type
}

// maxNodes bounds what aliases may blow a small file up to.
const maxNodes = 200_000

// Decode reads the one YAML document in data into the struct that into points
// to, by the yaml tags of its fields. The document is returned also where there
// are problems, with what could be read, and is nil only where the text is not
// YAML.
func Decode(file string, data []byte, into any) (*Document, Problems) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, Problems{{File: file, Text: "is empty"}}
		}
		return nil, Problems{syntax(file, err)}
	}
	doc := &Document{file: file, root: root.Content[0]}
	var extra yaml.Node
	if err := decoder.Decode(&extra); err == nil {
		return doc, Problems{doc.problem(&extra, "a second document; only one is taken")}
	} else if !errors.Is(err, io.EOF) {
		return doc, Problems{syntax(file, err)}
	}
	w := walker{doc: doc}
	w.walk(doc.root, reflect.TypeOf(into).Elem(), "")
	if len(w.problems) > 0 {
		// What is right is read all the same, so that the caller's own checks
		// find the rest of what is wrong; this one's error says nothing new.
		_ = doc.root.Decode(into)
		return doc, w.problems
	}
	if err := doc.root.Decode(into); err != nil {
		return doc, Problems{{File: file, Text: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	return doc, nil
}

// syntax turns yaml's own error, which names only a line, into a problem.
func syntax(file string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{File: file, Text: text}
	if n, _ := fmt.Sscanf(text, "line %d:", &p.Line); n == 1 {
		p.Column = 1
		_, p.Text, _ = strings.Cut(text, ": ")
	}
	return p
}
