package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kfdev/kfdev/sync/tree"
)

// Limits are what may be deleted without a person's word. The zero value is the
// default: a batch halts where it deletes more than DefaultCount paths of a side
// and these are more than DefaultPercent of what the side has. Both must be
// exceeded, so that neither a small folder that is tidied up nor a branch switch
// in a large tree halts, and a tree that is nearly gone does.
type Limits struct {
	Count   int // more than so many paths; 0 means that no count is set
	Percent int // more than so many of a hundred paths; 0 means that none is set
	Off     bool
}

// The default limits.
const (
	DefaultCount   = 50
	DefaultPercent = 50
)

// ParseLimits reads --max-delete: a count ("200"), a percentage ("25%"), or
// "off"; "" is the default. A person who names one limit means that alone.
func ParseLimits(s string) (Limits, error) {
	switch s {
	case "":
		return Limits{}, nil
	case "off":
		return Limits{Off: true}, nil
	}
	digits, percent := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || percent && n > 100 {
		return Limits{}, errors.New("it must be a count of paths (200), a percentage (25%), or off")
	}
	if percent {
		return Limits{Percent: n}, nil
	}
	return Limits{Count: n}, nil
}

func (l Limits) exceeded(deletes, of int) bool {
	if l == (Limits{}) {
		l = Limits{Count: DefaultCount, Percent: DefaultPercent}
	}
	return !l.Off && deletes > l.Count && deletes*100 > of*l.Percent
}

func (l Limits) String() string {
	switch {
	case l == Limits{}:
		return fmt.Sprintf("%d paths and %d%%", DefaultCount, DefaultPercent)
	case l.Off:
		return "off"
	case l.Percent > 0:
		return fmt.Sprintf("%d%%", l.Percent)
	}
	return fmt.Sprintf("%d paths", l.Count)
}

// Reason is why a batch is halted.
type Reason string

// The reasons.
const (
	RootGone    Reason = "root-gone"    // a side's root is not there any more
	RootType    Reason = "root-type"    // a side's root is no folder any more
	RootEmptied Reason = "root-emptied" // a side's root is empty, and was not
	ManyDeletes Reason = "many-deletes" // more is deleted than the limits allow
	// FirstReplica: what only the remote side has would go at the first sync.
	FirstReplica Reason = "first-replica"
)

// Halt says that a result must not be applied without a person's word.
type Halt struct {
	Reason Reason
	// Loser is the side that would lose files; Cause is the one that did.
	Loser, Cause Preference
	Deletes      int  // paths that the loser would lose
	Of           int  // paths that it has
	Before       int  // paths that it lost just before; see Lost
	Since        bool // the root is there again, and not with all that it had; see Unmended
	Limits       Limits
}

// Lost is how many paths each side has lost just before, in batches that were
// small enough: a large folder that is deleted is seen in pieces.
type Lost struct{ Local, Remote int }

// Error says what was found.
func (h *Halt) Error() string {
	lost := fmt.Sprintf("%d of %d paths would be deleted on the %s side", h.Deletes, h.Of, h.Loser)
	if h.Before > 0 {
		lost = fmt.Sprintf("%d paths were deleted on the %s side just now, and %d of the %d others would be", h.Before, h.Loser, h.Deletes, h.Of)
	}
	if h.Since {
		return fmt.Sprintf("the %s folder was gone or empty all at once, and is not what it was; %s", h.Cause, lost)
	}
	switch h.Reason {
	case RootGone:
		return fmt.Sprintf("the %s folder is gone; %s", h.Cause, lost)
	case RootType:
		return fmt.Sprintf("the %s folder is no folder any more; %s", h.Cause, lost)
	case RootEmptied:
		return fmt.Sprintf("the %s folder is empty all at once; %s", h.Cause, lost)
	case FirstReplica:
		return fmt.Sprintf("%d of %d paths are on the %s side alone, and the mode one-way-replica would delete them", h.Deletes, h.Of, h.Loser)
	case ManyDeletes:
	}
	return fmt.Sprintf("%s, more than --max-delete allows (%s)", lost, h.Limits)
}

// Hint says what a person can do.
func (h *Halt) Hint() string {
	switch h.Reason {
	case FirstReplica:
		return "another mode (one-way, two-way-safe) keeps them"
	case ManyDeletes:
		return fmt.Sprintf("bring back what was deleted on the %s side, if that was not meant", h.Cause)
	case RootGone, RootType, RootEmptied:
	}
	return fmt.Sprintf("bring the %s folder back (a volume that is not mounted looks like this)", h.Cause)
}

// Guard looks at a result before it is applied, and returns why it must not be,
// or nil. A root that is gone, empty or no folder halts where anything would be
// deleted for it, whatever the limits; one path that was alone may go.
func Guard(base, local, remote *tree.Tree, result Result, limits Limits) *Halt {
	return GuardAfter(base, local, remote, result, limits, Lost{})
}

// GuardAfter is Guard, where the limits count what was lost before, too.
func GuardAfter(base, local, remote *tree.Tree, result Result, limits Limits, lost Lost) *Halt {
	if h := guard(base, local, remote, result.ToRemote, limits, lost.Remote); h != nil {
		h.Cause, h.Loser = PreferLocal, PreferRemote
		return h
	}
	if h := guard(base, remote, local, result.ToLocal, limits, lost.Local); h != nil {
		h.Cause, h.Loser = PreferRemote, PreferLocal
		return h
	}
	return nil
}

// GuardFirst is GuardAfter for OneWayReplica. What the remote side has alone when
// the two sides meet for the first time was never sent there, so that the limits
// that nobody named do not hold for it.
func GuardFirst(base, local, remote *tree.Tree, result Result, limits Limits, lost Lost) *Halt {
	h := GuardAfter(base, local, remote, result, limits, lost)
	deletes := Deletions(result.ToRemote)
	if h != nil && h.Reason != ManyDeletes || base.Root().Kind != tree.Absent || deletes == 0 || limits != (Limits{}) {
		return h
	}
	return &Halt{Reason: FirstReplica, Cause: PreferLocal, Loser: PreferRemote, Deletes: deletes, Of: remote.Len(), Limits: limits}
}

func guard(base, cause, loser *tree.Tree, changes []tree.Change, limits Limits, lost int) *Halt {
	deletes, moved := deletions(changes)
	if deletes == 0 && !slices.ContainsFunc(changes, takesRoot) {
		return nil
	}
	h := &Halt{Deletes: deletes, Of: loser.Len(), Limits: limits}
	root := cause.Root()
	switch {
	case root.Kind == tree.Absent:
		h.Reason = RootGone
	case root.Kind != tree.Dir:
		h.Reason = RootType
	case cause.Len() == 0 && base.Len() > 1:
		h.Reason = RootEmptied
	case deletes > moved && limits.exceeded(deletes-moved+lost, loser.Len()+lost):
		h.Reason, h.Deletes, h.Before = ManyDeletes, deletes-moved, lost
	default:
		return nil
	}
	return h
}

// Deletions is how many paths changes take away that come again nowhere in them.
func Deletions(changes []tree.Change) int {
	deletes, moved := deletions(changes)
	return deletes - moved
}

// takesRoot is true for a change after which there is no root folder.
func takesRoot(c tree.Change) bool {
	return c.Path == "" && c.From.Kind == tree.Dir && c.To.Kind != tree.Dir
}

// deletions counts what goes away below the root, and how much of that comes again at another
// path in the same changes: a renamed folder is no deletion.
func deletions(changes []tree.Change) (deletes, moved int) {
	come := map[tree.Entry]int{}
	for _, c := range changes {
		if c.To.Kind != tree.Absent && c.To != c.From {
			c.To.Exec = false
			come[c.To]++
		}
	}
	for _, c := range changes {
		if c.To.Kind != tree.Absent || c.Path == "" {
			continue
		}
		deletes++
		c.From.Exec = false
		if come[c.From] > 0 {
			come[c.From]--
			moved++
		}
	}
	return deletes, moved
}
