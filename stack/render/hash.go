package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Hash returns the sha256 of the objects' JSON, in the order given, as
// "sha256:<hex>". It is the rendered hash of the lock once images are pinned.
func Hash(objects []*unstructured.Unstructured) (string, error) {
	h := sha256.New()
	for _, o := range objects {
		data, err := json.Marshal(o.Object) // keys in order
		if err != nil {
			return "", fmt.Errorf("%s: %w", Name(o), err)
		}
		part(h, data)
	}
	return sum(h), nil
}

// sourceHash hashes files by path, and the values.
func sourceHash(files map[string][]byte, values map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		part(h, []byte(name))
		part(h, files[name])
	}
	part(h, nil)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		part(h, []byte(name))
		part(h, []byte(values[name]))
	}
	return sum(h)
}

// part writes one part with its length before it, so that no two lists of
// parts hash alike.
func part(h hash.Hash, data []byte) {
	h.Write(fmt.Appendf(nil, "%d:", len(data)))
	h.Write(data)
}

func sum(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }
