package project

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/fingerprint"
	"github.com/kfdev/kfdev/internal/strictyaml"
	"github.com/kfdev/kfdev/profiles"
)

// validate returns what is wrong with the values, beyond what is known
// already to be wrong with the form.
func (f *File) validate(known strictyaml.Problems) strictyaml.Problems {
	v := validator{doc: f.doc, known: known}
	v.head(f.Project)
	v.platforms(f.Platforms)
	if f.doc.Has("origin") {
		v.oneOf(string(f.Origin), []string{string(OriginAuto), string(OriginRegistry), string(OriginSource)}, "origin")
	}
	if v.required("stack") && v.required("stack", "preset") {
		v.oneOf(f.Stack.Preset, Presets(), "stack", "preset")
	}
	for _, name := range f.Components() {
		v.component(name, f.Stack.Components[name])
	}
	v.mirrors(f.Registry.Mirrors)
	v.syncs(f.Sync)
	v.cluster(f.Environments.Dev.Cluster.Kind)
	v.environments(f.Metadata.Name, f.Environments)
	v.profiles(f.Profiles)
	v.differences(f.Differences, f.Environments.Order())
	v.fingerprint(f.Fingerprint)
	if f.doc.Has("noise") && !filepath.IsLocal(f.Noise) {
		v.at([]any{"noise"}, "%q is no file of the project: name one below %s", f.Noise, FileName)
	}
	return v.problems
}

// Presets are the names that stack.preset may have.
func Presets() []string { return []string{"tiny", "core"} }

// CheckName says what is wrong with a project's name; nil where nothing is.
func CheckName(name string) error {
	switch {
	case len(name) > MaxName:
		return fmt.Errorf("the name %q has %d characters: at most %d are taken", name, len(name), MaxName)
	case !matches(nameForm, name):
		return fmt.Errorf("%q cannot be a name: lower-case letters, digits and hyphens, from a letter to a letter or digit", name)
	}
	return nil
}

// differences takes over what the entries say is wrong with themselves.
func (v *validator) differences(all []difference.Entry, environments []string) {
	for _, p := range difference.Check(all, environments) {
		path := append([]any{"differences"}, p.At...)
		if p.Key {
			v.key(path, "%s", p.Text)
		} else {
			v.at(path, "%s", p.Text)
		}
	}
}

func (v *validator) profiles(all []profiles.Profile) {
	for _, p := range profiles.Check(all) {
		v.at(append([]any{"profiles"}, p.At...), "%s", p.Text)
	}
}

// fingerprint lets a project only be stricter: what may differ is declared.
func (v *validator) fingerprint(rules fingerprint.Rules) {
	for name, rule := range rules {
		if _, err := fingerprint.Tighten(fingerprint.DefaultRules(), fingerprint.Rules{name: rule}); err != nil {
			v.key([]any{"fingerprint", name}, "%v", err)
		}
	}
}

type validator struct {
	doc             *strictyaml.Document
	known, problems strictyaml.Problems
}

func (v *validator) at(path []any, format string, args ...any) {
	p := v.doc.At(fmt.Sprintf(format, args...), path...)
	same := func(k strictyaml.Problem) bool { return k.Line == p.Line && k.Column == p.Column }
	if v.doc.Has(path...) && slices.ContainsFunc(v.known, same) {
		return // a value of the wrong type was never read
	}
	v.problems = append(v.problems, p)
}

func (v *validator) key(path []any, format string, args ...any) {
	v.problems = append(v.problems, v.doc.Key(fmt.Sprintf(format, args...), path...))
}

// required reports whether path is in the file; a missing one is a problem.
func (v *validator) required(path ...any) bool {
	if v.doc.Has(path...) {
		return true
	}
	v.at(path, "%q is missing: it is required", joined(path))
	return false
}

func joined(path []any) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = fmt.Sprint(p)
	}
	return strings.Join(parts, ".")
}

func (v *validator) oneOf(value string, known []string, path ...any) {
	if slices.Contains(known, value) {
		return
	}
	fix := "write one of " + strings.Join(known, ", ")
	if near := strictyaml.Nearest(value, known); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	v.at(path, "%s: %q is not known: %s", joined(path), value, fix)
}

func (v *validator) head(p Project) {
	if v.required("apiVersion") && p.APIVersion != APIVersion {
		v.at([]any{"apiVersion"}, "apiVersion: %q is not known to this kfdev: write %s", p.APIVersion, APIVersion)
	}
	if v.required("kind") && p.Kind != Kind {
		v.at([]any{"kind"}, "kind: %q is not a project: write %s", p.Kind, Kind)
	}
	if v.required("metadata") && v.required("metadata", "name") {
		if err := CheckName(p.Metadata.Name); err != nil {
			v.at([]any{"metadata", "name"}, "metadata.name: %v", err)
		}
	}
}

func (v *validator) platforms(all []Platform) {
	known := []string{string(LinuxAMD64), string(LinuxARM64)}
	for i, p := range all {
		v.oneOf(string(p), known, "platforms", i)
		if slices.Contains(all[:i], p) {
			v.at([]any{"platforms", i}, "platforms: %s comes twice", p)
		}
	}
}

func (v *validator) component(name string, c Component) {
	path := []any{"stack", "components", name}
	if len(name) > 63 || !matches(labelForm, name) {
		v.key(path, "%q cannot be a component's name: lower-case letters, digits and hyphens, at most 63", name)
	}
	if name == ProfilesName || name == PolicyName {
		v.key(path, "%q is what kfdev itself calls a part of the stack: a component needs another name", name)
	}
	if v.doc.Has(sub(path, "folder")...) {
		switch {
		case c.Folder == "":
			v.at(sub(path, "folder"), "no folder is named: name one, or take the key out")
		case !filepath.IsLocal(c.Folder):
			v.at(sub(path, "folder"), "the folder %q leaves the project: name one below %s", c.Folder, FileName)
		}
	}
	for key := range c.Values {
		if !matches(valueForm, key) {
			v.key(sub(path, "values", key), "%q cannot be a value's name: letters, digits, hyphens and underscores", key)
		}
		v.required(sub(path, "values", key)...)
	}
}

func (v *validator) mirrors(all map[string][]string) {
	for host, mirrors := range all {
		path := []any{"registry", "mirrors", host}
		if !matches(hostForm, host) {
			v.key(path, "%q is not a registry's host: write it as in an image's name, quay.io or localhost:5000", host)
		}
		for i, m := range mirrors {
			if !matches(mirrorForm, m) {
				v.at(sub(path, i), "%q is not a mirror: write HOST[:PORT][/PATH], without https://", m)
			}
		}
	}
}

// apiPort is where the API server listens in its node.
const apiPort = 6443

func (v *validator) cluster(k KindCluster) {
	path := []any{"environments", "dev", "cluster", "kind"}
	if v.doc.Has(sub(path, "nodes")...) && (k.Nodes < 1 || k.Nodes > 10) {
		v.at(sub(path, "nodes"), "nodes: %d nodes: from 1 to 10 are taken", k.Nodes)
	}
	hosts, nodes := map[int]bool{}, map[int]bool{}
	for i, p := range k.Ports {
		at := sub(path, "ports", i)
		for _, each := range []struct {
			key  string
			port int
		}{{"host", p.Host}, {"node", p.Node}} {
			if v.required(sub(at, each.key)...) && (each.port < 1 || each.port > 65535) {
				v.at(sub(at, each.key), "%s: %d is not a port: from 1 to 65535", each.key, each.port)
			}
		}
		if hosts[p.Host] {
			v.at(sub(at, "host"), "the host's port %d comes twice", p.Host)
		}
		if nodes[p.Node] {
			v.at(sub(at, "node"), "the node's port %d comes twice", p.Node)
		}
		if p.Node == apiPort {
			v.at(sub(at, "node"), "the node's port %d is the API server's, which has an address of its own", p.Node)
		}
		hosts[p.Host], nodes[p.Node] = true, true
	}
}

// sub returns path with more parts, in memory of its own.
func sub(path []any, parts ...any) []any { return append(slices.Clone(path), parts...) }
