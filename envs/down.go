package envs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/envs/state"
	"github.com/kfdev/kfdev/internal/fault"
)

// DownOptions say how the stack is taken down.
type DownOptions struct {
	// Delete removes all that is kfdev's of the project: the cluster with its
	// volumes, the context, the record; and, with the last project of this user,
	// the local registry with its content. Images that are loaded into Docker
	// stay, as do the caches. Without it the cluster is stopped, and keeps all it has.
	Delete bool
	Wait   bool // for another kfdev that changes the project
}

// DownResult is what a down did.
type DownResult struct {
	Project string   `json:"project"`
	Stopped bool     `json:"stopped"`
	Deleted []string `json:"deleted,omitempty"` // what is gone, for people
	Kept    []string `json:"kept,omitempty"`    // what stays, and why
}

// Down stops or deletes the project's cluster.
func (e *Engine) Down(ctx context.Context, o DownOptions) (result DownResult, err error) {
	release, err := e.records.Acquire(ctx, e.command, o.Wait, e.sink)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, release()) }()
	name := e.file.Metadata.Name
	result.Project = name
	if o.Delete {
		err = e.delete(ctx, name, &result)
		return result, err
	}
	got, err := e.world.Clusters.Get(ctx, name)
	if err == nil {
		err = e.owns(got, "stopping the cluster", "run `kfdev down` there")
	}
	if err == nil {
		err = e.world.Clusters.Stop(ctx, name)
	}
	result.Stopped = err == nil
	return result, err
}

// owns refuses a cluster that is another project's. Nobody has signed one that
// is half made, and one whose project has left its folder was moved here.
func (e *Engine) owns(got cluster.State, op, hint string) error {
	if e.ours(got.Owner) || got.Phase == cluster.Incomplete {
		return nil
	}
	return &fault.Error{
		Op: op, Subject: cluster.ContextName(got.Name), Kind: fault.Gate,
		Hint: hint, Err: fmt.Errorf("it belongs to the project in %s", got.Owner),
	}
}

// ours reports whether a cluster with the owner, a project's folder, is this
// project's: it has this folder, or there is no project in it any more.
func (e *Engine) ours(owner string) bool {
	if owner == e.file.Dir {
		return true
	}
	_, err := os.Stat(filepath.Join(owner, project.FileName))
	return errors.Is(err, fs.ErrNotExist)
}

func (e *Engine) delete(ctx context.Context, name string, result *DownResult) error {
	got, err := e.world.Clusters.Get(ctx, name)
	switch {
	case fault.KindOf(err) == fault.NotFound:
	case err != nil:
		return err
	default:
		if err := e.owns(got, "deleting the cluster", "run `kfdev down --delete` there"); err != nil {
			return err
		}
		ended, err := e.endSyncs(ctx)
		result.Deleted = append(result.Deleted, ended...)
		if err != nil {
			return err
		}
		if err := e.world.Clusters.Delete(ctx, name); err != nil {
			return err
		}
		result.Deleted = append(result.Deleted, "cluster "+got.Name+" with its volumes")
	}
	removed, err := e.world.Kubeconfig.Remove(cluster.ContextName(name))
	if err != nil {
		return err
	}
	if removed {
		result.Deleted = append(result.Deleted, "context "+cluster.ContextName(name))
	}
	if err := e.records.Forget(); err != nil {
		return err
	}
	return e.deleteRegistry(ctx, result)
}

// deleteRegistry removes the local registry when no other project of this user
// has a cluster that pulls from it, or is about to have one: nobody claims it
// between the look and the removal.
func (e *Engine) deleteRegistry(ctx context.Context, result *DownResult) (err error) {
	release, err := state.AcquireShared(ctx, e.dirs.State, e.command, e.sink)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	others, err := state.List(e.dirs.State)
	if err != nil {
		return err
	}
	for _, other := range others {
		if other.Project != e.file.Metadata.Name && other.Cluster.Name != "" {
			result.Kept = append(result.Kept, fmt.Sprintf("the local registry, which %s uses too", other.Project))
			return nil
		}
	}
	switch _, err := e.world.Registry(nil).Get(ctx); {
	case fault.KindOf(err) == fault.NotFound:
		return nil
	case err != nil:
		return err
	}
	if err := e.world.Registry(nil).Remove(ctx); err != nil {
		return err
	}
	result.Deleted = append(result.Deleted, "the local registry with its content")
	result.Kept = append(result.Kept, "built and downloaded images in "+e.dirs.Cache+" (`kfdev images prune` removes them)")
	return nil
}
