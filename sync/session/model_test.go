package session_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint/endpointtest"
	"github.com/kfdev/kfdev/sync/ignore"
	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/tree"
)

// nothing is the rules of who ignores nothing.
type nothing struct{}

func (nothing) Ignored(string, bool) bool { return false }
func (nothing) Bytes() []byte             { return nil }
func (nothing) Notes() []string           { return nil }
func (nothing) Held() ignore.Held         { return ignore.Held{} }
func (nothing) Accept() error             { return nil }

// wish is content that is to be at a path in the end: what was done there last.
type wish struct {
	side    string
	content string
}

// model is a history over two folders in memory, in time that is not real.
type model struct {
	t             *testing.T
	rand          *rand.Rand
	local, remote *disk
	state         string
	mode          reconcile.Mode
	n, pods       int
	log           []string
	wishes        map[string]wish
	had           map[string]bool // path and content that were together before
	image         map[string]bool // paths that the pod has from its image, and that nobody changed there since

	session *session.Session
	end     func()

	mu   sync.Mutex
	link *modelLink
	cut  int
}

func newDisk(identity string) *disk {
	return &disk{Memory: endpointtest.NewMemory(), identity: identity, fresh: true}
}

// connect makes a connection that breaks after some steps.
func (m *model) connect(context.Context, []byte, func(string)) (session.Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before := m.link; before != nil {
		before.lose()
		before.calls.Wait() // as the helper lets go of a folder before another one has it
	}
	m.link = &modelLink{disk: m.remote, place: fmt.Sprint(m.pods), done: make(chan struct{}), left: -1}
	if m.cut > 0 {
		m.link.left, m.cut = m.cut, 0
	}
	return m.link, nil
}

func (m *model) start() {
	m.session = session.New(session.Config{
		Name: "model", State: m.state, Connect: m.connect, Mode: m.mode,
		Rules: func() (session.Rules, error) { return nothing{}, nil },
		Open:  func(context.Context, session.Rules) (session.Folder, error) { return m.local, nil },
		Events: func(e session.Event) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.log = append(m.log, fmt.Sprintf("    %s %s %s %+v %+v", e.Kind, e.State, e.Text, e.Batch, e.Conflict))
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.session.Run(ctx) }()
	m.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("the session ended: %v", err)
		}
	})
}

func (m *model) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// touch forgets what was wished for at a path, above it and below it.
func (m *model) touch(path string) {
	for p := range m.wishes {
		if p == path || strings.HasPrefix(p, path+"/") || strings.HasPrefix(path, p+"/") {
			delete(m.wishes, p)
		}
	}
}

// own notes that what a side has at a path is somebody's.
func (m *model) own(side, path string) {
	for p := range m.image {
		if side == "remote" && (p == path || strings.HasPrefix(p, path+"/") || strings.HasPrefix(path, p+"/")) {
			delete(m.image, p)
		}
	}
}

// wish notes what was written last: in a replica that counts for one side alone.
// A file that is put back as it once was is no change to who compares with what
// both sides had.
func (m *model) wish(path, side, content string) {
	key := path + " " + content
	before := m.had[key]
	m.had[key] = true
	if before {
		return
	}
	if m.mode != reconcile.OneWayReplica || side == "local" {
		m.wishes[path] = wish{side, content}
	}
}

func (m *model) path() string { return places[m.rand.IntN(len(places))] }

func (m *model) side() (string, *disk) {
	if m.rand.IntN(2) == 0 {
		return "local", m.local
	}
	return "remote", m.remote
}

// person changes something on one side.
func (m *model) person() {
	name, d := m.side()
	path := m.path()
	m.touch(path)
	m.own(name, path)
	switch m.rand.IntN(5) {
	case 0:
		if i := strings.LastIndexByte(path, '/'); i > 0 && m.rand.IntN(3) == 0 {
			path = path[:i]
			m.touch(path)
			m.own(name, path)
		}
		m.say("%s: remove %s", name, path)
		d.Remove(m.t, path)
	case 1:
		other := m.path()
		if n := d.Look(m.t).Get(other); n.Kind != tree.File || other == path {
			return
		}
		content := d.Read(m.t, other)
		m.touch(other)
		m.own(name, other)
		m.say("%s: rename %s to %s", name, other, path)
		d.Remove(m.t, other)
		d.Write(m.t, path, content, false)
		m.wish(path, name, string(content))
	default:
		m.n++
		content := fmt.Sprintf("%d%s", m.n, strings.Repeat("x", m.rand.IntN(3)*30_000))
		m.say("%s: write %s %s", name, path, content[:min(4, len(content))])
		d.Write(m.t, path, []byte(content), m.rand.IntN(4) == 0)
		m.wish(path, name, content)
	}
}

// trouble is what befalls the session.
func (m *model) trouble() {
	switch m.rand.IntN(8) {
	case 0:
		m.say("the connection breaks")
		m.breaks(0)
	case 1, 2:
		n := 1 + m.rand.IntN(30)
		m.say("the connection breaks, and the next one after %d steps", n)
		m.breaks(n)
	case 3:
		name, d := m.side()
		m.say("%s: changes are missed", name)
		d.Lose()
	case 4:
		name, d := m.side()
		done := m.rand.IntN(2) == 0
		m.say("%s: the next batch fails, done: %v", name, done)
		d.mu.Lock()
		d.fails = append(d.fails, done)
		d.mu.Unlock()
	case 5:
		m.restart()
	case 6:
		m.replace()
	case 7:
		m.decide()
	}
}

func (m *model) breaks(next int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = next
	if m.link != nil {
		m.link.lose()
	}
}

// decide is a person's word: for a conflict, or for an undo.
func (m *model) decide() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := m.session.Status(ctx)
	require.NoError(m.t, err)
	if len(st.Conflicts) == 0 {
		undone, err := m.session.Undo(ctx)
		m.say("undo: %v %v", undone, err)
		clear(m.wishes) // it brings back what was there before
		clear(m.image)
		return
	}
	c := string(st.Conflicts[m.rand.IntN(len(st.Conflicts))].Path)
	keep := []session.Keep{session.KeepLocal, session.KeepRemote, session.KeepBoth}[m.rand.IntN(3)]
	m.say("resolve %s: %s: %v", c, keep, m.session.Resolve(ctx, c, keep))
	m.touch(c)
	m.own("remote", c)
}

// pass lets some time pass, milliseconds.
func (m *model) pass(n int) { <-time.After(time.Duration(n) * time.Millisecond) }

// equal is true where the two sides hold the same but for the conflicts.
func (m *model) differ(st session.Status) []string {
	var paths []string
	one, two := m.local.Look(m.t), m.remote.Look(m.t)
	visit := func(path string, _ tree.Entry) error {
		if one.Get(path) == two.Get(path) {
			return nil
		}
		for _, c := range st.Conflicts {
			if path == string(c.Path) || strings.HasPrefix(path, string(c.Path)+"/") {
				return nil
			}
		}
		paths = append(paths, path)
		return nil
	}
	_, _ = one.Walk(visit), two.Walk(visit) // visit never fails
	return paths
}

func (m *model) run() {
	for range 2 + m.rand.IntN(12) {
		if m.rand.IntN(3) == 0 {
			m.trouble()
		} else {
			m.person()
		}
		if m.rand.IntN(2) == 0 {
			m.pass(m.rand.IntN(1500))
		}
	}
	m.say("now there is quiet")
	m.pass(120_000)
	st, err := m.session.Status(context.Background())
	require.NoError(m.t, err)
	for n := 0; st.Halt != nil && n < 4; n++ { // a batch that fails has to be allowed again
		m.say("resume")
		require.NoError(m.t, m.session.Resume(context.Background(), session.AcceptDeletes))
		m.pass(120_000)
		st, err = m.session.Status(context.Background())
		require.NoError(m.t, err)
	}
	require.Equal(m.t, session.InSync, st.State, "%+v", st)
	require.Empty(m.t, st.Problems)
	require.Empty(m.t, m.differ(st))
	for _, c := range st.Conflicts {
		p := string(c.Path)
		if m.image[p] && m.remote.Look(m.t).Get(p) == endpointtest.FileEntry([]byte(ofTheImage), false) {
			require.Fail(m.t, "only one side changed it", "%+v", c)
		}
	}
	for path, w := range m.wishes {
		d := map[string]*disk{"local": m.local, "remote": m.remote}[w.side]
		require.Equal(m.t, cropped(w.content), cropped(string(d.Read(m.t, path))), "%s of %s is lost", path, w.side)
	}
}

func cropped(s string) string { return fmt.Sprintf("%.12s of %d", s, len(s)) }

// Thousands of histories on both sides: connections that break at any step of
// anything, changes that are missed, batches of which nobody knows what
// became, sessions that are killed, pods that are replaced, and people's
// decisions between all that. In the end both sides are equal but for the
// conflicts, and what was written last is where it was written.
func TestHistoriesInMemoryConverge(t *testing.T) {
	t.Parallel()
	budget := 5 * time.Second
	if long, err := time.ParseDuration(os.Getenv("KFDEV_LONG")); err == nil {
		budget = long
	}
	count := 0
	for seed, end := uint64(time.Now().UnixNano()), time.Now().Add(budget); time.Now().Before(end); seed++ {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { historyInMemory(t, seed) }) {
			return
		}
		count++
	}
	t.Logf("%d histories", count)
}

func historyInMemory(t *testing.T, seed uint64) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := &model{
			t: t, rand: rand.New(rand.NewPCG(seed, 2)), local: newDisk("laptop"), remote: newDisk("pod"), //nolint:gosec // a test's
			state: filepath.Join(dir, "state"), wishes: map[string]wish{}, had: map[string]bool{},
		}
		if m.rand.IntN(4) == 0 {
			m.mode = reconcile.OneWayReplica
		}
		defer func() {
			if m.end != nil {
				m.end()
			}
			if t.Failed() {
				t.Log(strings.Join(m.log, "\n"))
			}
		}()
		require.NoError(t, os.Mkdir(m.state, 0o700))
		m.start()
		m.run()
	})
}
