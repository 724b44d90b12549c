package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/lock"
	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/envs/state"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// UpOptions say how the stack is brought up.
type UpOptions struct {
	// Wait waits for another kfdev that changes the project, where there is one;
	// else it is a fault.
	Wait bool
	// Locked refuses a lock that is not what the project asks for, in place of
	// bringing the lock up to date first.
	Locked bool
	// UseContext makes the project's context the current one.
	UseContext bool
}

// UpResult is what became of an up.
type UpResult struct {
	Project  string         `json:"project"`
	Context  string         `json:"context"`
	Lock     string         `json:"lock"` // digest
	Registry string         `json:"registry"`
	Steps    []plan.Outcome `json:"steps"`
	Changed  bool           `json:"changed"`
	Took     time.Duration  `json:"took"` // nanoseconds
}

// PlanUp says what Up would do, and changes nothing.
func (e *Engine) PlanUp(ctx context.Context, o UpOptions) ([]plan.Item, error) {
	s, err := e.settled(ctx)
	if err != nil {
		return nil, err
	}
	run := &upRun{Engine: e, settled: s, options: o}
	defer run.close()
	return plan.Observe(ctx, run.steps())
}

// Up brings the stack up on the project's own cluster. It can be cut off at
// any point and run again.
func (e *Engine) Up(ctx context.Context, o UpOptions) (result UpResult, err error) {
	start := time.Now()
	release, err := e.records.Acquire(ctx, e.command, o.Wait, e.sink)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if !o.Locked {
		if err := e.refreshLock(ctx); err != nil {
			return result, err
		}
	}
	s, err := e.settled(ctx)
	if err != nil {
		return result, err
	}
	run := &upRun{Engine: e, settled: s, options: o}
	defer run.close()
	steps := run.steps()
	items, err := plan.Observe(ctx, steps)
	if err != nil {
		return result, err
	}
	if e.announce(items) {
		result.Steps, err = plan.Run(ctx, steps, e.sink)
	} else {
		result.Steps = plan.Skipped(items)
	}
	result.Project, result.Context = s.file.Metadata.Name, cluster.ContextName(s.file.Metadata.Name)
	result.Lock, result.Registry = s.digest.String(), run.registryAddr()
	result.Changed = slices.ContainsFunc(result.Steps, func(o plan.Outcome) bool { return o.State == progress.Done })
	result.Took = time.Since(start)
	return result, err
}

// announce says what a plan will do before it starts, and reports whether
// there is anything to do.
func (e *Engine) announce(items []plan.Item) bool {
	needed := false
	for _, item := range items {
		if item.Work.Needed {
			needed = true
			progress.Say(e.sink, fmt.Sprintf("%s: %s", item.Title, item.Work.Summary))
		}
	}
	return needed
}

// upRun is one run of up. Its fields are what steps find out for those after
// them; a step writes only its own.
type upRun struct {
	*Engine
	settled settled
	options UpOptions

	registry endpoint
	cluster  cluster.State
	live     live
}

func (r *upRun) close() {
	if r.live != nil {
		r.live.Close()
	}
}

func (r *upRun) registryAddr() string {
	if !r.registry.Addr.IsValid() {
		return ""
	}
	return r.registry.Addr.String()
}

// steps are the plan of up, top to bottom.
func (r *upRun) steps() []plan.Step {
	steps := []plan.Step{
		{ID: "preflight", Title: "Machine", Observe: r.observeMachine, Act: nothingToDo},
		{ID: "registry", Title: "Local registry", After: []string{"preflight"}, Observe: r.observeRegistry, Act: r.ensureRegistry},
		{ID: "images", Title: "Images", After: []string{"registry"}, Observe: r.observeImages, Act: r.copyImages},
		{ID: "node", Title: "Node image", After: []string{"preflight"}, Observe: r.observeNode, Act: r.loadNode},
		{ID: "cluster", Title: "Cluster", After: []string{"node", "registry"}, Observe: r.observeCluster, Act: r.ensureCluster},
		{ID: "context", Title: "Context", After: []string{"cluster"}, Observe: r.observeContext, Act: r.mergeContext},
	}
	last := []string{"images", "context"}
	for _, p := range r.settled.parts {
		id := "stack/" + p.Name
		after := []string{"images", "context"}
		for _, required := range p.Requires {
			after = append(after, "stack/"+required)
		}
		steps = append(steps, plan.Step{
			ID: id, Title: p.Name, After: after,
			Observe: func(ctx context.Context) (plan.Work, error) { return r.observePart(ctx, p) },
			Act:     func(ctx context.Context) (string, error) { return r.applyPart(ctx, p) },
		})
		last = append(last, id)
	}
	return append(steps,
		plan.Step{ID: "prune", Title: "Removed components", After: last, Observe: r.observeRemoved, Act: r.prune},
		plan.Step{ID: "record", Title: "Record", After: []string{"prune"}, Observe: r.observeRecord, Act: r.record},
	)
}

func nothingToDo(context.Context) (string, error) { return "", nil }

func (r *upRun) observeMachine(ctx context.Context) (plan.Work, error) {
	facts, err := r.machine(ctx, r.settled)
	if err != nil {
		return plan.Work{}, err
	}
	return plan.Nothing("%s", facts), nil
}

func (r *upRun) observeRegistry(ctx context.Context) (plan.Work, error) {
	got, err := r.world.Registry(nil).Get(ctx)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return plan.Todo("start the local registry"), nil
	case err != nil:
		return plan.Work{}, err
	case !got.Running:
		return plan.Todo("start the local registry again"), nil
	}
	r.registry = got
	return plan.Nothing("runs at %s", got.Addr), nil
}

func (r *upRun) ensureRegistry(ctx context.Context) (string, error) {
	image, err := r.registryImage(ctx)
	if err != nil {
		return "", err
	}
	if r.registry, err = r.world.Registry(&image).Ensure(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("runs at %s", r.registry.Addr), nil
}

func (r *upRun) observeImages(ctx context.Context) (plan.Work, error) {
	var missing []lock.Image
	for _, i := range r.settled.lock.Images {
		if r.registry.Addr.IsValid() {
			has, err := r.world.Target(r.registry.Addr).Has(ctx, i.Repository, manifestOf(i))
			if err != nil {
				return plan.Work{}, err
			}
			if has {
				continue
			}
		}
		missing = append(missing, i)
	}
	if len(missing) == 0 {
		return plan.Nothing("%d are there", len(r.settled.lock.Images)), nil
	}
	work := plan.Todo("copy %d of %d", len(missing), len(r.settled.lock.Images))
	for _, i := range missing {
		work.Copy += i.Size
	}
	lost, err := r.lost(ctx, missing)
	if err != nil {
		return plan.Work{}, err
	}
	switch work.Build = len(lost); {
	case r.settled.lock.Origin == images.FromRegistry:
		work.Download, work.Copy = work.Copy, 0
		work.Summary += fmt.Sprintf(", %s to download", size(work.Download))
	case len(lost) > 0:
		work.Summary += fmt.Sprintf(", and build first, since the store does not have them: %s", strings.Join(lost, ", "))
	default:
		work.Summary += fmt.Sprintf(", %s", size(work.Copy))
	}
	return work, nil
}

func (r *upRun) copyImages(ctx context.Context) (string, error) {
	var refs []images.Ref
	for _, i := range r.settled.lock.Images {
		refs = append(refs, i.Ref())
	}
	origin, err := r.origin(ctx, r.settled.lock, r.settled.lock.Images)
	if err != nil {
		return "", err
	}
	copier := images.Copier{From: origin, To: r.world.Target(r.registry.Addr), Sink: r.sink, Platforms: platformsOf(r.settled.lock)}
	copied, err := copier.Copy(ctx, refs...)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("copied %d blobs, %s; %d were there", copied.Blobs, size(copied.Bytes), copied.Present), nil
}

func (r *upRun) observeNode(ctx context.Context) (plan.Work, error) {
	node := r.settled.lock.Node
	if node.Image.Origin == images.FromRegistry {
		return plan.Nothing("%s, pulled by kind", node.Image.Ref()), nil
	}
	switch _, err := r.world.Daemon.Image(ctx, nodeName(node)); {
	case fault.KindOf(err) == fault.NotFound:
		work := plan.Todo("load the node image, %s", size(node.Image.Size))
		work.Copy = node.Image.Size
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
		Name: r.settled.file.Metadata.Name, Owner: r.settled.file.Dir, Image: image, Nodes: kind.Nodes,
		Mirror: cluster.Mirror{URL: r.world.Registry(nil).NodeURL(), CA: r.proxyCA},
	}
}

func (r *upRun) observeCluster(ctx context.Context) (plan.Work, error) {
	name := r.settled.file.Metadata.Name
	got, err := r.world.Clusters.Get(ctx, name)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return plan.Todo("create %s, Kubernetes %s", cluster.ContextName(name), r.settled.lock.Kubernetes), nil
	case err != nil:
		return plan.Work{}, err
	case got.Phase == cluster.Stopped:
		return plan.Todo("start %s again", got.Name), nil
	case got.Phase != cluster.Running:
		return plan.Todo("finish making %s", got.Name), nil
	}
	image, err := r.nodeImage(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return plan.Work{}, err
	}
	if err := r.spec(image).Differs(got); err == nil || image.Ref == "" {
		r.cluster = got
		return plan.Nothing("%s runs", got.Name), r.connect()
	}
	return plan.Todo("bring %s to what the project asks for", got.Name), nil
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
	return fmt.Sprintf("%s answers at %s", r.cluster.Name, r.cluster.Server), r.connect()
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
		return plan.Todo("put %s into the kubeconfig", r.cluster.Name), nil
	}
	return plan.Nothing("%s is in the kubeconfig", r.cluster.Name), nil
}

func (r *upRun) mergeContext(context.Context) (string, error) {
	return r.world.Kubeconfig.Merge(r.cluster, r.options.UseContext)
}

func (r *upRun) observePart(ctx context.Context, p part) (plan.Work, error) {
	if r.live == nil {
		return plan.Todo("apply %d objects", len(p.rendered.Objects)), nil
	}
	changes, err := r.live.Plan(ctx, p)
	if err != nil {
		return plan.Work{}, err
	}
	if changes.Changed() {
		return plan.Todo("%s", counts(changes)), nil
	}
	ready, why, err := r.live.Current(ctx, p)
	if err != nil {
		return plan.Work{}, err
	}
	if !ready {
		return plan.Todo("wait until it is ready: %s", why), nil
	}
	return plan.Nothing("%d objects unchanged, ready", len(changes)), nil
}

func (r *upRun) applyPart(ctx context.Context, p part) (string, error) {
	changes, err := r.live.Apply(ctx, p)
	if err != nil {
		return "", err
	}
	if err := r.live.Ready(ctx, p); err != nil {
		return "", err
	}
	return counts(changes) + ", ready", nil
}

// removed are the components that the cluster holds and the project does not.
func (r *upRun) removed(ctx context.Context) ([]string, error) {
	if r.live == nil {
		return nil, nil
	}
	names, err := r.live.Sets(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(r.settled.parts, func(p part) bool { return p.Name == name })
	}), nil
}

func (r *upRun) observeRemoved(ctx context.Context) (plan.Work, error) {
	names, err := r.removed(ctx)
	if err != nil {
		return plan.Work{}, err
	}
	if len(names) == 0 {
		return plan.Nothing("none"), nil
	}
	return plan.Todo("remove %s, which the project no longer has", strings.Join(names, ", ")), nil
}

func (r *upRun) prune(ctx context.Context) (string, error) {
	names, err := r.removed(ctx)
	if err != nil {
		return "", err
	}
	var said []string
	for _, name := range names {
		changes, err := r.live.Remove(ctx, name)
		if err != nil {
			return "", err
		}
		said = append(said, fmt.Sprintf("%s: %s", name, counts(changes)))
	}
	return strings.Join(said, "; "), nil
}

// wanted is the record of a stack that is up whole.
func (r *upRun) wanted(before state.Record) state.Record {
	after := before
	after.Cluster = state.Cluster{Name: r.cluster.Name, Context: cluster.ContextName(r.settled.file.Metadata.Name), APIPort: portOf(r.cluster.Server)}
	if len(r.cluster.Nodes) > 0 {
		after.Cluster.Node = r.cluster.Nodes[0].ID
	}
	after.Registry = state.Registry{Container: r.registry.ID, Port: int(r.registry.Addr.Port())}
	after.Lock = r.settled.digest.String()
	after.Components = nil
	for _, c := range r.settled.lock.Components {
		after.Components = append(after.Components, state.Component{Name: c.Name, Rendered: c.Rendered.String()})
	}
	return after
}

func (r *upRun) observeRecord(context.Context) (plan.Work, error) {
	before, err := r.records.Load()
	if err != nil {
		return plan.Work{}, err
	}
	if r.live != nil && sameRecord(before, r.wanted(before)) {
		return plan.Nothing("is up to date"), nil
	}
	return plan.Todo("remember what is up"), nil
}

func (r *upRun) record(context.Context) (string, error) {
	before, err := r.records.Load()
	if err != nil {
		return "", err
	}
	after := r.wanted(before)
	return "remembered", r.records.Save(after)
}

func counts(c apply.ChangeSet) string {
	var parts []string
	for _, change := range []apply.Change{apply.Created, apply.Configured, apply.Deleted, apply.Skipped, apply.Unchanged} {
		if n := c.Count(change); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, change))
		}
	}
	if len(parts) == 0 {
		return "no objects"
	}
	return strings.Join(parts, ", ")
}
