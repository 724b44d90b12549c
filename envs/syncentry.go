package envs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/pod"
)

// entryOf returns the entry that is meant: one of kfdev.yaml, or one made of
// LOCAL:TARGET:REMOTE, whose local folder is absolute.
func (e *Engine) entryOf(o SyncOptions) (project.Sync, error) {
	if strings.Contains(o.What, ":") {
		return adHoc(o.What)
	}
	if o.What != "" {
		entry, ok := e.file.SyncNamed(o.What)
		if !ok {
			return entry, e.noSync(o.What)
		}
		return entry, nil
	}
	if len(e.file.Sync) == 1 {
		return e.file.Sync[0], nil
	}
	names := make([]string, 0, len(e.file.Sync))
	for _, s := range e.file.Sync {
		names = append(names, s.Name)
	}
	f := &fault.Error{
		Op: "choosing what to sync", Kind: fault.Usage,
		Hint: "name one: kfdev sync NAME", Err: fmt.Errorf("kfdev.yaml has the entries %s", strings.Join(names, ", ")),
	}
	if len(names) == 0 {
		f.Hint = "kfdev sync LOCAL:TARGET:REMOTE, as kfdev sync src:jupyterhub/NAME:~/src; or write an entry under sync in kfdev.yaml: name, local, remote and target"
		f.Err = errors.New("kfdev.yaml has no sync entry")
	}
	return project.Sync{}, f
}

// adHoc reads LOCAL:TARGET:REMOTE. A remote folder begins with / or ~, so that a
// local one may have colons.
func adHoc(text string) (project.Sync, error) {
	fail := func(why string) (project.Sync, error) {
		return project.Sync{}, &fault.Error{
			Op: "reading what to sync", Subject: text, Kind: fault.Usage, Err: errors.New(why),
			Hint: "write LOCAL:TARGET:REMOTE, as src:jupyterhub/ann:~/src or .:pod/web-0:/srv/app",
		}
	}
	at := max(strings.LastIndex(text, ":/"), strings.LastIndex(text, ":~"))
	if at < 0 {
		return fail("the folder in the pod is to begin with / or ~")
	}
	remote := text[at+1:]
	colon := strings.LastIndexByte(text[:at], ':')
	if colon < 1 {
		return fail("it names no local folder or no target")
	}
	local, target := text[:colon], text[colon+1:at]
	t, err := pod.ParseTarget(target)
	if err != nil {
		return project.Sync{}, err
	}
	home := strings.HasPrefix(remote, "~")
	remote = path.Clean(remote)
	switch {
	case home && remote != "~" && !strings.HasPrefix(remote, "~/"):
		return fail("~ stands for the home folder of the container's user; other users' are not known")
	case remote == "/":
		return fail("the pod's root folder can't be synced: name one below it")
	}
	if local, err = filepath.Abs(local); err != nil {
		return fail(err.Error())
	}
	return project.Sync{Name: adHocName(local, target, remote, t), Local: local, Remote: remote, Target: project.Target(target)}, nil
}

// adHocName is the same for the same parts, and tells them to a person: the
// folder, the target, and a word that no other parts have.
func adHocName(local, target, remote string, t pod.Target) string {
	sum := sha256.Sum256([]byte(local + "\x00" + target + "\x00" + remote))
	name := slug(filepath.Base(local)) + "-" + slug(t.Name)
	return strings.Trim(name, "-") + "-" + hex.EncodeToString(sum[:3])
}

// maxSlug is how much of a name goes into that of a session.
const maxSlug = 24

// slug has of a text what may be in a name.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case b.Len() >= maxSlug:
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0:
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// localPath is the entry's folder on this machine.
func (e *Engine) localPath(entry project.Sync) string {
	if filepath.IsAbs(entry.Local) { // one of LOCAL:TARGET:REMOTE
		return entry.Local
	}
	return e.file.LocalPath(entry)
}

// targetOf is the entry's target with what the options say.
func targetOf(entry project.Sync, o SyncOptions) (pod.Target, error) {
	t, err := entry.PodTarget()
	if err != nil {
		return t, err
	}
	if o.Container != "" {
		t.Container = o.Container
	}
	if o.Namespace != "" {
		t.Namespace = o.Namespace
	}
	return pod.ParseTarget(t.String()) // which checks the names
}
