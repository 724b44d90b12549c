package lock

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
)

// Validate reports everything that makes the lock no closure.
func (l Lock) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if l.Origin != images.FromRegistry && l.Origin != images.FromSource {
		wrong("the origin %q is not known", l.Origin)
	}
	if len(l.Platforms) == 0 {
		wrong("no platform is locked")
	}
	repeated(wrong, "platform", l.Platforms, func(p string) string { return p })
	repeated(wrong, "image", l.Images, Image.name)
	repeated(wrong, "recipe", l.Recipes, func(r Recipe) string { return r.Name })
	repeated(wrong, "component", l.Components, func(c Component) string { return c.Name })
	for _, i := range l.Images {
		l.validateImage(wrong, i, l.Platforms)
	}
	l.validateNode(wrong)
	for _, c := range l.Components {
		if c.Source == (v1.Hash{}) || c.Rendered == (v1.Hash{}) {
			wrong("component %s has no hash", c.Name)
		}
		for _, repository := range c.Images {
			if _, ok := l.Image(repository); !ok {
				wrong("component %s runs %s, which is not among the images", c.Name, repository)
			}
		}
	}
	for _, r := range l.Recipes {
		validateRecipe(wrong, r)
	}
	if text, found := control(reflect.ValueOf(l)); found {
		wrong("%q holds a control character", text)
	}
	return errors.Join(errs...)
}

// control looks for a text that is not one printable line. None that a lock
// can honestly hold is, and YAML has corners where such texts do not survive.
func control(v reflect.Value) (string, bool) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if text, found := control(v.Field(i)); found {
				return text, true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if text, found := control(v.Index(i)); found {
				return text, true
			}
		}
	case reflect.String:
		bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
		return v.String(), strings.ContainsFunc(v.String(), bad)
	default:
	}
	return "", false
}

func repeated[T any](wrong func(string, ...any), what string, all []T, name func(T) string) {
	seen := map[string]bool{}
	for _, each := range all {
		n := name(each)
		if n == "" {
			wrong("a %s has no name", what)
		}
		if seen[n] {
			wrong("%s %s comes twice", what, n)
		}
		seen[n] = true
	}
}

func (l Lock) validateNode(wrong func(string, ...any)) {
	// The node runs on this machine alone, so it has one platform.
	l.validateImage(wrong, l.Node.Image, nil)
	if l.Node.Config == (v1.Hash{}) || len(l.Node.DiffIDs) == 0 {
		wrong("the node image has no config digest or no layers")
	}
	repeated(wrong, "image held by the node", l.Node.Holds, func(h Held) string { return h.Name })
	for _, h := range l.Node.Holds {
		if h.Digest == (v1.Hash{}) || h.Config == (v1.Hash{}) {
			wrong("%s, held by the node, has no digest of its manifest or configuration", h.Name)
		}
		if _, ok := l.Recipe(h.Recipe); h.Recipe != "" && !ok {
			wrong("%s, held by the node, is built from recipe %s, which is not among the recipes", h.Name, h.Recipe)
		}
	}
}

func (l Lock) validateImage(wrong func(string, ...any), i Image, platforms []string) {
	if i.Repository == "" || i.Digest == (v1.Hash{}) || i.MediaType == "" || i.Size <= 0 {
		wrong("image %q lacks its repository, digest, media type or size", i.Repository)
	}
	switch i.Origin {
	case images.FromSource:
		if _, ok := l.Recipe(i.Recipe); !ok {
			wrong("image %s is built from recipe %q, which is not among the recipes", i.Repository, i.Recipe)
		}
		if !strings.HasPrefix(i.Repository, images.SourceHost+"/") {
			wrong("image %s is built from source, but has a published image's name", i.Repository)
		}
	case images.FromRegistry:
		if i.Recipe != "" || strings.HasPrefix(i.Repository, images.SourceHost+"/") {
			wrong("image %s is a registry's, but has a recipe or a source image's name", i.Repository)
		}
	case images.FromBake: // see validateBake
	default:
		wrong("image %s has the origin %q, which is not known", i.Repository, i.Origin)
	}
	validateBake(wrong, i)
	repeated(wrong, "platform of "+i.Repository, i.Platforms, func(c Child) string { return c.Platform })
	for _, p := range platforms {
		if !slices.ContainsFunc(i.Platforms, func(c Child) bool { return c.Platform == p }) {
			wrong("image %s has no child for %s", i.Repository, p)
		}
	}
	for _, c := range i.Platforms {
		if c.Digest == (v1.Hash{}) || c.Size <= 0 {
			wrong("image %s has no digest or size for %s", i.Repository, c.Platform)
		}
	}
}

// validateBake does not ask for the base to be in the lock: when the stack's
// image moves, what was baked stays what ran.
func validateBake(wrong func(string, ...any), i Image) {
	if i.Origin != images.FromBake {
		if i.Bake != (Bake{}) {
			wrong("image %s is not baked, but has what baked images have", i.Repository)
		}
		return
	}
	if !strings.HasPrefix(i.Repository, images.SourceHost+"/baked/") || i.Recipe != "" || i.StandsFor != "" {
		wrong("image %s is baked, but has another image's name, a recipe, or a published image that it stands for", i.Repository)
	}
	if _, err := images.ParseRef(i.Bake.Base); err != nil || i.Bake.Sync == "" || i.Bake.Folder == "" || i.Bake.Layer == (v1.Hash{}) {
		wrong("baked image %s lacks the image it is made of, its entry, its folder or its layer", i.Repository)
	}
}

func validateRecipe(wrong func(string, ...any), r Recipe) {
	if r.Digest == (v1.Hash{}) {
		wrong("recipe %s has no digest", r.Name)
	}
	for _, layer := range r.Layers {
		for _, in := range layer {
			// A toolchain is exact by its version alone.
			if in.Kind == "" || in.Name == "" || (in.Hash == "" && (in.Kind != "toolchain" || in.Version == "")) {
				wrong("recipe %s has an input without kind, name or hash: %q %q", r.Name, in.Kind, in.Name)
			}
		}
	}
}
