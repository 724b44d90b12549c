package imageref

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// how the generic finder's places are told.
const readsLike = "reads like an image"

// The forms of images in a text. Each has what stands before it, then the
// image, as groups. A scheme before a host (https://) makes it an address.
const (
	before = `(^|[\s"'=,(\[{<>|;` + "`" + `])`
	part   = `[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*`
	host   = `(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)+(?::[0-9]+)?|localhost(?::[0-9]+)?|[a-zA-Z0-9][a-zA-Z0-9-]*:[0-9]+)`
	tag    = `:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
	sum    = `@sha256:[0-9a-f]{64}`
)

// forms are compiled once and never change.
var (
	// a registry's host, a path, a tag or a digest or both
	withHost = regexp.MustCompile(before + `(` + host + `(?:/` + part + `)+(?:` + tag + `(?:` + sum + `)?|` + sum + `))`)
	// anything with a digest
	withDigest = regexp.MustCompile(before + `(` + part + `(?:/` + part + `)*(?:` + tag + `)?` + sum + `)`)
	// organization/name:version with no host, as a whole value
	withVersion = regexp.MustCompile(`(^|[=:]\s*["']?|[\s\[,]["'])(` + part + `(?:/` + part + `)+:(?:v?[0-9][A-Za-z0-9_.-]*|latest))(?:["']|,?$)`)
	// a key that says image, on a line of a text
	withKey = regexp.MustCompile(`(?i)(image["'\]]*\s*[:=]\s*["']?)([a-z0-9][A-Za-z0-9_./:@-]*)(?:["'\s,}\]]|$)`)
)

// ignoredIn are the texts of an object that rules say are no images.
func ignoredIn(o *unstructured.Unstructured, rules []Rule) map[string]bool {
	ignored := map[string]bool{}
	for _, r := range rules {
		if r.Ignore != "" && r.matches(o.GetKind(), o.GetName()) {
			ignored[r.Ignore] = true
		}
	}
	return ignored
}

// findGeneric looks at every text that no other finder looked at.
func (f *finder) findGeneric(object int, o *unstructured.Unstructured, ignored map[string]bool) {
	isDefinition := o.GetKind() == "CustomResourceDefinition"
	visit(o.Object, nil, func(path []any, node any) bool {
		if skipped(path) || beside(o, path) {
			return false
		}
		if _, isText := node.(string); !isText {
			return true
		}
		text, ok := textAt(o, path)
		if !ok || isDefinition && path[len(path)-1] != "default" {
			return true
		}
		for _, p := range scan(text, f.saysImage(object, path)) {
			if !ignored[p.image] && !strings.Contains(p.image, "{{") {
				p.object, p.path, p.how = object, path, readsLike
				f.add(p)
			}
		}
		return true
	})
}

// beside reports whether path leads to a text that names no image that runs:
// names and labels, annotations that do not say image, bytes, the example that
// some ConfigMaps carry.
func beside(o *unstructured.Unstructured, path []any) bool {
	if len(path) == 0 {
		return false
	}
	last, _ := path[len(path)-1].(string)
	if len(path) >= 2 {
		switch path[len(path)-2] {
		case "annotations":
			return !strings.HasSuffix(strings.ToLower(last), "image")
		case "labels", "matchLabels":
			return true
		}
	}
	return o.GetKind() == "ConfigMap" && (last == "binaryData" || last == "_example")
}

// saysImage reports whether what names the text says that it is an image: its
// key, an environment variable's name, or the flag before it.
func (f *finder) saysImage(object int, path []any) bool {
	key, ok := path[len(path)-1].(string)
	if ok && key == "value" {
		if name, found := get(f.objects[object].Object, join(path[:len(path)-1], "name")); found {
			key = name
		}
	}
	if i, isIndex := path[len(path)-1].(int); isIndex && i > 0 {
		if flag, found := get(f.objects[object].Object, join(path[:len(path)-1], i-1)); found && strings.HasPrefix(flag, "-") {
			key = flag
		}
	}
	key = strings.ToLower(key)
	return strings.HasSuffix(key, "image") || strings.HasSuffix(key, "image_name") || strings.HasSuffix(key, "image-name")
}

// scan finds what reads like an image, line by line. Lines that are comments
// of YAML, shells or Python are left out.
func scan(text string, saysImage bool) []place {
	lines := strings.SplitAfter(text, "\n")
	if saysImage && len(lines) == 1 {
		start, end := trimmed(text)
		if _, err := reference.ParseNormalizedNamed(text[start:end]); err == nil && !plainWord(text[start:end]) {
			return []place{{start: start, end: end, image: text[start:end]}}
		}
	}
	var found []place
	offset := 0
	for i, line := range lines {
		body := strings.TrimRight(line, " \t\r\n")
		if len(lines) > 1 {
			body, _, _ = strings.Cut(body, " # ") // the comment behind a line
		}
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			for _, p := range scanLine(body) {
				p.start += offset
				p.end += offset
				if len(lines) > 1 {
					p.sub = fmt.Sprintf("L%d", i+1)
				}
				found = append(found, p)
			}
		}
		offset += len(line)
	}
	return found
}

func scanLine(line string) []place {
	var found []place
	for _, form := range []*regexp.Regexp{withDigest, withHost, withKey, withVersion} {
		for _, at := range form.FindAllStringSubmatchIndex(line, -1) {
			p := place{start: at[4], end: at[5]}
			if form != withKey && form != withVersion {
				p.end -= len(line[p.start:p.end]) - len(strings.TrimRight(line[p.start:p.end], ".-"))
				if p.end < len(line) && strings.ContainsRune("/:@", rune(line[p.end])) {
					continue // it goes on: an address
				}
			}
			p.image = line[p.start:p.end]
			if form == withKey && !worthKey(p.image) {
				continue
			}
			if !overlapsAny(found, p) {
				found = append(found, p)
			}
		}
	}
	return found
}

// plainWord tells values that are no names: on and off, and numbers.
func plainWord(value string) bool {
	switch strings.ToLower(value) {
	case "true", "false", "yes", "no", "on", "off", "null", "none":
		return true
	}
	_, err := strconv.ParseFloat(value, 64)
	return err == nil
}

// worthKey keeps key = value from taking every word for an image.
func worthKey(image string) bool {
	if !strings.ContainsAny(image, "/:@") {
		return false
	}
	_, err := reference.ParseNormalizedNamed(image)
	return err == nil
}

func overlapsAny(found []place, p place) bool {
	for _, old := range found {
		if p.overlaps(old) {
			return true
		}
	}
	return false
}
