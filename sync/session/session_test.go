package session_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
)

func TestBothWays(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, "src/train.py", "print(1)")
	p.write(p.remote, "out/model.txt", "weights")
	s, _ := p.start()
	p.has(p.remote, "src/train.py", "print(1)")
	p.has(p.local, "out/model.txt", "weights")
	st := p.status(s, inSync)
	require.True(t, st.Clean(), "%+v", st)

	p.write(p.local, "src/train.py", "print(2)")
	p.has(p.remote, "src/train.py", "print(2)")
	p.write(p.remote, "src/train.py", "print(3)")
	p.has(p.local, "src/train.py", "print(3)")
	p.write(p.local, "src/deep/er/a.py", "a")
	p.has(p.remote, "src/deep/er/a.py", "a")
	p.remove(p.local, "src/deep")
	p.lacks(p.remote, "src/deep")
	require.NoError(t, os.Rename(filepath.Join(p.remote, "out"), filepath.Join(p.remote, "results")))
	p.has(p.local, "results/model.txt", "weights")
	p.lacks(p.local, "out")
	require.NoError(t, os.Symlink("train.py", filepath.Join(p.local, "src", "link")))
	p.eventually(func() bool {
		to, err := os.Readlink(filepath.Join(p.remote, "src", "link"))
		return err == nil && to == "train.py"
	}, "the link")
	require.NoError(t, os.Chmod(filepath.Join(p.local, "src", "train.py"), 0o755))
	p.eventually(func() bool {
		info, err := os.Stat(filepath.Join(p.remote, "src", "train.py"))
		return err == nil && info.Mode()&0o100 != 0
	}, "the execute bit")
	st = p.status(s, inSync)
	require.Equal(t, content(t, p.local), content(t, p.remote))
	require.Positive(t, st.ToRemote.Edits)
	require.Positive(t, st.ToLocal.Edits)
	require.Positive(t, st.Traffic.Sent)
	t.Logf("to the pod %v, from it %v", st.ToRemote, st.ToLocal)
}

func TestConflictsWaitForAPerson(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, name := range []string{"a", "b", "c"} {
		p.write(p.local, name, "base")
	}
	s, stop := p.start()
	p.status(s, inSync)
	p.has(p.remote, "c", "base")
	stop()
	for _, name := range []string{"a", "b", "c"} {
		p.write(p.local, name, "mine")
		p.write(p.remote, name, "theirs")
	}
	s, _ = p.start()
	st := p.status(s, func(st session.Status) bool { return inSync(st) && len(st.Conflicts) == 3 })
	require.False(t, st.Clean())
	require.EqualValues(t, "a", st.Conflicts[0].Path)
	require.Equal(t, map[string]string{".": "a folder", "a": "mine", "b": "mine", "c": "mine"}, content(t, p.local))
	require.NoError(t, s.Resolve(t.Context(), "a", session.KeepLocal))
	require.NoError(t, s.Resolve(t.Context(), "b", session.KeepRemote))
	require.NoError(t, s.Resolve(t.Context(), "c", session.KeepBoth))
	require.Error(t, s.Resolve(t.Context(), "d", session.KeepBoth))
	p.has(p.remote, "a", "mine")
	p.has(p.local, "b", "theirs")
	p.has(p.remote, "c", "mine")
	p.has(p.remote, "c.kfdev-conflict-remote", "theirs")
	p.has(p.local, "c.kfdev-conflict-remote", "theirs")
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
	require.Equal(t, content(t, p.local), content(t, p.remote))
}

// twoCells is a notebook: the source of two cells and the output of the second.
func twoCells(first, second, output string) string {
	return fmt.Sprintf(`{
 "cells": [
  {
   "cell_type": "code",
   "execution_count": null,
   "id": "one",
   "metadata": {},
   "outputs": [],
   "source": [
    %q
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "id": "two",
   "metadata": {},
   "outputs": [%s],
   "source": [
    %q
   ]
  }
 ],
 "metadata": {},
 "nbformat": 4,
 "nbformat_minor": 5
}
`, first, output, second)
}

func TestNotebooksAreMerged(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	nb := twoCells
	p.write(p.local, "a.ipynb", nb("x = 1", "print(x)", ""))
	s, stop := p.start()
	p.status(s, inSync)
	p.has(p.remote, "a.ipynb", nb("x = 1", "print(x)", ""))
	// The content is kept once what was agreed on is written down.
	p.eventually(func() bool {
		kept, _ := filepath.Glob(filepath.Join(p.state, "contents", "*"))
		return len(kept) == 1
	}, "the ancestor is kept")
	stop()
	output := `
    {
     "name": "stdout",
     "output_type": "stream",
     "text": [
      "1\n"
     ]
    }
   `
	p.write(p.local, "a.ipynb", nb("x = 2", "print(x)", ""))
	p.write(p.remote, "a.ipynb", nb("x = 1", "print(x)", output))
	s, _ = p.start()
	p.has(p.remote, "a.ipynb", nb("x = 2", "print(x)", output))
	p.has(p.local, "a.ipynb", nb("x = 2", "print(x)", output))
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
}

func TestAnEmptiedRootHalts(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for i := range 5 {
		p.write(p.local, fmt.Sprintf("f%d", i), "x")
	}
	s, stop := p.start()
	p.status(s, inSync)
	p.has(p.remote, "f4", "x")
	stop()
	for i := range 5 {
		p.remove(p.local, fmt.Sprintf("f%d", i))
	}
	s, _ = p.start()
	st := p.status(s, func(st session.Status) bool { return st.State == session.Halted })
	require.Equal(t, reconcile.RootEmptied, st.Halt.Reason)
	p.has(p.remote, "f4", "x")
	require.NoError(t, s.Resume(t.Context(), session.AcceptDeletes))
	p.lacks(p.remote, "f4")
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
	require.Error(t, s.Resume(t.Context(), session.AcceptDeletes))
}

// Another folder in the place of the one that was: whether a volume is missing
// or somebody began anew, only a person knows.
func TestARootThatWasReplacedByAnEmptyOneHalts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		loser, keeper  func(*pair) string
		whileItRuns    bool
		how            session.Resumption
		comes, remains bool
	}{
		{"here, while it runs", localOf, remoteOf, true, session.BringBack, true, true},
		{"here, between two runs", localOf, remoteOf, false, session.BringBack, true, true},
		{"here, and it was meant", localOf, remoteOf, true, session.AcceptDeletes, false, false},
		{"in the pod, while it runs", remoteOf, localOf, true, session.BringBack, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			for i := range 5 {
				p.write(p.local, fmt.Sprintf("f%d", i), "x")
			}
			s, stop := p.start()
			p.status(s, inSync)
			p.has(p.remote, "f4", "x")
			if !tc.whileItRuns {
				stop()
			}
			root := tc.loser(p)
			require.NoError(t, os.Rename(root, root+"-aside"))
			require.NoError(t, os.Mkdir(root, 0o755))
			if !tc.whileItRuns {
				s, _ = p.start()
			}
			st := p.status(s, func(st session.Status) bool { return st.State == session.Halted })
			require.Equal(t, reconcile.RootEmptied, st.Halt.Reason)
			p.has(tc.keeper(p), "f4", "x")
			require.NoError(t, s.Resume(t.Context(), tc.how))
			p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
			for root, there := range map[string]bool{tc.loser(p): tc.comes, tc.keeper(p): tc.remains} {
				if there {
					p.has(root, "f4", "x")
				} else {
					p.lacks(root, "f4")
				}
			}
		})
	}
}

func localOf(p *pair) string  { return p.local }
func remoteOf(p *pair) string { return p.remote }

func TestUndoBringsBack(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, "a", "one")
	p.write(p.local, "b", "b")
	s, _ := p.start()
	p.has(p.remote, "a", "one")
	p.status(s, inSync)
	p.write(p.local, "a", "two")
	p.has(p.remote, "a", "two")
	p.status(s, inSync)
	undone, err := s.Undo(t.Context())
	require.NoError(t, err)
	require.Equal(t, []session.Name{"a"}, undone.Paths)
	p.has(p.remote, "a", "one")
	p.has(p.local, "a", "one")
	p.remove(p.local, "b")
	p.lacks(p.remote, "b")
	p.status(s, inSync)
	_, err = s.Undo(t.Context())
	require.NoError(t, err)
	p.has(p.remote, "b", "b")
	p.has(p.local, "b", "b")
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
}

// A new container has the image's files and none of what was synced.
func TestAReplacedPodGetsWhatItLacks(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, "a", "new")
	p.write(p.local, "gone", "x")
	s, _ := p.start()
	p.has(p.remote, "gone", "x")
	p.status(s, inSync)
	p.remove(p.local, "gone")
	p.lacks(p.remote, "gone")
	p.status(s, inSync)

	old := p.remote
	p.mu.Lock()
	p.remote += "-2"
	p.place = "two"
	require.NoError(t, os.Mkdir(p.remote, 0o755))
	for name, content := range map[string]string{"a": "of the image", "gone": "of the image", "only": "of the image"} {
		require.NoError(t, os.WriteFile(filepath.Join(p.remote, name), []byte(content), 0o644))
	}
	require.NoError(t, p.conn.Close())
	p.mu.Unlock()
	p.has(p.remote, "a", "new")
	p.has(p.local, "only", "of the image")
	st := p.status(s, inSync)
	require.True(t, st.Clean(), "%+v", st)
	require.NotContains(t, content(t, p.local), "gone")
	require.Contains(t, content(t, old), "a")
}

// The entry in kfdev.yaml leads to another pod by now, with another person's
// files.
func TestAnotherTargetIsNoReplacedPod(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, "a", "mine")
	p.write(p.local, "gone", "x")
	s, stop := p.start()
	p.has(p.remote, "gone", "x")
	p.status(s, inSync)
	p.remove(p.local, "gone")
	p.lacks(p.remote, "gone")
	p.status(s, inSync)
	stop()
	p.remote += "-2"
	p.place = "two"
	p.config.Target = "pod/of-another"
	p.write(p.remote, "a", "theirs")
	p.write(p.remote, "gone", "theirs")
	s, stop = p.start()
	st := p.status(s, func(st session.Status) bool { return inSync(st) && len(st.Conflicts) == 1 })
	require.EqualValues(t, "a", st.Conflicts[0].Path)
	require.Equal(t, "theirs", content(t, p.remote)["a"])
	p.has(p.local, "gone", "theirs")
	require.NoError(t, s.Resolve(t.Context(), "a", session.KeepRemote))
	p.has(p.local, "a", "theirs")
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
	stop()

	// The same container, but somebody has cleaned up what is the sync's own.
	p.remove(p.remote, endpoint.StateDir)
	p.write(p.remote, "a", "edited there")
	p.write(p.local, "a", "edited here")
	s, _ = p.start()
	p.status(s, func(st session.Status) bool { return inSync(st) && len(st.Conflicts) == 1 })
	require.Equal(t, "edited there", content(t, p.remote)["a"])
}

func TestLostConnectionsAreMadeAgain(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s, _ := p.start()
	p.status(s, inSync)
	for i := range 5 {
		p.mu.Lock()
		require.NoError(t, p.conn.Close())
		p.mu.Unlock()
		p.write(p.local, "a", fmt.Sprint("mine ", i))
		p.write(p.remote, "b", fmt.Sprint("theirs ", i))
		p.has(p.remote, "a", fmt.Sprint("mine ", i))
		p.has(p.local, "b", fmt.Sprint("theirs ", i))
	}
	st := p.status(s, inSync)
	require.True(t, st.Clean(), "%+v", st)
}

func TestOneWayModes(t *testing.T) {
	t.Parallel()
	for mode, want := range map[reconcile.Mode]struct{ local, remote map[string]string }{
		reconcile.OneWay:        {map[string]string{"a": "mine", ".": "a folder"}, map[string]string{"a": "mine", "b": "theirs", ".": "a folder"}},
		reconcile.OneWayReplica: {map[string]string{"a": "mine", ".": "a folder"}, map[string]string{"a": "mine", ".": "a folder"}},
		reconcile.Pull:          {map[string]string{"a": "mine", "b": "theirs", ".": "a folder"}, map[string]string{"b": "theirs", ".": "a folder"}},
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.config.Mode = mode
			p.write(p.local, "a", "mine")
			p.write(p.remote, "b", "theirs")
			s, _ := p.start()
			if mode == reconcile.OneWayReplica {
				p.halted(s, reconcile.FirstReplica)
				p.has(p.remote, "b", "theirs")
				require.NoError(t, s.Resume(t.Context(), session.AcceptDeletes))
			}
			p.status(s, inSync)
			require.Equal(t, want.local, content(t, p.local))
			require.Equal(t, want.remote, content(t, p.remote))
		})
	}
}

func TestRulesAreReadAgain(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, ".gitignore", "*.log\n")
	p.write(p.local, "a.log", "secret")
	p.write(p.local, "b", "b")
	s, _ := p.start()
	p.has(p.remote, "b", "b")
	p.status(s, inSync)
	require.NotContains(t, content(t, p.remote), "a.log")
	p.write(p.local, ".gitignore", "b\n")
	p.has(p.remote, "a.log", "secret")
	p.write(p.local, "b", "not synced any more")
	p.write(p.local, "c", "c")
	p.has(p.remote, "c", "c")
	p.status(s, inSync)
	require.Equal(t, "b", content(t, p.remote)["b"])
}

func TestOnChange(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.config.OnChange = []string{"pytest", "-q"}
	p.write(p.local, "a", "a")
	s, _ := p.start()
	st := p.status(s, func(st session.Status) bool { return st.LastRun != nil })
	require.Equal(t, 3, st.LastRun.Code)
	require.Equal(t, "ran", st.LastRun.Output)
	p.write(p.local, "a", "b")
	p.eventually(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.runs) == 2
	}, "a run for the edit")
}

func TestFinalErrorsEndIt(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.config.Connect = func(context.Context, []byte, func(string)) (session.Link, error) {
		return nil, session.Final(errors.New("no rights"))
	}
	err := session.New(p.config).Run(t.Context())
	require.ErrorContains(t, err, "no rights")
}

// A session that is stopped while a file is on its way knows that it arrived.
func TestStoppingWaitsForWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, "a", "0")
	s, stop := p.start()
	p.status(s, inSync)
	for i := range 20 {
		p.write(p.local, "a", fmt.Sprint("seen ", i))
		p.has(p.remote, "a", fmt.Sprint("seen ", i)) // its outcome may still be on its way
		stop()
		p.write(p.local, "a", fmt.Sprint("edited ", i))
		s, stop = p.start()
		p.has(p.remote, "a", fmt.Sprint("edited ", i))
		require.Empty(t, p.status(s, inSync).Conflicts)
	}
}

// Decisions hold that come while the sides are busy with others.
func TestManyConflictsAreResolvedAtOnce(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	const n = 12
	name := func(i int) string { return fmt.Sprintf("f%02d", i) }
	for i := range n {
		p.write(p.local, name(i), "base")
	}
	s, stop := p.start()
	p.has(p.remote, name(n-1), "base")
	p.status(s, inSync)
	stop()
	mine, theirs := strings.Repeat("mine ", 200_000), strings.Repeat("theirs ", 200_000)
	for i := range n {
		p.write(p.local, name(i), mine)
		p.write(p.remote, name(i), theirs)
	}
	s, _ = p.start()
	p.status(s, func(st session.Status) bool { return inSync(st) && len(st.Conflicts) == n })
	keeps := []session.Keep{session.KeepLocal, session.KeepRemote, session.KeepBoth}
	for i := range n {
		require.NoError(t, s.Resolve(t.Context(), name(i), keeps[i%3]))
	}
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
	for i := range n {
		want := map[session.Keep]string{session.KeepLocal: mine, session.KeepRemote: theirs, session.KeepBoth: mine}[keeps[i%3]]
		p.has(p.local, name(i), want)
		p.has(p.remote, name(i), want)
		if keeps[i%3] == session.KeepBoth {
			p.has(p.local, name(i)+".kfdev-conflict-remote", theirs)
			p.has(p.remote, name(i)+".kfdev-conflict-remote", theirs)
		}
	}
}
