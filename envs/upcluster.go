package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
)

func (r *upRun) observeNode(ctx context.Context) (plan.Work, error) {
	node := r.settled.lock.Node
	if node.Image.Origin == images.FromRegistry {
		return plan.Nothing("%s, downloaded with the cluster", node.Image.Ref()), nil
	}
	switch _, err := r.world.Daemon.Image(ctx, nodeName(node)); {
	case fault.KindOf(err) == fault.NotFound:
		work := plan.Todo("load the node image, %s", size(node.Image.Size))
		work.Copy, work.Disk = node.Image.Size, node.Image.Size
		return work, nil
	case err != nil:
		return plan.Work{}, err
	}
	return plan.Nothing("is loaded"), nil
}

func (r *upRun) loadNode(ctx context.Context) (string, error) {
	archive, err := r.nodeArchive(ctx, r.settled.lock)
	if err != nil {
		return "", err
	}
	img, _, err := r.world.Daemon.EnsureImage(ctx, archive)
	if err != nil {
		return "", err
	}
	return "loaded " + short(img.ID), nil
}

// nodeImage says what the cluster's nodes run.
func (r *upRun) nodeImage(ctx context.Context) (cluster.NodeImage, error) {
	node := r.settled.lock.Node
	if node.Image.Origin == images.FromRegistry {
		return cluster.NodeImage{Ref: node.Image.Ref().String()}, nil
	}
	img, err := r.world.Daemon.Image(ctx, nodeName(node))
	if err != nil {
		return cluster.NodeImage{}, err
	}
	if err := sameImage(node, img); err != nil {
		return cluster.NodeImage{}, err
	}
	return cluster.NodeImage{Ref: img.ID, FromSource: true, Repository: images.SourceHost}, nil
}

// sameImage refuses an image of the daemon that is not the lock's, however it
// came to its name.
func sameImage(node lock.Node, img docker.Image) error {
	want := make([]string, 0, len(node.DiffIDs))
	for _, d := range node.DiffIDs {
		want = append(want, d.String())
	}
	if slices.Equal(want, img.DiffIDs) {
		return nil
	}
	return &fault.Error{
		Op: "checking the node image", Subject: short(img.ID), Kind: fault.Drift,
		Hint: fmt.Sprintf("remove it with `docker image rm %s`; the next `kfdev up` loads the lock's again", nodeName(node)),
		Err:  errors.New("its layers are not those of the lock"),
	}
}

func (r *upRun) spec(image cluster.NodeImage) cluster.Spec {
	kind := r.settled.file.Environments.Dev.Cluster.Kind
	return cluster.Spec{
		Name: r.settled.file.Metadata.Name, Owner: r.owner, Image: image, Nodes: kind.Nodes, Ports: portsOf(kind),
		Mirror: cluster.Mirror{URL: r.world.Registry(nil).NodeURL(), CA: r.proxyCA},
	}
}

func portsOf(kind project.KindCluster) []cluster.Port {
	var ports []cluster.Port
	for _, p := range kind.Ports {
		ports = append(ports, cluster.Port{Host: p.Host, Node: p.Node})
	}
	return ports
}

func (r *upRun) observeCluster(ctx context.Context) (plan.Work, error) {
	name := r.settled.file.Metadata.Name
	got, err := r.world.Clusters.Get(ctx, name)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return r.withNode(ctx, plan.Todo("create %s, Kubernetes %s", cluster.ContextName(name), r.settled.lock.Kubernetes))
	case err != nil:
		return plan.Work{}, err
	case got.Phase == cluster.Incomplete:
		return r.withNode(ctx, plan.Todo("finish making %s", cluster.ContextName(name)))
	}
	if r.ours(got.Owner) {
		r.owner = got.Owner // also after the project's folder was moved
	}
	image, err := r.nodeImage(ctx)
	if fault.KindOf(err) == fault.NotFound {
		image.Ref = got.Image // it is loaded first, and then looked at again
	} else if err != nil {
		return plan.Work{}, err
	}
	// What a cluster can't be brought to is told before anything is done.
	if err := r.spec(image).Differs(got); err != nil {
		return plan.Work{}, err
	}
	if got.Phase == cluster.Stopped {
		return plan.Todo("start %s again", cluster.ContextName(name)), nil
	}
	r.cluster = got
	if err := r.connect(); err != nil {
		return plan.Work{}, err
	}
	if err := r.live.Healthy(ctx); err != nil { // Docker has just started it
		r.live.Close()
		r.live = nil
		return plan.Todo("wait until %s answers", cluster.ContextName(name)), nil
	}
	if !r.registry.Connected { // it was cut off between the two
		return plan.Todo("let the nodes of %s reach the local registry", cluster.ContextName(name)), nil
	}
	return plan.Nothing("%s runs", cluster.ContextName(name)), nil
}

// withNode adds the published node image to what making a cluster takes, since
// that is where it is pulled, unless Docker has it.
func (r *upRun) withNode(ctx context.Context, work plan.Work) (plan.Work, error) {
	node := r.settled.lock.Node.Image
	if node.Origin != images.FromRegistry {
		return work, nil
	}
	_, err := r.world.Daemon.Image(ctx, node.Ref().String())
	if fault.KindOf(err) != fault.NotFound {
		return work, err
	}
	work.Summary += fmt.Sprintf(", with a node image of %s to download", size(node.Size))
	work.Download, work.Disk = node.Size, node.Size
	return work, nil
}

func (r *upRun) ensureCluster(ctx context.Context) (string, error) {
	image, err := r.nodeImage(ctx)
	if err != nil {
		return "", err
	}
	if r.cluster, err = r.world.Clusters.Ensure(ctx, r.spec(image)); err != nil {
		return "", err
	}
	if err := r.world.Registry(nil).Connect(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s answers at %s", cluster.ContextName(r.cluster.Name), r.cluster.Server), r.connect()
}

// connect makes the client of the cluster for the steps that follow.
func (r *upRun) connect() (err error) {
	if r.live == nil {
		r.live, err = r.world.Connect(r.cluster.Kubeconfig)
	}
	return err
}

func (r *upRun) observeContext(context.Context) (plan.Work, error) {
	if r.live == nil {
		return plan.Todo("add %s to the kubeconfig", cluster.ContextName(r.settled.file.Metadata.Name)), nil
	}
	lacks, err := r.world.Kubeconfig.Lacks(r.cluster, r.options.UseContext)
	if err != nil {
		return plan.Work{}, err
	}
	if lacks {
		return plan.Todo("put %s into the kubeconfig", cluster.ContextName(r.cluster.Name)), nil
	}
	return plan.Nothing("%s is in the kubeconfig", cluster.ContextName(r.cluster.Name)), nil
}

func (r *upRun) mergeContext(context.Context) (string, error) {
	return r.world.Kubeconfig.Merge(r.cluster, r.options.UseContext)
}
