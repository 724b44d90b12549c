package policy

import (
	"context"

	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/stack/apply"
)

// Needs are the rights that keeping the parameter takes: to read and to narrow
// it, and to see what still names images of before (see Retain).
func Needs(ctx context.Context, client *kube.Client) ([]apply.Missing, error) {
	kinds, err := client.Mapper.Kinds(ctx)
	if err != nil {
		return nil, err
	}
	needs := apply.Need("for the images that are let in", "get patch", Resource().GroupResource().String(), "")
	for _, kind := range kinds {
		if kind.List && namesImages(kind.Kind.GroupKind()) {
			needs = append(needs, apply.Need("to see what still names images of before", "list", kind.Resource.GroupResource().String(), "")...)
		}
	}
	return needs, nil
}
