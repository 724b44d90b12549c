package drift

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
)

// Where a baseline lies, in the namespace of kfdev's own.
const (
	baselineLabel  = "kfdev.dev/drift-baseline"
	baselinePrefix = "kfdev-baseline-"
	baselineKey    = "baseline"
)

func configMaps() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
}

// Settle takes a baseline: it reads everything, and records what is as the
// release says. What drifted is not recorded, so that every scan looks at it
// again. It is to be called when a promotion has settled.
func (d *Detector) Settle(ctx context.Context, wanted Wanted) (Report, error) {
	if wanted.Release == "" {
		return Report{}, &fault.Error{Op: "recording the baseline", Err: fmt.Errorf("the release has no digest")}
	}
	s, err := d.scan(ctx, wanted, Options{Full: true})
	if err != nil {
		return Report{}, err
	}
	b := baseline{Release: wanted.Release, Rules: d.rules.Digest(), Objects: s.settled}
	if err := d.store(ctx, b); err != nil {
		return s.report, &fault.Error{Op: "recording the baseline", Subject: apply.SystemNamespace, Err: err}
	}
	return s.report, nil
}

// store writes the parts, each whole; a reader takes them only where all are of
// one baseline.
func (d *Detector) store(ctx context.Context, b baseline) error {
	parts, err := b.encode()
	if err != nil {
		return err
	}
	maps := d.client.Dynamic.Resource(configMaps()).Namespace(apply.SystemNamespace)
	names := map[string]bool{}
	for _, p := range parts {
		text, err := json.Marshal(p)
		if err != nil {
			return err
		}
		name := fmt.Sprint(baselinePrefix, p.Part)
		names[name] = true
		data, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": name, "namespace": apply.SystemNamespace,
				"labels": map[string]any{baselineLabel: "true", "app.kubernetes.io/managed-by": "kfdev"}},
			"data": map[string]any{baselineKey: string(text)},
		})
		if err != nil {
			return err
		}
		force := true // it is kfdev's alone
		if _, err := maps.Patch(ctx, name, types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: apply.Manager, Force: &force}); err != nil {
			return err
		}
	}
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: baselineLabel})
	if err != nil {
		return err
	}
	for _, o := range list.Items {
		if !names[o.GetName()] {
			if err := maps.Delete(ctx, o.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}

// readBaseline reads the baseline, where there is one that counts. One that
// cannot be read, or is of another release, makes the scan slower and no less
// right.
func (s *scan) readBaseline(ctx context.Context, full bool) error {
	if full {
		s.report.Baseline = "not asked"
		return nil
	}
	list, err := s.client.Dynamic.Resource(configMaps()).Namespace(apply.SystemNamespace).
		List(ctx, metav1.ListOptions{LabelSelector: baselineLabel})
	if err != nil {
		s.report.Baseline = "cannot be read: " + err.Error()
		return ctx.Err()
	}
	var texts []string
	for _, o := range list.Items {
		text, _, _ := unstructured.NestedString(o.Object, "data", baselineKey)
		texts = append(texts, text)
	}
	b, err := decode(texts)
	switch {
	case err != nil:
		s.report.Baseline = "none that counts: " + err.Error()
	case b.Release != s.wanted.Release || b.Release == "":
		s.report.Baseline = "none that counts: it is of another release"
	case b.Rules != s.rules.Digest():
		s.report.Baseline = "none that counts: it was taken by other rules"
	default:
		s.baseline, s.report.Baseline = b, "used"
	}
	return nil
}
