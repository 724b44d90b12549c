package envs

import (
	"errors"
	"fmt"
	"time"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/internal/fault"
)

// ExpiredDifference is an entry of a release whose last day has passed.
type ExpiredDifference struct {
	ID      string          `json:"id"`
	Owner   string          `json:"owner"`
	Expires difference.Date `json:"expires"`
}

// expired are the release's own: an earlier one keeps what it was made with.
func (m made) expired(now time.Time) []ExpiredDifference {
	all := []ExpiredDifference{}
	for _, e := range difference.Expired(m.Differences, now) {
		all = append(all, ExpiredDifference{ID: e.ID, Owner: e.Owner, Expires: e.Expires})
	}
	return all
}

func (e ExpiredDifference) reason() error {
	return fmt.Errorf("the difference %s has expired on %s: %s is to renew it or to take it out", e.ID, e.Expires, e.Owner)
}

// Closed is a fault of kind Gate where the plan's promotion would be refused as
// things are, though the cluster would take it: for a difference that has
// expired. What environments before have in force is judged by Promote alone.
func (p SitePlan) Closed() error {
	var closed []error
	for _, e := range p.Expired {
		closed = append(closed, e.reason())
	}
	if len(closed) == 0 {
		return nil
	}
	return &fault.Error{Op: "promoting to", Subject: p.Environment, Kind: fault.Gate, Err: errors.Join(closed...)}
}
