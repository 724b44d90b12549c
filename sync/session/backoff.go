package session

import (
	"math/rand/v2"
	"time"
)

// backoff is how long to wait before the next try.
type backoff struct {
	first, last, delay time.Duration
}

// next is how long to wait now: at first not at all, then longer and longer, a
// part of it by chance, so that many who lost one server do not come back in step.
func (b *backoff) next() time.Duration {
	d := b.delay
	b.delay = min(max(2*b.delay, b.first), b.last)
	return d - time.Duration(rand.Int64N(int64(d)/4+1)) //nolint:gosec // no secret
}

func (b *backoff) reset() { b.delay = 0 }
