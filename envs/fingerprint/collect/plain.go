package collect

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/envs/fingerprint"
)

// plain turns a value of an object into one that a fingerprint holds: fractions
// as texts, and nothing where there is nothing.
func plain(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ToValidUTF8(v, "?")
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case int:
		return int64(v)
	case map[string]any:
		out := map[string]any{}
		for k, each := range v {
			if each = plain(each); each != nil {
				out[strings.ToValidUTF8(k, "?")] = each
			}
		}
		return out
	case []any:
		out := []any{}
		for _, each := range v {
			out = append(out, plain(each))
		}
		return out
	}
	return v
}

// fields returns what an object says beside its metadata, without keys.
func fields(o *unstructured.Unstructured, without ...string) map[string]any {
	out, _ := plain(o.Object).(map[string]any)
	for _, k := range append(without, "apiVersion", "kind", "metadata", "status") {
		delete(out, k)
	}
	return out
}

// digestOf returns a hash of a value in its canonical form.
func digestOf(v any) string {
	data, err := json.Marshal(plain(v)) // keys come sorted
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// named joins the parts of an item's name. A path of a difference takes
// letters, digits, dots, dashes and underscores.
func named(parts ...string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '-'
	}, strings.Join(parts, "."))
}

// value is one that is known.
func value(v any) fingerprint.Value { return fingerprint.Value{Is: plain(v)} }
