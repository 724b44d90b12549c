package session_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/session"
)

// plantFolder writes files of 4 kB, a hundred in each folder.
func plantFolder(b *testing.B, root string, files int) {
	b.Helper()
	content := make([]byte, 4096)
	for i := range files {
		dir := filepath.Join(root, fmt.Sprintf("d%03d", i/100))
		if i%100 == 0 {
			require.NoError(b, os.MkdirAll(dir, 0o755))
		}
		copy(content, fmt.Sprint(i))
		require.NoError(b, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), content, 0o644))
	}
}

// benchPair is a pair of folders that are equal, the local one with files.
func benchPair(b *testing.B, files int) (*pair, *session.Session, func()) {
	b.Helper()
	p := newPair(b)
	plantFolder(b, p.local, files)
	s, stop := p.start()
	benchInSync(b, s)
	return p, s, stop
}

func benchInSync(b *testing.B, s *session.Session) {
	b.Helper()
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		st, err := s.Status(b.Context())
		require.NoError(b, err)
		if st.State == session.InSync {
			return
		}
	}
}

// From the write of a file to its being readable on the other side, in a tree of
// 5,000, over a pipe: what the session itself takes.
func BenchmarkEdit(b *testing.B) {
	p, _, stop := benchPair(b, 5000)
	defer stop()
	for i := 0; b.Loop(); i++ {
		name, want := fmt.Sprintf("d%03d/%d", i%50, i%50*100+i/50%100), fmt.Sprint("edit ", i)
		p.write(p.local, name, want)
		p.has(p.remote, name, want)
	}
}

// A folder that the pod has nothing of.
func BenchmarkFirstSync(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		p := newPair(b)
		plantFolder(b, p.local, 5000)
		b.StartTimer()
		s, stop := p.start()
		benchInSync(b, s)
		b.StopTimer()
		stop()
		b.StartTimer()
	}
}

// A session whose folders are equal already, and were looked at before.
func BenchmarkStart(b *testing.B) {
	p, _, stop := benchPair(b, 20_000)
	stop()
	for b.Loop() {
		s, stop := p.start()
		benchInSync(b, s)
		b.StopTimer()
		stop()
		b.StartTimer()
	}
}
