package envs

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/noise"
)

// known are the rules for what others write without a plan being another by it:
// the project's own among them, and what autoscalers do, those that are there
// and those of the release.
func (p *promotion) known(ctx context.Context) (noise.Rules, error) {
	rules, err := p.noise()
	if err != nil {
		return rules, err
	}
	kind := schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}
	list, err := p.live.client.Dynamic.Resource(kind).List(ctx, metav1.ListOptions{})
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
		return rules, &fault.Error{Op: "looking for autoscalers", Subject: p.name, Err: err}
	}
	var all []*unstructured.Unstructured
	if list != nil {
		for i := range list.Items {
			all = append(all, &list.Items[i])
		}
	}
	for _, each := range p.parts {
		for _, o := range each.rendered.Objects {
			if o.GetKind() != "HorizontalPodAutoscaler" {
				continue
			}
			if o = o.DeepCopy(); o.GetNamespace() == "" {
				o.SetNamespace(each.Namespace)
			}
			all = append(all, o)
		}
	}
	return rules.And(noise.Renewals()).With(noise.Facts{Autoscaled: noise.Autoscaled(all)}), nil
}
