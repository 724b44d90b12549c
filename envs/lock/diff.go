package lock

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/kfdev/kfdev/images/recipe"
)

// Action is what becomes of a fact from one lock to the next.
type Action string

// The actions.
const (
	Added   Action = "added"
	Removed Action = "removed"
	Changed Action = "changed"
)

// Change is one fact that two locks differ in.
type Change struct {
	Action  Action `json:"action" yaml:"action"`
	Subject string `json:"subject" yaml:"subject"` // "image quay.io/argoproj/argoexec"
	Fact    string `json:"fact" yaml:"fact"`       // "digest", "input deb libc6"
	From    string `json:"from,omitempty" yaml:"from,omitempty"`
	To      string `json:"to,omitempty" yaml:"to,omitempty"`
}

// String tells people.
func (c Change) String() string {
	switch c.Action {
	case Added:
		return fmt.Sprintf("%s: %s added: %s", c.Subject, c.Fact, c.To)
	case Removed:
		return fmt.Sprintf("%s: %s removed: %s", c.Subject, c.Fact, c.From)
	default:
		return fmt.Sprintf("%s: %s: %s → %s", c.Subject, c.Fact, c.From, c.To)
	}
}

// place is a fact's identity.
type place struct{ subject, fact string }

// Diff returns what changes from lock a to lock b, sorted by subject and fact.
// It is empty exactly where both have the same digest. A subject that is new,
// or gone, is told with its digest or version, and the facts of what it is
// made of. From the zero Lock, which says nothing, all is added.
func Diff(a, b Lock) []Change {
	from, to := facts(a.sorted()), facts(b.sorted())
	var out []Change
	for at, old := range from {
		if now, ok := to[at]; !ok {
			out = append(out, Change{Action: Removed, Subject: at.subject, Fact: at.fact, From: old})
		} else if now != old {
			out = append(out, Change{Action: Changed, Subject: at.subject, Fact: at.fact, From: old, To: now})
		}
	}
	for at, now := range to {
		if _, ok := from[at]; !ok {
			out = append(out, Change{Action: Added, Subject: at.subject, Fact: at.fact, To: now})
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Fact, b.Fact))
	})
	return out
}

// facts lays a lock out flat: every fact that its digest covers.
func facts(l Lock) map[place]string {
	if reflect.ValueOf(l).IsZero() {
		return map[place]string{}
	}
	out := map[place]string{
		{"stack", "catalog"}:    l.Catalog,
		{"stack", "origin"}:     string(l.Origin),
		{"stack", "kubernetes"}: l.Kubernetes,
		{"stack", "go"}:         l.GoToolchain,
		{"stack", "platforms"}:  fmt.Sprint(l.Platforms),
	}
	of := map[string]int{}
	for _, i := range l.Images {
		of[i.Repository]++
	}
	for _, i := range l.Images {
		subject := i.Repository
		if of[subject] > 1 {
			subject = i.name()
		}
		maps.Copy(out, imageFacts("image "+subject, i))
	}
	node := "node image " + l.Node.Image.Repository
	maps.Copy(out, imageFacts(node, l.Node.Image))
	out[place{node, "config"}] = l.Node.Config.String()
	for n, id := range l.Node.DiffIDs {
		out[place{node, fmt.Sprintf("layer %02d", n)}] = id.String()
	}
	for _, h := range l.Node.Holds {
		out[place{node, "holds " + h.Name}] = fmt.Sprintf("%s %s %s", h.Digest, h.Config, h.Recipe)
	}
	for _, c := range l.Components {
		subject := "component " + c.Name
		out[place{subject, "version"}] = c.Version
		out[place{subject, "folder"}] = c.Folder
		out[place{subject, "source"}] = c.Source.String()
		out[place{subject, "rendered"}] = c.Rendered.String()
		out[place{subject, "images"}] = fmt.Sprint(c.Images)
	}
	for _, r := range l.Recipes {
		maps.Copy(out, recipeFacts(r))
	}
	return out
}

func imageFacts(subject string, i Image) map[place]string {
	out := map[place]string{
		{subject, "digest"}:     i.Digest.String(),
		{subject, "media type"}: i.MediaType,
		{subject, "size"}:       fmt.Sprint(i.Size),
		{subject, "origin"}:     string(i.Origin),
		{subject, "stands for"}: i.StandsFor,
		{subject, "recipe"}:     i.Recipe,
	}
	if i.Bake != (Bake{}) {
		out[place{subject, "baked of"}] = i.Bake.Base
		out[place{subject, "baked entry"}] = fmt.Sprintf("%s at %s", i.Bake.Sync, i.Bake.Folder)
		out[place{subject, "baked layer"}] = i.Bake.Layer.String()
	}
	for _, c := range i.Platforms {
		out[place{subject, "platform " + c.Platform}] = fmt.Sprintf("%s (%d bytes)", c.Digest, c.Size)
	}
	for _, r := range i.References {
		out[place{subject, fmt.Sprintf("reference %s %s %s %s", r.Component, r.Object, r.Path, r.How)}] = "there"
	}
	return out
}

func recipeFacts(r Recipe) map[place]string {
	subject := "recipe " + r.Name
	out := map[place]string{{subject, "digest"}: r.Digest.String()}
	for n, layer := range r.Layers {
		// The list as a whole: its order counts too, and file names and sizes.
		out[place{subject, fmt.Sprintf("layer %02d", n)}] = fmt.Sprintf("%d inputs, %s", len(layer), short(layer))
		for _, in := range layer {
			at := place{subject, fmt.Sprintf("layer %02d: %s %s", n, in.Kind, in.Name)}
			if out[at] != "" {
				out[at] += ", "
			}
			out[at] += told(in)
		}
	}
	return out
}

// short is enough of a digest to tell two lists of inputs apart.
func short(layer []recipe.Input) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%#v", append([]recipe.Input{}, layer...)))
	return hex.EncodeToString(sum[:8])
}

func told(in recipe.Input) string {
	if in.Version == "" {
		return in.Hash
	}
	return in.Version + " " + in.Hash
}
