package envs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/bake"
	"github.com/kfdev/kfdev/sync/pod"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
)

// findSession looks for the session of the entry's folder and pod, which knows what the
// pod has. One that is not in sync, or in which something waits for a person, is a
// fault of kind Drift.
func (b *baker) findSession(ctx context.Context, o *bake.Options) error {
	o.Mode = b.entry.Mode
	if b.options.Local {
		return nil
	}
	running, status, err := b.sessionOf(ctx, o.Root)
	if err != nil {
		return err
	}
	if running == nil {
		progress.Say(b.sink, "no session of "+b.entry.Local+" with this pod runs on this machine: what the pod has is not known, and the folder is baked as it is here")
		return nil
	}
	b.knows, o.Mode, b.result.Compared = running, status.Mode, true
	return b.ran(ctx, o) // so that nobody waits for a refusal
}

// ran has what is baked be what the pod has.
func (b *baker) ran(ctx context.Context, o *bake.Options) (err error) {
	if b.knows == nil {
		return nil
	}
	client := control.NewClient(b.knows.Dir)
	defer client.Close()
	if o.Pod, err = client.Holds(ctx); err != nil {
		return &fault.Error{Op: "baking what ran", Subject: b.entry.Name, Hint: b.asItIs(), Err: err}
	}
	return nil
}

func (b *baker) asItIs() string {
	return "`kfdev sync bake " + b.entry.Name + " --local` bakes the folder as it is here, whatever the pod has"
}

// sessionOf returns the session of the entry's folder and pod that runs, or nil.
func (b *baker) sessionOf(ctx context.Context, folder string) (*control.Running, session.Status, error) {
	all, err := b.SyncSessions()
	if err != nil {
		return nil, session.Status{}, err
	}
	for _, r := range all {
		if strings.Contains(r.Name, envSeparator) {
			continue // what is baked is dev's
		}
		client := control.NewClient(r.Dir)
		status, err := client.Status(ctx)
		client.Close()
		switch {
		case fault.KindOf(err) == fault.NotFound: // it ended just now
		case err != nil:
			return nil, status, &fault.Error{Op: "asking what the pod has", Subject: r.Name, Hint: b.asItIs(), Err: err}
		case b.isOf(status, folder):
			return &r, status, nil
		}
	}
	return nil, session.Status{}, nil
}

// isOf reports whether a session is of the entry's folder, here and in the pod. A
// session may have been told the namespace or the container that the entry leaves
// open, and its folder in the pod from the home folder on.
func (b *baker) isOf(status session.Status, folder string) bool {
	mine, err := b.entry.PodTarget()
	theirs, wrong := pod.ParseTarget(status.Target)
	if errors.Join(err, wrong) != nil {
		return false
	}
	if mine.Namespace == "" || theirs.Namespace == "" {
		mine.Namespace, theirs.Namespace = "", ""
	}
	if mine.Container == "" || theirs.Container == "" {
		mine.Container, theirs.Container = "", ""
	}
	return mine == theirs && sameFolder(status.Local, folder) && (status.Remote == b.entry.Remote || strings.HasPrefix(status.Remote, "~"))
}

// sameFolder is true for two names of one folder.
func sameFolder(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	one, err := os.Stat(a)
	other, wrong := os.Stat(b)
	return err == nil && wrong == nil && os.SameFile(one, other)
}
