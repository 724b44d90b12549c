package session_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/session"
)

// A package is renamed here after Python ran in the pod.
func TestCachesGoWithTheirFolder(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.write(p.local, "pkg/sub/a.py", "a")
	s, _ := p.start()
	p.has(p.remote, "pkg/sub/a.py", "a")
	p.status(s, inSync)
	p.write(p.remote, "pkg/__pycache__/b.pyc", "x")
	p.write(p.remote, "pkg/sub/__pycache__/a.pyc", "x")
	p.write(p.remote, "pkg/sub/.ipynb_checkpoints/a.ipynb", "x")
	require.NoError(t, os.Rename(filepath.Join(p.local, "pkg"), filepath.Join(p.local, "lib")))
	p.has(p.remote, "lib/sub/a.py", "a")
	p.lacks(p.remote, "pkg")
	st := p.status(s, inSync)
	require.True(t, st.Clean(), "%+v", st)
	require.Empty(t, st.Notes)
	require.NotContains(t, content(t, p.local), "pkg")
}

// What a person told git to ignore is nothing that anybody can make again.
func TestAFolderWithIgnoredFilesStaysAndIsNoProblem(t *testing.T) {
	t.Parallel()
	for _, mine := range []bool{true, false} {
		p := newPair(t)
		here, there := p.local, p.remote // where it is deleted, and where it stays
		if mine {
			here, there = there, here
		}
		p.write(p.local, ".gitignore", "data/\n")
		p.write(p.local, "pkg/sub/a.py", "a")
		s, _ := p.start()
		p.has(p.remote, "pkg/sub/a.py", "a")
		p.status(s, inSync)
		p.write(there, "pkg/sub/data/big", "a week of work")
		p.write(there, "pkg/sub/__pycache__/a.pyc", "x")
		p.remove(here, "pkg")
		p.lacks(there, "pkg/sub/a.py")
		st := p.status(s, func(st session.Status) bool { return inSync(st) && len(st.Notes) > 0 })
		require.True(t, st.Clean(), "%+v", st)
		require.Len(t, st.Notes, 1)
		require.Contains(t, st.Notes[0], `pkg/sub in the `)
		require.Contains(t, st.Notes[0], `the folder stays, because it holds "data"`)
		p.has(there, "pkg/sub/data/big", "a week of work")
		told := 0
		p.mu.Lock()
		for _, e := range p.events {
			require.NotEqual(t, session.ProblemEvent, e.Kind)
			if e.Kind == session.NoteEvent && strings.Contains(e.Text, "the folder stays") {
				told++
			}
		}
		p.mu.Unlock()
		require.Equal(t, 1, told)
	}
}
