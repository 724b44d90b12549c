package root

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
)

func sitePlanText(w io.Writer, p envs.SitePlan) error {
	fmt.Fprintf(w, "%s: release %s", p.Environment, release.Short(p.Release))
	switch {
	case p.InForce == p.Release:
		fmt.Fprint(w, ", which is in force")
	case p.InForce != "":
		fmt.Fprintf(w, ", in place of %s", release.Short(p.InForce))
	}
	if p.Resumes {
		fmt.Fprint(w, "; goes on with an attempt that was cut off")
	}
	fmt.Fprintln(w)
	imagesText(w, p)
	for _, e := range p.Expired {
		fmt.Fprintf(w, "  expired    the difference %s, on %s; its owner is %s\n", e.ID, e.Expires, e.Owner)
	}
	unchanged := setsText(w, p.Sets) + secretsText(w, p.Secrets)
	if p.Key == "" && len(p.Secrets) > 0 {
		fmt.Fprintln(w, "  there is no key for hashes of Secrets yet, or it may not be read: this plan holds to which are written, and not to their values")
	}
	leavingText(w, p)
	if unchanged > 0 {
		fmt.Fprintf(w, "  %d objects unchanged\n", unchanged)
	}
	for _, v := range p.Verify {
		fmt.Fprintf(w, "  verify     %s\n", v)
	}
	return nil
}

func imagesText(w io.Writer, p envs.SitePlan) {
	for _, i := range p.Images {
		fmt.Fprintf(w, "  copy       %s to %s, %s\n", i.From, i.To, bytesOf(i.Size))
	}
	if len(p.Images) > 0 {
		fmt.Fprintf(w, "  %d images to copy: %s, less what the registry has of their blobs\n", len(p.Images), bytesOf(p.Bytes))
	}
}

// setsText tells of the objects that change, and returns how many do not.
func setsText(w io.Writer, sets []envs.PlannedSet) (unchanged int) {
	for _, s := range sets {
		for _, o := range s.Objects {
			if o.Change == apply.Unchanged && o.Blocked == "" && len(o.Conflicts) == 0 {
				unchanged++
				continue
			}
			proposedText(w, s.Set, o)
		}
		for _, o := range s.Seeded {
			if o.Change != apply.Unchanged {
				fmt.Fprintf(w, "  %-10s %s (%s) made in the cluster, and nowhere else\n", o.Change, o.Object, s.Set)
			}
		}
	}
	return unchanged
}

// leavingText tells of components that go, and of what teams left behind.
func leavingText(w io.Writer, p envs.SitePlan) {
	for _, r := range p.Removed {
		if len(r.Objects) == 0 {
			fmt.Fprintf(w, "  %-10s what is recorded of %s, which is no part of the release; nothing else of it is there\n", apply.Deleted, r.Set)
		}
		for _, o := range r.Objects {
			proposedText(w, r.Set+" is no part of the release", o)
		}
	}
	for _, o := range p.Orphaned {
		fmt.Fprintf(w, "  orphaned   namespace %s: its profile left the project on %s\n", o.Namespace, o.Since.Local().Format("2006-01-02"))
	}
}

// secretsText tells of the Secrets that change, and returns how many do not.
func secretsText(w io.Writer, all []seed.GivenChange) (unchanged int) {
	for _, c := range all {
		if c.Change == apply.Unchanged {
			unchanged++
			continue
		}
		fmt.Fprintf(w, "  %-10s %s (secrets) of values that are given\n", c.Change, c.Object)
		if c.Unchecked != "" {
			fmt.Fprintf(w, "               not checked: %s\n", c.Unchecked)
		}
	}
	return unchanged
}

func proposedText(w io.Writer, set string, o apply.Proposed) {
	fmt.Fprintf(w, "  %-10s %s (%s)", o.Change, o.Object, set)
	if o.Reason != "" {
		fmt.Fprintf(w, " %s", o.Reason)
	}
	fmt.Fprintln(w)
	for _, f := range o.Fields {
		fmt.Fprintf(w, "               %s: %s -> %s\n", f.Path, shownValue(f.From), shownValue(f.To))
	}
	for _, c := range o.Conflicts {
		taken := "conflict: "
		if c.Force {
			taken = "taken from "
		}
		fmt.Fprintf(w, "               %s%s holds %s\n", taken, c.Manager, c.Field)
	}
	if o.Blocked != "" {
		fmt.Fprintf(w, "               refused: %s\n", o.Blocked)
	}
	if o.Unchecked != "" {
		fmt.Fprintf(w, "               not checked: %s\n", o.Unchecked)
	}
}

// shownLength is how much of a value a line shows.
const shownLength = 120

func shownValue(v any) string {
	data, err := json.Marshal(v)
	if err != nil || v == nil {
		return "nothing"
	}
	if len(data) > shownLength {
		return string(data[:shownLength]) + "…"
	}
	return string(data)
}
