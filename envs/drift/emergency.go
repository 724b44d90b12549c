package drift

import (
	"fmt"
	"slices"
	"time"

	"github.com/kfdev/kfdev/stack/policy"
)

// emergency reports whether a place is an entry that lets one image in past the
// lock.
func (c *comparison) emergency(at spot) bool {
	return c.want.object.GroupVersionKind().Group == policy.Resource().Group && c.want.object.Kind == "AllowedImages" &&
		len(at.steps) == 3 && at.steps[0].Key == "spec" && at.steps[1].Key == "breakGlass"
}

// letIn reports an emergency entry: it is drift for as long as it is there, and
// mending does not take one that is still good away from whoever needs it.
func (c *comparison) letIn(at spot, live value, n *node) {
	at.top = at.steps // this entry goes, and no other
	c.report(ForeignField, at, value{}, live, n)
	f := &c.findings[len(c.findings)-1]
	digest := at.steps[2].Key
	entry := policy.Entry{Digest: "sha256:" + digest}
	if allowed, err := policy.Parse(c.live); err == nil {
		if i := slices.IndexFunc(allowed.BreakGlass, func(e policy.Entry) bool { return e.Digest == entry.Digest }); i >= 0 {
			entry = allowed.BreakGlass[i]
		}
	}
	f.stays = !entry.Expired(c.now)
	f.Why = emergencyWhy(entry, f.stays)
}

// emergencyWhy says what an entry is.
func emergencyWhy(e policy.Entry, good bool) string {
	until := "no time that can be read"
	if !e.Expires.IsZero() {
		until = e.Expires.UTC().Format(time.RFC3339)
	}
	if good {
		return fmt.Sprintf("an emergency entry lets an image in that the release does not have, until %s: %s, says %s. It is drift until it is withdrawn", until, e.Reason, e.By)
	}
	return fmt.Sprintf("an emergency entry has expired and lets nothing in any more. It was good until %s: %s, said %s. Mending takes it out", until, e.Reason, e.By)
}
