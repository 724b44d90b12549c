package session_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/tree"
)

// The pod's watcher misses changes while a batch is on its way there.
func TestChangesAreMissedWhileABatchArrives(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	missed, applied, goOn := make(chan error), make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	var looks, most atomic.Int64
	p.withFaults(func(f *faulty) {
		f.next = missed
		f.apply = func(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
			outcomes, err := f.Link.Apply(ctx, changes, from)
			if hold.Load() {
				applied <- struct{}{}
				<-goOn
			}
			return outcomes, err
		}
		f.scan = func(ctx context.Context) (*tree.Tree, error) {
			if now := looks.Add(1); now > most.Load() {
				most.Store(now)
			}
			defer looks.Add(-1)
			return f.Link.Scan(ctx)
		}
	})
	p.write(p.local, "a", "one")
	s, _ := p.start()
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	p.status(s, inSync)
	hold.Store(true)
	p.write(p.local, "a", "two")
	<-applied
	missed <- endpoint.ErrRescan
	p.status(s, func(st session.Status) bool { return st.State == session.Scanning })
	p.write(p.remote, "b", "while it was not watched")
	hold.Store(false)
	release()
	p.has(p.local, "b", "while it was not watched")
	p.has(p.remote, "a", "two")
	st := p.status(s, inSync)
	require.True(t, st.Clean(), "%+v", st)
	require.EqualValues(t, 1, most.Load())
	p.write(p.local, "a", "three")
	p.has(p.remote, "a", "three")
	p.write(p.remote, "a", "four")
	p.has(p.local, "a", "four")
}

// It is not known what became of a batch.
func TestABatchWhoseEndIsNotKnown(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var fail atomic.Int64
	p.withFaults(func(f *faulty) {
		f.apply = func(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
			if n := fail.Add(-1); n >= 0 {
				if n%2 == 0 { // it was done, and nobody knows
					_, _ = f.Link.Apply(ctx, changes, from)
				}
				return nil, errors.New("the disk is full")
			}
			return f.Link.Apply(ctx, changes, from)
		}
	})
	s, _ := p.start()
	p.status(s, inSync)
	for i := range 3 {
		fail.Store(2)
		p.write(p.local, "a", fmt.Sprint(i))
		p.has(p.remote, "a", fmt.Sprint(i))
		p.write(p.remote, "b", fmt.Sprint(i))
		p.has(p.local, "b", fmt.Sprint(i))
	}
	st := p.status(s, inSync)
	require.True(t, st.Clean(), "%+v", st)
}

// The rules change while there is no pod, and while they are on their way to one
// whose connection breaks.
func TestRulesChangeWithoutAConnection(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, ".gitignore", "*.log\n")
	p.write(p.local, "a.log", "here")
	p.write(p.remote, "b.log", "there")
	connecting, goOn := make(chan struct{}), make(chan struct{})
	var tries, given atomic.Int64
	p.withFaults(func(f *faulty) {
		f.rules = func(ctx context.Context, rules []byte) error {
			if given.Add(1) == 2 {
				return errors.Join(errors.New("the connection was lost"), f.Close())
			}
			return f.Link.SetRules(ctx, rules)
		}
	})
	connect := p.config.Connect
	p.config.Connect = func(ctx context.Context, rules []byte, say func(string)) (session.Link, error) {
		if tries.Add(1) == 1 {
			connecting <- struct{}{}
			<-goOn
		}
		return connect(ctx, rules, say)
	}
	loaded := make(chan struct{}, 16)
	load := p.config.Rules
	p.config.Rules = func() (session.Rules, error) {
		defer func() {
			select {
			case loaded <- struct{}{}:
			default:
			}
		}()
		return load()
	}
	s, _ := p.start()
	<-loaded
	<-connecting
	p.eventually(func() bool { // the local folder is watched
		p.write(p.local, ".gitignore", "*.txt\n")
		select {
		case <-loaded:
			return true
		case <-time.After(20 * time.Millisecond):
			p.write(p.local, ".gitignore", "*.log\n")
			return false
		}
	}, "the rules are read again")
	p.status(s, func(st session.Status) bool { return st.State == session.Connecting }) // they are known by now
	close(goOn)
	p.has(p.remote, "a.log", "here")
	p.has(p.local, "b.log", "there")
	p.status(s, inSync)
	require.Positive(t, given.Load())

	p.write(p.local, "c.txt", "here")
	p.write(p.local, ".gitignore", "nothing-of-all\n")
	p.has(p.remote, "c.txt", "here")
	p.write(p.remote, "d.txt", "there")
	p.has(p.local, "d.txt", "there")
	p.write(p.local, "e.txt", "here")
	p.has(p.remote, "e.txt", "here")
	st := p.status(s, inSync)
	require.True(t, st.Clean(), "%+v", st)
	require.Equal(t, content(t, p.local), content(t, p.remote))
}

// A rule file comes from the pod, among many others.
func TestRulesComeFromThePod(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for i := range 30 {
		p.write(p.remote, fmt.Sprintf("a%02d", i), "x")
	}
	p.write(p.remote, "sub/.gitignore", "*.log\n")
	s, _ := p.start()
	p.has(p.local, "sub/.gitignore", "*.log\n")
	p.status(s, inSync)
	p.eventually(func() bool { // until the rules are read
		name := fmt.Sprintf("sub/%d", time.Now().UnixNano())
		p.write(p.local, name+".log", "x")
		p.write(p.local, name+".py", "x")
		p.has(p.remote, name+".py", "x")
		_, err := os.Stat(filepath.Join(p.remote, name+".log"))
		return errors.Is(err, os.ErrNotExist)
	}, "the rules hold")
}

func TestAnUndoWhoseConnectionIsLostIsAnswered(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	begun := make(chan struct{})
	var lose sync.Once
	p.withFaults(func(f *faulty) {
		f.undo = func(ctx context.Context) (string, []endpoint.Update, error) {
			lost := false
			lose.Do(func() {
				close(begun)
				<-ctx.Done()
				lost = true
			})
			if lost {
				return "", nil, ctx.Err()
			}
			return f.Link.Undo(ctx)
		}
	})
	p.write(p.local, "a", "one")
	s, _ := p.start()
	p.has(p.remote, "a", "one")
	p.status(s, inSync)
	p.write(p.local, "a", "two")
	p.has(p.remote, "a", "two")
	p.status(s, inSync)
	go func() {
		<-begun
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = p.conn.Close()
	}()
	_, err := s.Undo(t.Context())
	require.ErrorContains(t, err, "not known")
	p.status(s, inSync)
	_, err = s.Undo(t.Context())
	require.NoError(t, err)
	p.has(p.local, "a", "one")
}

// What one path has to wait for is not waited for by another.
func TestProblemsAreTriedAgain(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var refuse atomic.Bool
	refuse.Store(true)
	p.withFaults(func(f *faulty) {
		f.apply = func(ctx context.Context, changes []tree.Change, from endpoint.Fetcher) ([]endpoint.Outcome, error) {
			outcomes, err := f.Link.Apply(ctx, nil, from)
			for _, c := range changes {
				o := []endpoint.Outcome{{Err: endpoint.ErrRefused}}
				if !refuse.Load() || !strings.HasPrefix(c.Path, "bad") {
					var one error
					o, one = f.Link.Apply(ctx, []tree.Change{c}, from)
					err = errors.Join(err, one)
				}
				outcomes = append(outcomes, o...)
			}
			return outcomes, err
		}
	})
	p.write(p.local, "bad", "x")
	p.write(p.local, "good", "x")
	s, _ := p.start()
	p.has(p.remote, "good", "x")
	st := p.status(s, func(st session.Status) bool { return len(st.Problems) == 1 })
	require.EqualValues(t, "bad", st.Problems[0].Path)
	require.False(t, st.Clean())
	require.NotNil(t, st.Helper)
	p.write(p.local, "good", "y")
	p.has(p.remote, "good", "y")
	refuse.Store(false)
	p.has(p.remote, "bad", "x")
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
}

// A large folder that somebody deletes is seen in pieces.
func TestADeletionInPiecesHalts(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for i := range 200 {
		p.write(p.local, fmt.Sprintf("f%03d", i), "x")
	}
	s, _ := p.start()
	p.has(p.remote, "f199", "x")
	p.status(s, inSync)
	remove := func(from, to int) {
		for i := from; i < to; i++ {
			p.remove(p.local, fmt.Sprintf("f%03d", i))
		}
	}
	remove(0, 40)
	p.lacks(p.remote, "f039")
	remove(40, 80)
	p.lacks(p.remote, "f079")
	remove(80, 125)
	st := p.status(s, func(st session.Status) bool { return st.State == session.Halted })
	require.Equal(t, reconcile.ManyDeletes, st.Halt.Reason)
	require.Contains(t, st.Halt.Hint, "kfdev sync resume test")
	p.eventually(func() bool { // all of it is known
		st, err := s.Status(t.Context())
		require.NoError(t, err)
		return st.Paths == 75
	}, "what was removed")
	require.FileExists(t, filepath.Join(p.remote, "f124"))
	require.NoError(t, s.Resume(t.Context(), session.AcceptDeletes))
	p.lacks(p.remote, "f124")
	remove(125, 140)
	p.lacks(p.remote, "f139")
	p.status(s, func(st session.Status) bool { return inSync(st) && st.Clean() })
}

// A local folder that has worked and fails is looked at until it works again.
func TestTheLocalFolderFailsForAWhile(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	fails := &failing{next: make(chan error), scans: make(chan error, 8)}
	open := p.config.Open
	p.config.Open = func(ctx context.Context, rules session.Rules) (session.Folder, error) {
		var err error
		fails.Folder, err = open(ctx, rules)
		return fails, err
	}
	p.write(p.local, "a", "one")
	s, stop := p.start()
	p.has(p.remote, "a", "one")
	p.status(s, inSync)
	for range 3 {
		fails.scans <- errors.New("the disk is away")
	}
	fails.next <- errors.New("the disk is away")
	p.write(p.local, "a", "two")
	p.has(p.remote, "a", "two")
	st := p.status(s, inSync)
	require.True(t, st.Clean(), "%+v", st)
	stop()

	// One that never worked ends the session.
	fails.scans <- errors.New("the disk is away")
	require.ErrorContains(t, session.New(p.config).Run(t.Context()), "the disk is away")
	p.served.Wait()
}
