package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kfdev/kfdev/internal/fault"
)

// format is the version of the form.
const format = "kfdev.dev/ledger/v1alpha1"

// What a ledger may hold. All of it fits into a ConfigMap, which takes 1 MiB.
const (
	maxSize    = 960 << 10 // bytes of the form
	maxHistory = 20
	maxJournal = 1000
	maxKept    = 10_000
	maxText    = 4 << 10 // bytes of a reason
)

type file struct {
	Format string `json:"format"`
	Ledger
}

// Encode writes the ledger in its one form, and refuses what Decode would.
func Encode(l Ledger) ([]byte, error) {
	l.Kept = slices.Compact(slices.Sorted(slices.Values(l.Kept)))
	slices.SortFunc(l.Profiles, func(a, b Profile) int { return strings.Compare(a.Name, b.Name) })
	if err := l.check(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(file{Format: format, Ledger: l}); err != nil {
		return nil, err
	}
	if out.Len() > maxSize {
		return nil, fmt.Errorf("it is %d bytes long: at most %d are kept", out.Len(), maxSize)
	}
	return out.Bytes(), nil
}

// Decode reads what Encode writes, and nothing else.
func Decode(data []byte) (Ledger, error) {
	if len(data) > maxSize {
		return Ledger{}, fmt.Errorf("it is %d bytes long: at most %d are read", len(data), maxSize)
	}
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil { // one value, and nothing after it
		return Ledger{}, err
	}
	if head.Format != format {
		return Ledger{}, fmt.Errorf("its format %q is not known to this kfdev, which reads %s", head.Format, format)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var in file
	if err := d.Decode(&in); err != nil {
		return Ledger{}, err
	}
	again, err := Encode(in.Ledger)
	if err != nil {
		return Ledger{}, err
	}
	if !bytes.Equal(again, data) {
		return Ledger{}, errors.New("it is not in the form that kfdev writes: it was edited by hand")
	}
	return in.Ledger, nil
}

// checks gathers what is wrong with a ledger.
type checks struct {
	problems []error
	form     *regexp.Regexp
}

func (c *checks) bad(form string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(form, args...))
}

func (c *checks) digests(place string, all ...string) {
	for _, s := range all {
		if s != "" && !c.form.MatchString(s) {
			c.bad("%s: %.80q is no digest", place, s)
		}
	}
}

func (c *checks) texts(place string, all ...string) {
	for _, s := range all {
		if len(s) > maxText || !utf8.ValidString(s) {
			c.bad("%s: a text of %d bytes; up to %d of UTF-8 are taken", place, len(s), maxText)
		}
	}
}

func (c *checks) most(what string, n, most int) {
	if n > most {
		c.bad("%d %s: at most %d are kept", n, what, most)
	}
}

func (c *checks) entry(place string, e *Entry) {
	if e == nil {
		return
	}
	if e.Release == "" {
		c.bad("%s names no release", place)
	}
	c.digests(place, e.Release, e.Lock)
	c.texts(place, e.By, e.Repository)
}

func (l *Ledger) check() error {
	c := &checks{form: regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)}
	if l.Cluster == "" {
		c.bad("it names no cluster")
	}
	if l.Epoch < 0 {
		c.bad("its epoch is %d", l.Epoch)
	}
	if l.Underway && l.Attempted == nil {
		c.bad("a promotion is under way that was never begun")
	}
	c.entry("inForce", l.InForce)
	c.entry("complete", l.Complete)
	c.entry("attempted", l.Attempted)
	c.texts("cluster, project, holder or failed", l.Cluster, l.Project, l.Holder, l.Failed)
	if v := l.Verified; v != nil {
		c.digests("verified", v.Release, v.Fingerprint)
		for _, r := range v.Results {
			c.texts("verified", r.Name, r.Failed)
		}
	}
	for _, s := range l.Journal {
		if !slices.Contains([]StepName{Copied, Pulled, Applied, Ready, Checked, Recorded}, s.Name) {
			c.bad("journal: the step %.80q is not known", s.Name)
		}
		c.texts("journal", s.Subject, s.Hash)
	}
	for _, p := range l.History {
		c.entry("history", &p.Entry)
		c.texts("history", p.Failed)
	}
	for _, p := range l.Profiles {
		c.texts("profiles", p.Name, p.UID)
	}
	c.digests("kept", l.Kept...)
	c.most("promotions in its history", len(l.History), maxHistory)
	c.most("steps", len(l.Journal), maxJournal)
	c.most("kept digests", len(l.Kept), maxKept)
	return errors.Join(c.problems...)
}

// shortened cuts a reason to what a ledger takes.
func shortened(s string) string {
	const dots = " …"
	s = strings.ToValidUTF8(strings.TrimSpace(s), "?")
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText-len(dots)], "") + dots
}

// unreadable is a ledger that something else than kfdev wrote.
func unreadable(err error) error {
	return &fault.Error{
		Op: "reading what the environment remembers", Subject: "ConfigMap " + place, Err: err,
		Hint: "it was edited by hand, or written by a later kfdev, which then reads it; to begin anew (what was promoted, and when, is forgotten; the objects stay): " +
			"kubectl -n " + namespace + " delete configmap " + name + ", then promote again",
	}
}
