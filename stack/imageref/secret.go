package imageref

import (
	"encoding/base64"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// encoded reports whether path leads to a value of a Secret, which is kept in
// base64.
func encoded(o *unstructured.Unstructured, path []any) bool {
	return o.GetKind() == "Secret" && o.GroupVersionKind().Group == "" && len(path) == 2 && path[0] == "data"
}

// textAt returns the text that path leads to, a Secret's decoded; bytes that
// are no text are none.
func textAt(o *unstructured.Unstructured, path []any) (string, bool) {
	text, ok := get(o.Object, path)
	if !ok || !encoded(o, path) {
		return text, ok
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !utf8.Valid(raw) {
		return "", false
	}
	return string(raw), true
}

// setText is textAt's other way.
func setText(o *unstructured.Unstructured, path []any, text string) {
	if encoded(o, path) {
		text = base64.StdEncoding.EncodeToString([]byte(text))
	}
	set(o.Object, path, text)
}
