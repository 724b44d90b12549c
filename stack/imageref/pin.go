package imageref

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// Pin replaces every image that Find finds by repository@digest, at exactly its
// place; what is around it, in a text too, stays byte for byte. Refs are by
// image as the objects write it, or by its full name
// ("docker.io/library/busybox:latest"). Where name and tag have a field each,
// the name's is replaced by the repository, and the digest goes behind the tag. An image that has none is an error that
// names every such image and place; nothing is changed then.
func Pin(objects []*unstructured.Unstructured, refs map[string]images.Ref, rules []Rule) error {
	places, err := find(objects, rules)
	if err != nil {
		return err
	}
	known := index(refs)
	byLeaf := map[string][]edit{}
	var leaves []string
	lost := map[string][]string{}
	for _, p := range places {
		ref, ok := known.lookup(p.image)
		if !ok {
			lost[p.image] = append(lost[p.image], p.reference(objects).String())
			continue
		}
		leaf := p.leaf()
		if _, ok := byLeaf[leaf]; !ok {
			leaves = append(leaves, leaf)
		}
		byLeaf[leaf] = append(byLeaf[leaf], edit{p, p.with(ref)})
	}
	if len(lost) > 0 {
		return &fault.Error{Op: "pinning images", Kind: fault.Drift, Err: explain(lost), Hint: "run `kfdev lock`"}
	}
	texts := make([]string, len(leaves))
	for i, leaf := range leaves {
		if texts[i], err = replace(objects, byLeaf[leaf]); err != nil {
			return &fault.Error{Op: "pinning images", Err: err}
		}
	}
	for i, leaf := range leaves {
		p := byLeaf[leaf][0].place
		setText(objects[p.object], p.path, texts[i])
	}
	return nil
}

// explain writes every image that has no digest, with all its places.
func explain(lost map[string][]string) error {
	var b strings.Builder
	b.WriteString("no digest is known for")
	for _, image := range sortedKeys(lost) {
		fmt.Fprintf(&b, "\n  %s", image)
		for _, where := range lost[image] {
			fmt.Fprintf(&b, "\n    at %s", where)
		}
	}
	return errors.New(b.String())
}

type edit struct {
	place
	with string
}

// replace returns the text of one leaf with all its edits, last first so that
// the places before stay where they are.
func replace(objects []*unstructured.Unstructured, edits []edit) (string, error) {
	first := edits[0]
	text, ok := textAt(objects[first.object], first.path)
	if !ok {
		return "", fmt.Errorf("%s: gone", first.reference(objects))
	}
	slices.SortFunc(edits, func(a, b edit) int { return b.start - a.start })
	for _, e := range edits {
		text = text[:e.start] + e.with + text[e.end:]
	}
	for _, e := range edits {
		if e.inText == nil {
			continue
		}
		spans, err := findInText(text, split(e.inText.Path))
		if err != nil {
			return "", fmt.Errorf("%s: the text with the digest in it cannot be read: %w", e.reference(objects), err)
		}
		if !slices.ContainsFunc(spans, func(s span) bool { return s.at == e.sub && s.value == e.with }) {
			return "", fmt.Errorf("%s: could not be replaced", e.reference(objects))
		}
	}
	return text, nil
}

// known maps images, as they are written and by full name, to digests.
type known struct {
	byName   map[string]images.Ref
	byDigest map[string]images.Ref
}

func index(refs map[string]images.Ref) known {
	k := known{byName: map[string]images.Ref{}, byDigest: map[string]images.Ref{}}
	for _, name := range sortedKeys(refs) {
		ref := refs[name]
		k.byName[fullName(name)] = ref
		k.byDigest[ref.String()] = ref
	}
	for name, ref := range refs { // as it is written wins over what is the same by full name
		k.byName[name] = ref
	}
	return k
}

// lookup returns what an image is to be replaced by. One that is pinned
// already must be pinned to a digest that is known.
func (k known) lookup(image string) (images.Ref, bool) {
	for _, name := range []string{image, fullName(image)} {
		if ref, ok := k.byName[name]; ok {
			return ref, true
		}
	}
	ref, ok := k.byDigest[image]
	return ref, ok
}

// fullName returns an image's name with its host and tag; what is no name is
// returned as it is.
func fullName(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.TagNameOnly(named).String()
}

func pinned(image string) bool {
	_, err := images.ParseRef(image)
	return err == nil
}
