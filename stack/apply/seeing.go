package apply

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/stack/noise"
)

func isSecret(o Object) bool { return o.Kind == "Secret" && o.APIVersion == "v1" }

// ready returns s with noise that is known, where the caller gave none.
func (s Seeing) ready() Seeing {
	if s.Noise == nil {
		s.Noise = noise.Plans()
	}
	return s
}

// hash returns the hash of an object without noise; of a Secret, a keyed one.
func (s Seeing) hash(o *unstructured.Unstructured) (string, error) {
	stripped := s.Noise.Strip(o)
	if !isSecret(ObjectOf(o)) {
		return noise.Hash(stripped), nil
	}
	if len(s.SecretKey) == 0 {
		return "", errors.New("a Secret is compared by keyed hashes, and there is no key")
	}
	data, err := json.Marshal(stripped.Object)
	return s.keyed(data), err
}

// tell returns what a proposal says for an object: its hash, or of a Secret
// nothing, where there is no key and need be none.
func (s Seeing) tell(o *unstructured.Unstructured) (string, error) {
	if s.Keyless && len(s.SecretKey) == 0 && isSecret(ObjectOf(o)) {
		return "", nil
	}
	return s.hash(o)
}

func (s Seeing) keyed(data []byte) string {
	h := hmac.New(sha256.New, s.SecretKey)
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// changes compares two objects field by field. With wantedOnly, what only the
// first has is no change: the second is what is sent, not what it would become.
func (s Seeing) changes(from, to *unstructured.Unstructured, wantedOnly bool) []FieldChange {
	d := &differ{lists: listsOf(from, to), wantedOnly: wantedOnly}
	if isSecret(ObjectOf(to)) {
		d.show = s.veil
	}
	d.walk(nil, s.Noise.Strip(from).Object, s.Noise.Strip(to).Object)
	return d.out
}

// veil hides what is or may hold a Secret's values: all but its type and labels.
func (s Seeing) veil(at trail, value any) any {
	path := at.String()
	if value == nil || path == "type" || strings.HasPrefix(path, "metadata/labels") {
		return value
	}
	if len(s.SecretKey) == 0 {
		return "a value that is not shown"
	}
	data, err := json.Marshal(value)
	if err != nil {
		return "?"
	}
	// The path goes in, so that equal values at two places do not show as such.
	return "hmac-sha256:" + s.keyed(slices.Concat([]byte(path+"\x00"), data))
}
