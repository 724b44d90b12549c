package project

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/kfdev/kfdev/sync/pod"
	"github.com/kfdev/kfdev/sync/reconcile"
)

func (v *validator) syncs(all []Sync) {
	for i, s := range all {
		at := []any{"sync", i}
		v.syncName(at, s, all[:i])
		if v.required(sub(at, "local")...) {
			v.local(sub(at, "local"), s.Local)
		}
		if v.required(sub(at, "remote")...) {
			v.remote(sub(at, "remote"), s.Remote)
		}
		if v.doc.Has(sub(at, "mode")...) {
			modes := make([]string, 0, len(reconcile.Modes()))
			for _, m := range reconcile.Modes() {
				modes = append(modes, string(m))
			}
			v.oneOf(string(s.Mode), modes, sub(at, "mode")...)
		}
		v.command(sub(at, "onChange"), s.OnChange)
		v.limit(sub(at, "maxDelete"), string(s.MaxDelete))
		v.size(sub(at, "maxFile"), s.MaxFile)
		if v.target(at, s) {
			v.shared(at, s, all[:i])
		}
	}
}

func (v *validator) syncName(at []any, s Sync, before []Sync) {
	if !v.required(sub(at, "name")...) {
		return
	}
	if len(s.Name) > 63 || !matches(labelForm, s.Name) {
		v.at(sub(at, "name"), "%q cannot be a sync entry's name: lower-case letters, digits and hyphens, at most 63", s.Name)
	} else if slices.Contains(syncCommands(), s.Name) {
		v.at(sub(at, "name"), "kfdev sync %s is a command: give the entry another name", s.Name)
	} else if slices.ContainsFunc(before, func(b Sync) bool { return b.Name == s.Name }) {
		v.at(sub(at, "name"), "%q comes twice: kfdev sync %s must mean one entry", s.Name, s.Name)
	}
}

// syncCommands are the commands below kfdev sync, which come before entries.
func syncCommands() []string {
	return []string{"bake", "logs", "ls", "resolve", "resume", "status", "stop", "undo"}
}

// local is a folder of the project: colleagues have the same file, and other
// folders.
func (v *validator) local(at []any, local string) {
	switch {
	case local == "":
		v.at(at, "no folder is named: name one below %s, or . for all of the project", FileName)
	case strings.ContainsFunc(local, unicode.IsControl):
		v.at(at, "the folder %q holds a control character", local)
	case filepath.IsAbs(local), strings.HasPrefix(local, "~"):
		v.at(at, "the folder %q is one of this machine: name one relative to %s, which colleagues have too; kfdev sync LOCAL:TARGET:REMOTE takes any", local, FileName)
	case !filepath.IsLocal(local):
		v.at(at, "the folder %q leaves the project: name one below %s", local, FileName)
	}
}

func (v *validator) remote(at []any, remote string) {
	first, _, _ := strings.Cut(strings.TrimPrefix(remote, "/"), "/")
	switch {
	case !strings.HasPrefix(remote, "/"):
		v.at(at, "%q is no folder of the pod: write it from the root, /home/jovyan/src", remote)
	case strings.ContainsFunc(remote, unicode.IsControl):
		v.at(at, "the folder %q holds a control character", remote)
	case path.Clean(remote) != remote:
		v.at(at, "write %q as %s", remote, path.Clean(remote))
	case slices.Contains([]string{"", "proc", "sys", "dev"}, first):
		v.at(at, "%s is not a folder for files: name one below it, like /home/jovyan/src", remote)
	}
}

// target reports whether the target can be read.
func (v *validator) target(at []any, s Sync) bool {
	for key, value := range map[string]string{"container": s.Container, "namespace": s.Namespace} {
		if v.doc.Has(sub(at, key)...) && (len(value) > 63 || !matches(labelForm, value)) {
			v.at(sub(at, key), "%q cannot be a %s's name: lower-case letters, digits and hyphens, at most 63", value, key)
		}
	}
	if !v.required(sub(at, "target")...) {
		return false
	}
	if s.Target == "" {
		v.at(sub(at, "target"), "write one target, KIND/NAME or {KIND: NAME}, like jupyterhub/dev")
		return false
	}
	if _, err := pod.ParseTarget(string(s.Target)); err != nil {
		v.at(sub(at, "target"), "%v; a target is KIND/NAME, like jupyterhub/dev, notebook/fraud or pod/web-0", err)
		return false
	}
	if _, err := s.PodTarget(); err != nil {
		v.at(sub(at, "target"), "%v", err)
		return false
	}
	return true
}

// shared refuses two entries that would both own a folder of one pod: each
// would take the other's files for changes.
func (v *validator) shared(at []any, s Sync, before []Sync) {
	mine, _ := s.PodTarget()
	for _, b := range before {
		if other, err := b.PodTarget(); err != nil || other != mine {
			continue
		}
		if within(s.Remote, b.Remote) || within(b.Remote, s.Remote) {
			v.at(sub(at, "remote"), "%s is in the same pod as %s of the entry %q: sync one of them", s.Remote, b.Remote, b.Name)
		}
	}
}

// within reports whether a is folder b or in it.
func within(a, b string) bool {
	return b != "" && (a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/"))
}

func (v *validator) command(at []any, words Command) {
	if !v.doc.Has(at...) {
		return
	}
	if len(words) == 0 || words[0] == "" {
		v.at(at, "no command is named: write its words, or one text for sh -c, or take the key out")
	}
	for i, w := range words {
		if strings.ContainsRune(w, 0) {
			v.at(at, "word %d of the command holds a NUL", i+1)
		}
	}
}

// limit is stricter than reconcile.ParseLimits, so that it has one form.
func (v *validator) limit(at []any, limit string) {
	if _, err := reconcile.ParseLimits(limit); v.doc.Has(at...) && (err != nil || !matches(limitForm, limit)) {
		v.at(at, "%q is no limit: write a count of paths (200), a percentage (25%%), or off", limit)
	}
}
