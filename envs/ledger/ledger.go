// Package ledger is what an environment remembers in its own cluster: which
// release is in force, which was completed and attempted last, how it was
// verified, and how far the promotion under way has come. Whoever promotes
// holds a Lease, and every write of the ledger carries the lease's epoch, so
// that one who was stopped and wakes up after another took over changes
// nothing. Nothing in it is secret.
package ledger

import (
	"cmp"
	"path"
	"slices"
	"time"

	"github.com/kfdev/kfdev/envs/release"
)

// Ledger is what an environment remembers.
type Ledger struct {
	// Cluster is the uid of kube-system: the identity of the cluster that this
	// ledger is about, so that a copy in another cluster is noticed.
	Cluster string `json:"cluster"`
	// Project is whose releases come here: what another project's release lacks
	// would be taken out. Owner also knows it where this is not said.
	Project string `json:"project,omitempty"`
	// Epoch and Holder are those of the lease under which it was last written.
	Epoch  int64  `json:"epoch"`
	Holder string `json:"holder,omitempty"`

	InForce   *Entry `json:"inForce,omitempty"`   // its objects are all applied
	Complete  *Entry `json:"complete,omitempty"`  // the last that was verified and recorded
	Attempted *Entry `json:"attempted,omitempty"` // the last that was begun
	// Underway says that Attempted has neither been completed nor failed: a
	// promotion is at work, or was cut off.
	Underway bool `json:"underway,omitempty"`
	// Failed is why the last attempt failed; empty where it did not.
	Failed   string        `json:"failed,omitempty"`
	Verified *Verification `json:"verified,omitempty"`
	// Journal is what has been done of Attempted, in order.
	Journal []Step `json:"journal,omitempty"`
	// History is the last promotions that ended, latest first.
	History []Promotion `json:"history,omitempty"`
	// Profiles are those that releases brought here, by name.
	Profiles []Profile `json:"profiles,omitempty"`
	// Kept are digests outside the release in force that stay allowed, since
	// something in the cluster still names them.
	Kept []string `json:"kept,omitempty"`
}

// Entry is one release in an environment.
type Entry struct {
	Release    string    `json:"release"`              // digest
	Lock       string    `json:"lock,omitempty"`       // the lock's digest
	Repository string    `json:"repository,omitempty"` // where the release can be pulled
	By         string    `json:"by,omitempty"`         // who promoted it
	At         time.Time `json:"at"`                   // since when
}

// Verification is how a release was found to work here.
type Verification struct {
	Release     string           `json:"release"`
	Fingerprint string           `json:"fingerprint,omitempty"` // digest of what the environment was then
	At          time.Time        `json:"at"`
	Results     []release.Result `json:"results,omitempty"`
}

// Passed reports whether every test passed; none is no pass.
func (v *Verification) Passed() bool {
	return v != nil && release.Passed(v.Results)
}

// Promotion is an attempt that ended.
type Promotion struct {
	Entry
	Ended  time.Time `json:"ended,omitzero"`   // zero: not known, since it was cut off
	Failed string    `json:"failed,omitempty"` // why; empty: it was completed
}

// Profile is a profile that a release brought here.
type Profile struct {
	Name string `json:"name"`
	UID  string `json:"uid,omitempty"` // of its namespace
	// Orphaned says since when it is in no release any more; its namespace
	// stays.
	Orphaned time.Time `json:"orphaned,omitzero"`
}

// StepName is a kind of step.
type StepName string

// The steps of a promotion.
const (
	Copied   StepName = "images copied"
	Pulled   StepName = "pull proven"
	Applied  StepName = "set applied"
	Ready    StepName = "set ready"
	Checked  StepName = "verified"
	Recorded StepName = "recorded"
)

// Step is one step of the promotion under way.
type Step struct {
	Name    StepName  `json:"name"`
	Subject string    `json:"subject,omitempty"` // the set; empty where the step is one for all
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"` // zero: under way, or cut off
	// Hash is the caller's, of what the step did it for: a step is done only
	// for the same. Empty where the release says it all.
	Hash string `json:"hash,omitempty"`
}

// cutOff is the failure of an attempt that never said how it ended.
const cutOff = "it was cut off, and another release was promoted after it"

// Begin writes down that a release is being promoted, and reports whether this
// goes on with an attempt of the same release that failed or was cut off: then
// the steps that it has done stay in the journal.
func (l *Ledger) Begin(e Entry) (resumed bool) {
	e.At = instant(e.At)
	if was := l.Attempted; was != nil && was.Release == e.Release && (l.Underway || l.Failed != "") {
		resumed = true
		l.Journal = slices.DeleteFunc(l.Journal, func(s Step) bool { return s.Ended.IsZero() })
	} else {
		if was != nil && l.Underway {
			l.remember(Promotion{Entry: *was, Failed: cutOff})
		}
		l.Journal = nil
	}
	l.Attempted, l.Underway, l.Failed = &e, true, ""
	return resumed
}

// Start writes down that a step begins.
func (l *Ledger) Start(name StepName, subject string, now time.Time) {
	l.put(Step{Name: name, Subject: subject, Started: instant(now)})
}

// End writes down that a step is done, for what hash stands for.
func (l *Ledger) End(name StepName, subject, hash string, now time.Time) {
	s := Step{Name: name, Subject: subject, Started: instant(now)}
	if i := l.step(name, subject); i >= 0 {
		s = l.Journal[i]
	}
	s.Ended, s.Hash = instant(now), hash
	l.put(s)
}

// Done reports whether the promotion under way has done a step for the same.
func (l *Ledger) Done(name StepName, subject, hash string) bool {
	i := l.step(name, subject)
	return i >= 0 && !l.Journal[i].Ended.IsZero() && l.Journal[i].Hash == hash
}

func (l *Ledger) step(name StepName, subject string) int {
	return slices.IndexFunc(l.Journal, func(s Step) bool { return s.Name == name && s.Subject == subject })
}

func (l *Ledger) put(s Step) {
	if i := l.step(s.Name, s.Subject); i >= 0 {
		l.Journal[i] = s
		return
	}
	l.Journal = append(l.Journal, s)
}

// Enforce writes down that all objects of the attempted release are applied.
// What was verified before it counts no more.
func (l *Ledger) Enforce(now time.Time) {
	if l.Attempted == nil || l.InForce != nil && l.InForce.Release == l.Attempted.Release {
		return // since when it is in force does not change
	}
	e := *l.Attempted
	e.At = instant(now)
	l.InForce, l.Verified = &e, nil
}

// Verify writes down how the release in force was found to work.
func (l *Ledger) Verify(v Verification) {
	v.At = instant(v.At)
	l.Verified = &v
}

// Finish writes down that the attempted release is complete.
func (l *Ledger) Finish(now time.Time) {
	if l.Attempted == nil || !l.Underway {
		return
	}
	e := *l.Attempted
	e.At = instant(now)
	l.Complete, l.Underway, l.Failed = &e, false, ""
	l.remember(Promotion{Entry: *l.Attempted, Ended: instant(now)})
}

// Fail writes down why the attempted release was not completed; an attempt of
// another release is not touched. Its journal stays, so that the next attempt of
// the same release goes on.
func (l *Ledger) Fail(release, why string, now time.Time) {
	if l.Attempted == nil || !l.Underway || l.Attempted.Release != release {
		return
	}
	l.Underway, l.Failed = false, cmp.Or(shortened(why), "no reason was given")
	l.remember(Promotion{Entry: *l.Attempted, Ended: instant(now), Failed: l.Failed})
}

// Owner is the project whose releases come here; empty where none has come yet.
func (l *Ledger) Owner() string {
	if l.Project != "" {
		return l.Project
	}
	for _, e := range []*Entry{l.Attempted, l.InForce, l.Complete} {
		if e != nil && e.Repository != "" {
			return path.Base(e.Repository)
		}
	}
	return ""
}

func (l *Ledger) remember(p Promotion) {
	l.History = append([]Promotion{p}, l.History...)
	l.History = l.History[:min(len(l.History), maxHistory)]
}

// Settled reports whether a release is in force and complete, and nothing came
// after it.
func (l *Ledger) Settled(release string) bool {
	return l.InForce != nil && l.InForce.Release == release && l.Complete != nil && l.Complete.Release == release && !l.Underway && l.Failed == ""
}

// SetProfiles writes down which profiles the release has. Those that it has no
// more are orphaned since now, and none is forgotten.
func (l *Ledger) SetProfiles(has []Profile, now time.Time) {
	for i, p := range l.Profiles {
		if p.Orphaned.IsZero() && !slices.ContainsFunc(has, p.named) {
			l.Profiles[i].Orphaned = instant(now)
		}
	}
	for _, p := range has {
		if i := slices.IndexFunc(l.Profiles, p.named); i >= 0 {
			l.Profiles[i] = Profile{Name: p.Name, UID: p.UID}
		} else {
			l.Profiles = append(l.Profiles, Profile{Name: p.Name, UID: p.UID})
		}
	}
}

func (p Profile) named(other Profile) bool { return p.Name == other.Name }

// ForgetProfile drops a profile whose namespace was deleted on demand.
func (l *Ledger) ForgetProfile(name string) {
	l.Profiles = slices.DeleteFunc(l.Profiles, func(p Profile) bool { return p.Name == name })
}

// instant is a time in the one form that a ledger has.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
