package ledger

import (
	"context"
	"fmt"

	"github.com/kfdev/kfdev/internal/fault"
)

// Update changes the ledger and returns it as written. The change may be called
// several times, each time with what the ledger says now. It is refused with an
// ErrFenced where the lease is held no more: the ledger itself carries the
// epoch of its last holder, so that this is certain even where this process
// was stopped between two requests.
func (l *Lease) Update(ctx context.Context, change func(*Ledger) error) (Ledger, error) {
	for {
		if err := l.Fence(ctx); err != nil {
			return Ledger{}, err
		}
		have, object, err := l.store.read(ctx)
		if err != nil {
			return Ledger{}, err
		}
		if object == nil {
			return Ledger{}, &fault.Error{
				Op: "writing what the environment remembers", Subject: "ConfigMap " + place, Err: errGone,
				Hint: "promote again: that begins a new one",
			}
		}
		if have.Epoch > l.epoch || have.Epoch == l.epoch && have.Holder != l.identity {
			err := lost(fmt.Errorf("%s took over", person(have.Holder)))
			l.lose(err)
			return Ledger{}, err
		}
		if err := change(&have); err != nil {
			return Ledger{}, err
		}
		have.Cluster, have.Epoch, have.Holder = l.cluster, l.epoch, l.identity
		written, err := l.store.write(ctx, object, have)
		if written || err != nil {
			return have, err
		}
	}
}
