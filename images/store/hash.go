package store

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// sum is a hash that content is held against.
type sum struct {
	text      string // as it was written, the key of its record
	algorithm string
	want      string // raw bytes
	new       func() hash.Hash
}

// digest returns the sum as a digest where it is a sha256.
func (s sum) digest() (v1.Hash, bool) {
	if s.algorithm != "sha256" {
		return v1.Hash{}, false
	}
	return v1.Hash{Algorithm: s.algorithm, Hex: hex.EncodeToString([]byte(s.want))}, true
}

// parseSum reads the forms that recipe.Input.Hash has for content: algorithm:hex
// as registries write it, algorithm-base64 as npm does (W3C Subresource
// Integrity). Known are sha256, sha384 and sha512.
func parseSum(text string) (sum, error) {
	bad := func(why string) (sum, error) {
		return sum{}, fmt.Errorf("hash %q: %s", text, why)
	}
	cut := strings.IndexAny(text, ":-")
	if cut < 0 {
		return bad("neither algorithm:hex nor algorithm-base64")
	}
	s := sum{text: text, algorithm: text[:cut]}
	size := 0
	switch s.algorithm {
	case "sha256":
		s.new, size = sha256.New, sha256.Size
	case "sha384":
		s.new, size = sha512.New384, sha512.Size384
	case "sha512":
		s.new, size = sha512.New, sha512.Size
	default:
		return bad("the algorithm is not one of sha256, sha384, sha512")
	}
	decode, encoded := base64.StdEncoding.Strict().DecodeString, text[cut+1:]
	if text[cut] == ':' {
		if encoded != strings.ToLower(encoded) {
			return bad("hex is written in lower case")
		}
		decode = hex.DecodeString
	}
	raw, err := decode(encoded)
	if err != nil {
		return bad(err.Error())
	}
	if len(raw) != size {
		return bad(fmt.Sprintf("%s has %d bytes, not %d", s.algorithm, size, len(raw)))
	}
	s.want = string(raw)
	return s, nil
}
