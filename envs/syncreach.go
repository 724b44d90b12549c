package envs

import (
	"context"
	"errors"
	"fmt"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/sync/helper/image"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// reach returns a client of the environment's cluster. The caller closes it.
func (e *Engine) reach(ctx context.Context, env string) (*kube.Client, error) {
	if env == project.DevName {
		live, _, err := e.running(ctx, settled{file: e.file})
		if err != nil {
			return nil, err
		}
		return live.Client(), nil
	}
	config, err := kube.Load("", e.file.Environments.Others[env].Cluster.Context)
	if err != nil {
		return nil, err
	}
	return kube.Connect(config)
}

// helperImage puts the helper's own image where the nodes of the environment
// pull from, and returns its name there.
func (e *Engine) helperImage(ctx context.Context, env string) (string, error) {
	fail := func(kind fault.Kind, hint string, err error) (string, error) {
		return "", &fault.Error{Op: "preparing the helper's image", Kind: kind, Hint: hint, Err: err}
	}
	if env != project.DevName {
		return fail(fault.Preflight, "sync in dev, or run an image with a shell there", fmt.Errorf("the nodes of %s have no registry that kfdev brings it to", env))
	}
	made, err := image.New(program.Load)
	if err != nil {
		return "", err
	}
	registry, err := e.world.Registry(nil).Get(ctx)
	if err == nil && !registry.Running {
		err = errors.New("the local registry does not run")
	}
	if err != nil {
		return fail(fault.KindOf(err), "run `kfdev up`", err)
	}
	copier := images.Copier{From: made, To: e.world.Target(registry.Addr), Sink: e.sink, Task: "sync/helper"}
	if _, err := copier.Copy(ctx, made.Ref()); err != nil {
		return fail(fault.KindOf(err), "", err)
	}
	return made.Ref().String(), nil
}
