//go:build e2e

package e2e

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// apart is longer than either side waits for a sign of life from the other.
const apart = 13 * time.Second

// syncApart takes the two sides from each other: the laptop sleeps, nothing gets
// through to the cluster, the API server dies. What was written on both sides
// meanwhile is on both afterwards.
func syncApart(t *testing.T, s *synced) {
	t.Helper()
	for _, each := range []struct {
		name     string
		off, on  func()
		together time.Duration
	}{
		{"a laptop that sleeps", func() { s.signal(t, syscall.SIGSTOP) }, func() { s.signal(t, syscall.SIGCONT) }, time.Minute},
		{"a network that loses everything", func() { s.apiServer(t, "STOP") }, func() { s.apiServer(t, "CONT") }, time.Minute},
		{"an API server that dies", func() { s.apiServer(t, "KILL") }, func() {}, 3 * time.Minute},
	} {
		s.inState(t, "in sync")
		mine, theirs := "written here during "+each.name, "written there during "+each.name
		s.sh(t, "(sleep 4; echo yes > '/data/tree/"+theirs+"') >/dev/null 2>&1 &")
		each.off()
		write(t, filepath.Join(s.local, mine), "yes\n")
		pause(apart)
		each.on()
		began := time.Now()
		eventually(t, each.together, "the API server", func() (bool, string) {
			_, err := s.kube.Discovery().ServerVersion()
			if err != nil {
				return false, err.Error()
			}
			return true, ""
		})
		here(t, filepath.Join(s.local, theirs), "yes\n")
		s.has(t, "/data/tree/"+mine, "yes\n")
		t.Logf("%s: together again after %v", each.name, time.Since(began).Round(100*time.Millisecond))
		s.equal(t, "/data/tree")
		require.Empty(t, s.status(t, 0).Conflicts)
	}
}

// signal sends a signal to the kfdev that has the session.
func (s *synced) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	for _, session := range decode[[]struct {
		Name string
		PID  int
	}](t, s.bench, 0, "sync", "ls") {
		if session.Name == s.name {
			require.NoError(t, syscall.Kill(session.PID, signal))
			return
		}
	}
	require.Fail(t, "no such session", s.name)
}

// apiServer sends a signal to the cluster's API server.
func (s *synced) apiServer(t *testing.T, signal string) {
	t.Helper()
	docker(t, "exec", s.bench.context()+"-control-plane", "sh", "-c",
		`for p in /proc/[0-9]*; do if [ "$(cat "$p/comm" 2>/dev/null)" = kube-apiserver ]; then kill -`+signal+` "${p#/proc/}"; fi; done`)
}
