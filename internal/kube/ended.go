package kube

import (
	"context"
	"errors"
	"fmt"
)

// ended prefers the context's own end over the error that it caused.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}
