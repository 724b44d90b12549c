package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/folder"
	"github.com/kfdev/kfdev/sync/ignore"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is two real folders, with the whole protocol between them.
type pair struct {
	t             testing.TB
	local, remote string
	state         string
	config        session.Config

	mu     sync.Mutex
	place  string
	cutAt  int64 // bytes after which the next connection breaks; 0: never
	conn   net.Conn
	events []session.Event
	served sync.WaitGroup
	links  int
	runs   []string
}

func newPair(tb testing.TB) *pair {
	tb.Helper()
	var p *pair
	tb.Cleanup(func() {
		if tb.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, e := range p.events {
				tb.Logf("%s %s %s %s %+v %+v %+v", e.Time.Format("05.000"), e.Kind, e.State, e.Text, e.Batch, e.Problem, e.Conflict)
			}
		}
	})
	base := tb.TempDir()
	p = &pair{t: tb, local: filepath.Join(base, "local"), remote: filepath.Join(base, "remote"), state: filepath.Join(base, "state"), place: "one"}
	require.NoError(tb, os.Mkdir(p.local, 0o755))
	require.NoError(tb, os.Mkdir(p.remote, 0o755))
	guard, err := ignore.OpenGuard(p.local, filepath.Join(p.state, "rules.json"))
	require.NoError(tb, err)
	p.config = session.Config{
		Name: "test", Local: p.local, Remote: p.remote, Target: "pod/test", State: p.state,
		IsRuleFile: ignore.IsRuleFile,
		Rules:      func() (session.Rules, error) { return guard.Load() },
		Arriving:   guard.Arriving,
		Open: func(ctx context.Context, rules session.Rules) (session.Folder, error) {
			return folder.Open(ctx, folder.Options{
				Root: p.local, Session: "test", Rules: rules, ParseRules: folder.ParseRules, Memory: filepath.Join(p.state, "folder"),
			})
		},
		Connect: p.connect,
		Events: func(e session.Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, e)
		},
	}
	return p
}

// link is the laptop's end.
type link struct {
	*wire.Remote
	place string
}

func (l link) Pod() string     { return "pod test" }
func (l link) Place() string   { return l.place }
func (l link) Notes() []string { return nil }

// cutting is a pipe that breaks after some bytes were written to it.
type cutting struct {
	net.Conn
	left *int64
	mu   *sync.Mutex
}

func (c cutting) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *c.left >= 0 {
		if int64(len(b)) > *c.left {
			n, _ := c.Conn.Write(b[:*c.left])
			*c.left = 0
			return n, errors.Join(io.ErrClosedPipe, c.Close())
		}
		*c.left -= int64(len(b))
	}
	return c.Conn.Write(b)
}

func (p *pair) connect(ctx context.Context, rules []byte, _ func(string)) (session.Link, error) {
	here, there := net.Pipe()
	p.mu.Lock()
	left := int64(-1)
	if p.cutAt > 0 {
		left, p.cutAt = p.cutAt, 0
	}
	place := p.place
	p.conn = there
	p.links++
	p.mu.Unlock()
	life, cancel := context.WithCancel(context.Background())
	p.served.Go(func() {
		defer cancel()
		_ = wire.Serve(life, there, folder.Opener(progress.Discard), wire.Options{Run: p.run})
	})
	r, err := wire.Dial(ctx, cutting{here, &left, &sync.Mutex{}}, wire.Open{Session: "test", Root: p.remote, Rules: rules}, wire.Options{})
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		<-r.Done()
		_ = there.Close()
	}()
	return link{r, place}, nil
}

func (p *pair) run(_ context.Context, argv []string, _ string, stdout, _ io.Writer) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs = append(p.runs, strings.Join(argv, " "))
	_, err := fmt.Fprint(stdout, "ran")
	return 3, err
}

// start runs a session until the end of the test, or until the returned function
// is called.
func (p *pair) start() (*session.Session, func()) {
	p.t.Helper()
	s := session.New(p.config)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	once := sync.OnceFunc(func() {
		cancel()
		require.NoError(p.t, <-done)
		p.served.Wait()
	})
	p.t.Cleanup(once)
	return s, once
}

func (p *pair) write(side, name, content string) {
	p.t.Helper()
	path := filepath.Join(side, filepath.FromSlash(name))
	require.NoError(p.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(p.t, os.WriteFile(path, []byte(content), 0o644))
}

func (p *pair) remove(side, name string) {
	p.t.Helper()
	require.NoError(p.t, os.RemoveAll(filepath.Join(side, filepath.FromSlash(name))))
}

// content is all that is in a folder, without what is the sync's own.
func content(tb testing.TB, root string) map[string]string {
	tb.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch rel, _ := filepath.Rel(root, path); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return err
		case d.Name() == endpoint.StateDir:
			return filepath.SkipDir
		case d.Type().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			all[rel] = string(b)
		case d.IsDir():
			all[rel] = "a folder"
		default:
			all[rel], _ = os.Readlink(path)
		}
		return nil
	})
	require.NoError(tb, err)
	return all
}

// eventually waits for what a session does.
func (p *pair) eventually(is func() bool, what string) {
	p.t.Helper()
	deadline := time.After(20 * time.Second)
	for tick := time.NewTicker(2 * time.Millisecond); !is(); {
		select {
		case <-tick.C:
		case <-deadline:
			require.Fail(p.t, "it never came to it: "+what)
		}
	}
}

func (p *pair) has(side, name, want string) {
	p.t.Helper()
	p.eventually(func() bool {
		b, err := os.ReadFile(filepath.Join(side, filepath.FromSlash(name)))
		return err == nil && string(b) == want
	}, name+" holds "+want)
}

func (p *pair) lacks(side, name string) {
	p.t.Helper()
	p.eventually(func() bool {
		_, err := os.Lstat(filepath.Join(side, filepath.FromSlash(name)))
		return errors.Is(err, os.ErrNotExist)
	}, name+" is gone")
}

// status waits for a state and returns all that is known then.
func (p *pair) status(s *session.Session, is func(session.Status) bool) session.Status {
	p.t.Helper()
	var st session.Status
	p.eventually(func() bool {
		var err error
		st, err = s.Status(p.t.Context())
		require.NoError(p.t, err)
		return is(st)
	}, "the status")
	return st
}

func inSync(s session.Status) bool { return s.State == session.InSync }
