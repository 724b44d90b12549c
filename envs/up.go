package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/envs/plan"
	"github.com/kfdev/kfdev/envs/state"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/progress"
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

// PlanUp says what Up would do, and changes nothing. Where that is to lock
// first, and images are to be built for it, what follows depends on what these
// come to. The plan is whole also where the error says that the machine has too
// little for it.
func (e *Engine) PlanUp(ctx context.Context, o UpOptions) ([]plan.Item, error) {
	s, err := e.settled(ctx)
	if refreshed(err) && !o.Locked {
		return e.planFromLock(ctx, o, err)
	}
	if err != nil {
		return nil, err
	}
	return e.planSettled(ctx, s, o)
}

func (e *Engine) planSettled(ctx context.Context, s settled, o UpOptions) ([]plan.Item, error) {
	run, err := newUpRun(e, s, o)
	if err != nil {
		return nil, err
	}
	defer run.close()
	items, err := plan.Observe(ctx, run.steps())
	if err != nil {
		return nil, err
	}
	return items, run.enough(items)
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
	run, err := newUpRun(e, s, o)
	if err != nil {
		return result, err
	}
	defer run.close()
	steps := run.steps()
	items, err := plan.Observe(ctx, steps)
	if err != nil {
		return result, err
	}
	if e.announce(items) {
		if err := run.enough(items); err != nil {
			return result, err
		}
		if err := e.claim(ctx); err != nil {
			return result, err
		}
		result.Steps, err = plan.Run(ctx, steps, e.sink)
	} else {
		result.Steps = plan.Skipped(items)
	}
	if err == nil {
		err = e.recordDev(ctx, s)
	}
	result.Project, result.Context = s.file.Metadata.Name, cluster.ContextName(s.file.Metadata.Name)
	result.Lock, result.Registry = s.digest.String(), run.registryAddr()
	result.Changed = slices.ContainsFunc(result.Steps, func(o plan.Outcome) bool { return o.State == progress.Done })
	result.Took = time.Since(start)
	return result, err
}

// claim records, before anything is made, that the project has a cluster here:
// what other projects of this user share with it then stays. The steps after it
// look again, so that what another project took away just before is made anew.
func (e *Engine) claim(ctx context.Context) (err error) {
	release, err := state.AcquireShared(ctx, e.dirs.State, e.command, e.sink)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	r, err := e.records.Load()
	if err != nil || r.Cluster.Name != "" {
		return err
	}
	r.Cluster.Name = e.file.Metadata.Name
	r.Cluster.Context = cluster.ContextName(r.Cluster.Name)
	return e.records.Save(r)
}

// announce says what a plan will do before it starts, and on what machine, and
// reports whether there is anything to do.
func (e *Engine) announce(items []plan.Item) bool {
	if !slices.ContainsFunc(items, func(i plan.Item) bool { return i.Work.Needed }) {
		return false
	}
	for _, item := range items {
		if item.Work.Needed || item.ID == machineStep {
			progress.Say(e.sink, fmt.Sprintf("%s: %s", item.Title, item.Work.Summary))
		}
	}
	return true
}

// machineStep only looks: at what the stack takes, and what the machine has.
const machineStep = "preflight"

// clusterStep makes the cluster, or starts it.
const clusterStep = "cluster"

// upRun is one run of up. Its fields are what steps find out for those after
// them; a step writes only its own.
type upRun struct {
	*Engine
	settled settled
	options UpOptions

	proxyCA  []byte // that nodes trust, beside the system's
	dataRoot string // where Docker keeps its data, on its own machine
	owner    string // of the cluster: the folder that the project was in when it was made
	registry endpoint
	toCopy   int64 // surely, bytes
	closures map[images.Ref]images.Closure
	cluster  cluster.State
	live     live
	// policy warns of images from outside the lock; nil where the project has dev
	// alone.
	policy func() (part, error)
}

func newUpRun(e *Engine, s settled, o UpOptions) (*upRun, error) {
	ca, err := proxyCA(e.getenv)
	if err != nil {
		return nil, err
	}
	r := &upRun{Engine: e, settled: s, options: o, owner: s.file.Dir, proxyCA: ca, closures: map[images.Ref]images.Closure{}}
	if len(s.file.Environments.Others) > 0 {
		r.policy = sync.OnceValues(func() (part, error) { return devPolicy(s) })
		go r.policy() //nolint:errcheck // it takes half a second, and its step asks again
	}
	return r, nil
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
		{ID: machineStep, Title: "Machine", Observe: r.observeMachine, Act: nothingToDo},
		{ID: "registry", Title: "Local registry", After: []string{machineStep}, Observe: r.observeRegistry, Act: r.ensureRegistry},
		{ID: "images", Title: "Images", After: []string{"registry"}, Observe: r.observeImages, Act: r.copyImages},
		{ID: "node", Title: "Node image", After: []string{machineStep}, Observe: r.observeNode, Act: r.loadNode},
		{ID: clusterStep, Title: "Cluster", After: []string{"node", "registry"}, Observe: r.observeCluster, Act: r.ensureCluster},
		{ID: "context", Title: "Context", After: []string{clusterStep}, Observe: r.observeContext, Act: r.mergeContext},
	}
	before := []string{"images", "context"}
	if len(r.file.Environments.Dev.Secrets) > 0 {
		steps = append(steps, plan.Step{ID: secretsStep, Title: "Secrets", After: []string{"context"}, Observe: r.observeSecrets, Act: r.ensureSecrets})
		before = append(before, secretsStep)
	}
	last := slices.Clone(before)
	for _, p := range r.settled.parts {
		id := "stack/" + p.Name
		after := slices.Clone(before)
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
	if r.policy != nil {
		id := "stack/" + policySet
		steps = append(steps, plan.Step{ID: id, Title: policySet, After: []string{"images", "context"}, Observe: r.observePolicy, Act: r.applyPolicy})
		last = append(last, id)
	}
	return append(steps,
		plan.Step{ID: "prune", Title: "Removed components", After: last, Observe: r.observeRemoved, Act: r.prune},
		plan.Step{ID: "record", Title: "Record", After: []string{"prune"}, Observe: r.observeRecord, Act: r.record},
	)
}

func nothingToDo(context.Context) (string, error) { return "", nil }

func (r *upRun) observeMachine(ctx context.Context) (plan.Work, error) {
	facts, err := r.machine(ctx)
	if err != nil {
		return plan.Work{}, err
	}
	return plan.Nothing("%s", facts), nil
}
