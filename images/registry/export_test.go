package registry

import (
	"context"
	"time"
)

// WithSleep returns the policy with another way to pause.
func (r Retry) WithSleep(sleep func(context.Context, time.Duration) error) Retry {
	r.sleep = sleep
	return r
}
