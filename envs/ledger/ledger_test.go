package ledger

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/envs/release"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func at(minute int) time.Time { return time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC) }

func entry(n, minute int) Entry {
	return Entry{Release: digest(n), Lock: digest(100 + n), Repository: "registry.example/releases", By: "ana", At: at(minute)}
}

func full() Ledger {
	l := Ledger{Cluster: "uid", Epoch: 7, Holder: "ana#0011"}
	l.Begin(entry(1, 0))
	l.Enforce(at(1))
	l.Verify(Verification{Release: digest(1), Fingerprint: digest(9), At: at(2), Results: []release.Result{{Name: "pipelines"}, {Name: "notebook", Failed: "no & <page>"}}})
	l.Finish(at(3))
	l.SetProfiles([]Profile{{Name: "b", UID: "u"}, {Name: "a"}}, at(3))
	l.Begin(entry(2, 4))
	l.Start(Copied, "", at(4))
	l.End(Copied, "", "", at(5))
	l.Start(Applied, "core", at(5))
	l.Kept = []string{digest(5), digest(4), digest(5)}
	return l
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	data, err := Encode(full())
	require.NoError(t, err)
	back, err := Decode(data)
	require.NoError(t, err)
	again, err := Encode(back)
	require.NoError(t, err)
	require.Equal(t, string(data), string(again))
	require.Equal(t, []string{digest(4), digest(5)}, back.Kept)
	require.Equal(t, "a", back.Profiles[0].Name)
	require.False(t, back.Verified.Passed())
}

func TestDecodeIsStrict(t *testing.T) {
	t.Parallel()
	data, err := Encode(full())
	require.NoError(t, err)
	text := string(data)
	for says, broken := range map[string]string{
		"invalid character":               "garbage",
		"unexpected end":                  text[:len(text)/2],
		"not known to this kfdev":         strings.Replace(text, "v1alpha1", "v9", 1),
		"unknown field":                   strings.Replace(text, `"cluster":`, `"colour":"red","cluster":`, 1),
		"after top-level value":           text + "{}",
		"edited by hand":                  strings.Replace(text, ",", ", ", 1),
		"is no digest":                    strings.ReplaceAll(text, digest(1), "sha256:1"),
		"it names no cluster":             strings.Replace(text, `"cluster":"uid"`, `"cluster":""`, 1),
		`the step "set guessed"`:          strings.Replace(text, "set applied", "set guessed", 1),
		"its epoch is -7":                 strings.Replace(text, `"epoch":7`, `"epoch":-7`, 1),
		"at most 983040 are read":         strings.Repeat(" ", maxSize+1),
		"a text of 5000 bytes":            strings.Replace(text, "no & <page>", strings.Repeat("x", 5000), 1),
		"by hand":                         strings.Replace(text, `"cluster":"uid"`, `"cluster":"other","cluster":"uid"`, 1),
		"under way that was never begun":  strings.Replace(strings.Replace(text, `"attempted"`, `"x"`, 1), `"x"`, `"complete"`, 1),
		"cannot parse":                    strings.Replace(text, "2026-03-01T12:00:00Z", "yesterday", 1),
		"cannot unmarshal string into Go": strings.Replace(text, `"epoch":7`, `"epoch":"7"`, 1),
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			_, err := Decode([]byte(broken))
			require.ErrorContains(t, err, says)
		})
	}
	long := full()
	for i := range maxKept + 1 {
		long.Kept = append(long.Kept, digest(i))
	}
	_, err = Encode(long)
	require.ErrorContains(t, err, "at most 10000 are kept")
}

func TestTheLargestLedgerFitsIntoAConfigMap(t *testing.T) {
	t.Parallel()
	l := full()
	for i := range maxKept {
		l.Kept = append(l.Kept, digest(i))
	}
	l.Kept = l.Kept[3:]
	for i := range maxHistory + 5 {
		l.Begin(entry(i+10, i))
		l.Fail(digest(i+10), strings.Repeat("why ", 300), at(i))
	}
	for i := range 100 {
		l.End(Applied, fmt.Sprint("component-", i), digest(i), at(1))
	}
	data, err := Encode(l)
	require.NoError(t, err)
	require.Less(t, len(data), 1<<20)
	require.Len(t, l.History, maxHistory)
}

func TestAnAttemptIsResumedOnlyForTheSameRelease(t *testing.T) {
	t.Parallel()
	var l Ledger
	require.False(t, l.Begin(entry(1, 0)))
	l.End(Copied, "", "", at(1))
	l.End(Applied, "core", "h1", at(2))
	l.Start(Applied, "hub", at(2))
	require.False(t, l.Done(Applied, "hub", "h2"))

	// It was cut off: the same release goes on, without the step that did not end.
	require.True(t, l.Begin(entry(1, 3)))
	require.True(t, l.Done(Copied, "", ""))
	require.True(t, l.Done(Applied, "core", "h1"))
	require.False(t, l.Done(Applied, "core", "h2"), "done for something else")
	require.Len(t, l.Journal, 2)

	// It failed: it says so, and the next goes on.
	l.Fail(digest(2), "it was refused", at(4))
	require.True(t, l.Underway, "that was about another release")
	l.Fail(digest(1), "a pod did not start", at(4))
	require.Equal(t, "a pod did not start", l.Failed)
	require.False(t, l.Underway)
	require.Nil(t, l.Complete)
	require.True(t, l.Begin(entry(1, 5)))
	require.Empty(t, l.Failed)
	require.True(t, l.Done(Copied, "", ""))

	// Another release begins anew, and the one before is remembered as cut off.
	require.False(t, l.Begin(entry(2, 6)))
	require.Empty(t, l.Journal)
	require.Equal(t, cutOff, l.History[0].Failed)
	l.Enforce(at(7))
	l.Verify(Verification{Release: digest(2), At: at(7), Results: []release.Result{{Name: "x"}}})
	require.True(t, l.Verified.Passed())
	l.Finish(at(8))
	require.Equal(t, digest(2), l.InForce.Release)
	require.Equal(t, digest(2), l.Complete.Release)
	require.Equal(t, at(7), l.InForce.At)
	require.Empty(t, l.History[0].Failed)

	// Promoted again, it is a new attempt; in force it has been since before.
	require.False(t, l.Begin(entry(2, 9)))
	l.Enforce(at(10))
	require.Equal(t, at(7), l.InForce.At)
	require.NotNil(t, l.Verified)
	// What is verified is one release: another in force has to be verified anew.
	require.False(t, l.Begin(entry(3, 11)))
	l.Enforce(at(12))
	require.Nil(t, l.Verified)
	require.False(t, l.Verified.Passed())
}

func TestSettled(t *testing.T) {
	t.Parallel()
	var l Ledger
	step := func(do func(), is bool) {
		t.Helper()
		do()
		require.Equal(t, is, l.Settled(digest(1)))
	}
	step(func() { l.Begin(entry(1, 0)) }, false)
	step(func() { l.Enforce(at(1)) }, false)
	step(func() { l.Finish(at(2)) }, true)
	step(func() { l.Begin(entry(1, 3)) }, false)
	step(func() { l.Fail(digest(1), "a test failed", at(4)) }, false)
	step(func() { l.Begin(entry(1, 5)); l.Finish(at(6)) }, true)
	step(func() { l.Begin(entry(2, 7)); l.Enforce(at(8)); l.Finish(at(9)) }, false)
	require.True(t, l.Settled(digest(2)))
}

func TestALedgerIsOfOneProject(t *testing.T) {
	t.Parallel()
	var l Ledger
	require.Empty(t, l.Owner())
	l.Begin(Entry{Release: digest(1), Repository: "registry.example/kfdev/releases/fraud"})
	require.Equal(t, "fraud", l.Owner(), "written by an earlier kfdev")
	l.Project = "vision"
	require.Equal(t, "vision", l.Owner())
}

func TestProfilesAreOrphanedAndNotForgotten(t *testing.T) {
	t.Parallel()
	var l Ledger
	l.SetProfiles([]Profile{{Name: "ana", UID: "1"}, {Name: "ben"}}, at(0))
	l.SetProfiles([]Profile{{Name: "ana", UID: "1"}}, at(1))
	l.SetProfiles([]Profile{{Name: "ana", UID: "1"}}, at(2))
	require.Equal(t, []Profile{{Name: "ana", UID: "1"}, {Name: "ben", Orphaned: at(1)}}, l.Profiles)
	l.SetProfiles([]Profile{{Name: "ana", UID: "1"}, {Name: "ben", UID: "2"}}, at(3))
	require.Equal(t, []Profile{{Name: "ana", UID: "1"}, {Name: "ben", UID: "2"}}, l.Profiles)
	l.ForgetProfile("ben")
	require.Equal(t, []Profile{{Name: "ana", UID: "1"}}, l.Profiles)
}

func TestReasonsAreCut(t *testing.T) {
	t.Parallel()
	l := Ledger{Cluster: "uid"}
	l.Begin(entry(1, 0))
	l.Fail(l.Attempted.Release, strings.Repeat("é", maxText)+"\xff", at(1))
	_, err := Encode(l)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(l.Failed, " …"))
}

func FuzzDecode(f *testing.F) {
	data, err := Encode(full())
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte(`{"format":"kfdev.dev/ledger/v1alpha1","cluster":"u","epoch":0}` + "\n"))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(l)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, again))
	})
}
