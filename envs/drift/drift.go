// Package drift compares what is live in an environment's cluster with the
// release that is in force there: fields that changed or went, fields and
// objects that others added, images that no lock names, and fields whose owner
// changed though their value did not. What cannot be read is a finding too. A
// baseline that is stored in the cluster makes it fast; without one it is
// right, only slower.
package drift

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/noise"
	"github.com/kfdev/kfdev/stack/running"
)

// parallel is how many requests are under way at once.
const parallel = 16

// Wanted is what an environment is to be.
type Wanted struct {
	// Release is the digest of the release in force. It stands for all of the
	// sets: a baseline counts only for the very release it was taken of.
	Release string
	// Sets are those of the release for this environment, as they are applied.
	Sets []apply.Set
	// Profiles is the name of the set that holds the profiles; empty: none does.
	Profiles string
	// Images are the digests that may run; nil: images are not looked at.
	Images running.Allowed
}

// Options say how a scan looks.
type Options struct {
	// Full reads every object, whatever a baseline says.
	Full bool
}

// Detector finds drift in one cluster. It is safe for concurrent use.
type Detector struct {
	client *kube.Client
	rules  noise.Rules
	sink   progress.Sink
}

// New returns a Detector. The rules say what is no drift.
func New(client *kube.Client, rules noise.Rules, sink progress.Sink) *Detector {
	return &Detector{client: client, rules: rules, sink: sink}
}

// Scan compares the cluster with what is wanted, and writes nothing.
func (d *Detector) Scan(ctx context.Context, wanted Wanted, o Options) (Report, error) {
	s, err := d.scan(ctx, wanted, o)
	if err != nil {
		return Report{}, err
	}
	return s.report, nil
}

// scan is one scan under way, and what it learnt.
type scan struct {
	*Detector
	wanted   Wanted
	wants    map[key]*want
	baseline *baseline
	live     map[key]*meta
	lists    map[groupKind]*listing
	settled  map[key]record // what was looked at whole and had no findings
	report   Report
	collector
}

func (d *Detector) scan(ctx context.Context, wanted Wanted, o Options) (s *scan, err error) {
	task := progress.Start(d.sink, "drift/scan", "comparing the cluster with the release", 0, progress.Items)
	defer func() { task.End(err) }()
	s = &scan{Detector: d, wanted: wanted, settled: map[key]record{}}
	if err := s.run(ctx, o); err != nil {
		return nil, &fault.Error{Op: "looking for drift", Err: err}
	}
	return s, nil
}

func (s *scan) run(ctx context.Context, o Options) (err error) {
	if s.wants, err = s.prepare(ctx, s.wanted); err != nil {
		return err
	}
	group, asking := errgroup.WithContext(ctx)
	group.Go(func() error { return s.readBaseline(asking, o.Full) })
	group.Go(func() error { return s.list(asking) })
	group.Go(func() error { return s.images(asking) })
	if err := group.Wait(); err != nil {
		return err
	}
	s.unreadable()
	suspects := s.suspects()
	if err := s.look(ctx, suspects); err != nil {
		return err
	}
	s.foreignObjects()
	s.report.Release, s.report.Objects, s.report.Read = s.wanted.Release, len(s.wants), len(suspects)
	s.report.Findings = s.sorted()
	return nil
}

// suspects returns what is to be looked at whole, and reports what is not there.
func (s *scan) suspects() []*want {
	var out []*want
	for k, w := range s.wants {
		list := s.lists[groupKind{k.group, k.kind}]
		m := s.live[k]
		switch {
		case list != nil && list.err != nil:
			// Said once for the kind.
		case m == nil:
			why := "nothing of that name is there"
			if list == nil {
				why = "the cluster does not serve the kind"
			}
			s.add(w.finding(Deleted, why))
		case m.DeletionTimestamp != nil:
			f := w.finding(Deleted, "it is being deleted")
			f.seen = seen{uid: m.UID, version: m.ResourceVersion}
			s.add(f)
		case s.baseline.proves(k, m, w.generation):
			s.settled[k] = s.baseline.Objects[k]
		default:
			out = append(out, w)
		}
	}
	return out
}

// facts returns the rules with what is known of autoscalers.
func (s *scan) facts(ctx context.Context) (noise.Rules, error) {
	if l := s.lists[groupKind{"autoscaling", "HorizontalPodAutoscaler"}]; l == nil || len(l.items) == 0 {
		return s.rules, nil
	}
	list, err := s.read(ctx, groupKind{"autoscaling", "HorizontalPodAutoscaler"})
	if err != nil {
		return s.rules, fmt.Errorf("reading the autoscalers: %w", err)
	}
	return s.rules.With(noise.Facts{Autoscaled: noise.Autoscaled(list)}), nil
}

func (s *scan) read(ctx context.Context, kind groupKind) ([]*unstructured.Unstructured, error) {
	l := s.lists[kind]
	return s.objects(ctx, l.mapping, "")
}
