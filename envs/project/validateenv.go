package project

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/kfdev/kfdev/internal/strictyaml"
)

func (v *validator) environments(project string, all Environments) {
	contexts := map[string]string{"kfdev-" + project: DevName} // as package cluster names it
	v.secrets([]any{"environments", DevName, "secrets"}, all.Dev.Secrets)
	for _, name := range slices.Sorted(maps.Keys(all.Others)) {
		env, at := all.Others[name], []any{"environments", name}
		if len(name) > 63 || !matches(labelForm, name) {
			v.key(at, "%q cannot be an environment's name: lower-case letters, digits and hyphens, at most 63", name)
		}
		if v.required(sub(at, "cluster")...) && v.required(sub(at, "cluster", "context")...) {
			v.context(sub(at, "cluster", "context"), name, env.Cluster.Context, contexts)
		}
		if a := env.Cluster.Authority; a != "" && !matches(sumForm, a) {
			v.at(sub(at, "cluster", "authority"), "%q is no SHA-256 in hexadecimal: take it out, and kfdev promote writes it", a)
		}
		if v.doc.Has(sub(at, "registry")...) {
			v.environmentRegistry(sub(at, "registry"), env.Registry)
		}
		v.secrets(sub(at, "secrets"), env.Secrets)
		v.after(sub(at, "after"), name, all)
	}
	v.sameSecrets(all)
	cyclic := v.cycles(all)
	for _, name := range slices.Sorted(maps.Keys(all.Others)) {
		v.permission([]any{"environments", name, "sync"}, name, all, cyclic)
	}
}

// context refuses a context that another environment has: one release would
// then be in force twice in one cluster.
func (v *validator) context(at []any, name, context string, taken map[string]string) {
	if strings.TrimSpace(context) == "" || strings.ContainsFunc(context, unicode.IsControl) {
		v.at(at, "%q is no kubeconfig context: kubectl config get-contexts lists them", context)
		return
	}
	if other, ok := taken[context]; ok {
		v.at(at, "the context %s is that of %s already: each environment is a cluster of its own", context, other)
		return
	}
	taken[context] = name
}

func (v *validator) environmentRegistry(at []any, r EnvironmentRegistry) {
	switch {
	case v.doc.Has(sub(at, "push")...):
		v.address(sub(at, "push"), r.Push)
	case r.Push != "": // the short form
		v.address(at, r.Push)
	default:
		v.at(at, "%q is missing: it is required", joined(sub(at, "push")))
	}
	if v.doc.Has(sub(at, "pull")...) {
		v.address(sub(at, "pull"), r.Pull)
	}
	if v.doc.Has(sub(at, "ca")...) && (r.CA == "" || !filepath.IsLocal(r.CA)) {
		v.at(sub(at, "ca"), "%q is no file of the project: name one below %s, which colleagues have too", r.CA, FileName)
	}
	if r.PullSecret == nil {
		return
	}
	for key, value := range map[string]string{"namespace": r.PullSecret.Namespace, "name": r.PullSecret.Name} {
		if v.required(sub(at, "pullSecret", key)...) && (len(value) > 253 || !matches(objectForm, value)) {
			v.at(sub(at, "pullSecret", key), "%q cannot be a Secret's %s: lower-case letters, digits, dots and hyphens", value, key)
		}
	}
}

// secrets wants a name, and one source for every key.
func (v *validator) secrets(at []any, all []Secret) {
	seen := map[SecretName]bool{}
	for i, s := range all {
		for key, value := range map[string]string{"namespace": s.Namespace, "name": s.Name} {
			if v.required(sub(at, i, key)...) && (len(value) > 253 || !matches(objectForm, value)) {
				v.at(sub(at, i, key), "%q cannot be a Secret's %s: lower-case letters, digits, dots and hyphens", value, key)
			}
		}
		if name := (SecretName{Namespace: s.Namespace, Name: s.Name}); seen[name] {
			v.at(sub(at, i, "name"), "the Secret %s/%s comes twice", s.Namespace, s.Name)
		} else {
			seen[name] = true
		}
		for key, source := range s.Keys {
			if (source.File == "") == (source.Env == "") {
				v.key(sub(at, i, "keys", key), "%s wants one of file and env: a value never stands in %s", key, FileName)
			}
		}
	}
}

// sameSecrets wants every environment, dev among them, to have the Secrets that
// another has: only where their values come from differs. What nodes pull with
// is no part of the stack, and may be one's own.
func (v *validator) sameSecrets(all Environments) {
	of := map[SecretName]string{} // an environment that has it
	names := append([]string{DevName}, slices.Sorted(maps.Keys(all.Others))...)
	for _, name := range names {
		pulls := all.Others[name].Registry.PullSecret
		for _, s := range all.SecretsOf(name) {
			if pulls != nil && pulls.Namespace == s.Namespace && pulls.Name == s.Name {
				continue
			}
			of[SecretName{Namespace: s.Namespace, Name: s.Name}] = name
		}
	}
	for _, name := range names {
		for secret, other := range of {
			has := slices.ContainsFunc(all.SecretsOf(name), func(s Secret) bool { return s.Namespace == secret.Namespace && s.Name == secret.Name })
			if has {
				continue
			}
			at := []any{"environments", name}
			if !v.doc.Has(at...) {
				at = []any{"environments"} // dev may stand nowhere
			}
			v.key(at, "%s has no Secret %s/%s, and %s has: list it under secrets there too, without keys where it is there already", name, secret.Namespace, secret.Name, other)
		}
	}
}

// address wants a host that cannot be taken for a part of a path: names
// without a dot or a port are Docker Hub's users in an image's name.
func (v *validator) address(at []any, address string) {
	host, _, _ := strings.Cut(address, "/")
	if !matches(mirrorForm, address) || !strings.ContainsAny(host, ".:") && host != "localhost" {
		v.at(at, "%q is no registry: write HOST[:PORT][/PREFIX], like registry.example.com/kfdev, without https://", address)
	}
}

func (v *validator) after(at []any, name string, all Environments) {
	names := slices.Sorted(maps.Keys(all.Others))
	others := slices.DeleteFunc(append([]string{DevName}, names...), func(n string) bool { return n == name })
	after := all.Others[name].After
	for i, before := range after {
		switch {
		case before == name:
			v.at(sub(at, i), "%s cannot come after itself", name)
		case slices.Contains(after[:i], before):
			v.at(sub(at, i), "%s comes twice", before)
		case !slices.Contains(others, before):
			v.oneOfEnvironments(sub(at, i), before, others)
		}
	}
}

func (v *validator) oneOfEnvironments(at []any, name string, known []string) {
	fix := "the project has " + strings.Join(known, ", ")
	if near := strictyaml.Nearest(name, known); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	v.at(at, "there is no environment %q: %s", name, fix)
}

// cycles reports each ring of environments once, and whether there is any.
func (v *validator) cycles(all Environments) bool {
	found := false
	done := map[string]bool{}
	var visit func(name string, trail []string)
	visit = func(name string, trail []string) {
		if at := slices.Index(trail, name); at >= 0 {
			ring := append(slices.Clone(trail[at:]), name)
			if len(ring) > 2 { // one that comes after itself was told
				last := ring[len(ring)-2]
				i := slices.Index(all.Others[last].After, name)
				v.at([]any{"environments", last, "after", i}, "a ring: %s: take one of them out", strings.Join(ring, " comes after "))
			}
			found = true
			return
		}
		if done[name] {
			return
		}
		for _, before := range all.Others[name].After {
			visit(before, append(slices.Clone(trail), name))
		}
		done[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(all.Others)) {
		visit(name, nil)
	}
	return found
}

// permission holds what an environment says of sync against what it is. The
// statement about production is refused where it says nothing, so that it is
// never copied along unread.
func (v *validator) permission(at []any, name string, all Environments, cyclic bool) {
	p := all.Others[name].Sync
	if cyclic || !p.Allow && !p.ChangesRunningProductionCode {
		return
	}
	why, production := all.Production(name)
	switch {
	case production && !p.ChangesRunningProductionCode:
		v.at(sub(at, "allow"), "%s is production (%s): allow alone is not enough; where you mean it, write changesRunningProductionCode: true beside it, else take sync out", name, why)
	case !p.Allow:
		v.at(sub(at, "changesRunningProductionCode"), "this alone allows nothing: write allow: true beside it, or take sync out")
	case !production && p.ChangesRunningProductionCode:
		v.at(sub(at, "changesRunningProductionCode"), "%s is not production (an environment comes after it): take the statement out, so that it says something where it stands", name)
	}
}
