package session_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/tree"
)

// restart ends the session and begins it anew.
func (m *model) restart() {
	m.stop(m.rand.IntN(2) == 0)
	for range m.rand.IntN(3) {
		m.person()
	}
	m.start()
}

// stop ends the session. One that is killed leaves what was on its disk at that
// time, and the pod's folder as new as it was.
func (m *model) stop(kill bool) {
	m.say("kfdev ends, killed: %v", kill)
	saved := m.t.TempDir()
	require.NoError(m.t, os.CopyFS(filepath.Join(saved, "state"), os.DirFS(m.state)))
	fresh := m.remote.isFresh()
	m.pass(m.rand.IntN(2000))
	m.end()
	if kill {
		m.state = filepath.Join(saved, "state")
		m.remote.setFresh(fresh)
	}
}

// replace has another pod take the place of the one. Its first connections may
// break, and kfdev may end before it has come to know it.
func (m *model) replace() {
	old := m.rand.IntN(2) == 0
	if old {
		m.pass(1000) // what is written here at the very moment of the look is as new as the image's
	}
	m.say("the pod is replaced")
	for p, w := range m.wishes {
		if w.side == "remote" {
			delete(m.wishes, p)
		}
	}
	m.mu.Lock()
	m.pods++
	m.remote = newDisk(fmt.Sprint("pod ", m.pods))
	if m.rand.IntN(2) == 0 {
		m.remote.Write(m.t, "image", []byte(ofTheImage), false)
	}
	m.image = map[string]bool{}
	if old {
		m.fill()
	}
	m.mu.Unlock()
	m.breaks(m.rand.IntN(4)) // 1: while it looks
	if m.rand.IntN(3) == 0 {
		m.pass(1 + m.rand.IntN(1500))
		st, err := m.session.Status(context.Background())
		require.NoError(m.t, err)
		if st.State == session.InSync {
			m.person()
		}
		m.stop(m.rand.IntN(2) == 0)
		m.start()
	}
	m.pass(20_000) // what is there before the first look counts as the image's
}

const ofTheImage = "of the image"

// fill gives a new pod's image older files of what is synced. Of a session that
// has never met a pod nothing is expected: whose file is the newer is not known.
func (m *model) fill() {
	if _, err := os.Stat(filepath.Join(m.state, "current")); err != nil {
		return
	}
	for _, path := range places {
		if m.rand.IntN(2) == 0 && m.local.Look(m.t).Get(path).Kind == tree.File {
			m.remote.Write(m.t, path, []byte(ofTheImage), false)
			m.image[path] = true
		}
	}
}
