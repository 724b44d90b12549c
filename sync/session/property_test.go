package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/endpoint"
	"github.com/kfdev/kfdev/sync/session"
)

// history is what happens to two folders while a session keeps them equal and
// the connection breaks now and then.
type history struct {
	*pair
	rand *rand.Rand
	n    int
	ever map[string]bool // every content that was ever written
}

var places = []string{"a", "b", "d/a", "d/b", "d/e/a", "f"}

// act does something to one of the folders, as a person would.
func (h *history) act() {
	side := h.local
	if h.rand.IntN(2) == 0 {
		side = h.remote
	}
	path := filepath.Join(side, filepath.FromSlash(places[h.rand.IntN(len(places))]))
	switch h.rand.IntN(6) {
	case 0:
		_ = os.Remove(path) // there may be nothing, or a folder in use
	case 1:
		other := filepath.Join(side, filepath.FromSlash(places[h.rand.IntN(len(places))]))
		if info, err := os.Lstat(other); errors.Is(err, os.ErrNotExist) || err == nil && !info.IsDir() {
			_ = os.Rename(path, other) // as above
		}
	default:
		h.n++
		content := fmt.Sprintf("%d %s", h.n, strings.Repeat("x", h.rand.IntN(3)*40_000))
		if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
			h.ever[content] = true
			_ = os.WriteFile(path, []byte(content), 0o644)
		}
	}
}

// Whatever happens on both sides while the connection breaks at any byte: in the
// end both hold the same but for what is named as a conflict, nothing is half
// written, and nothing is in either folder that nobody wrote.
func TestRandomHistoriesConverge(t *testing.T) {
	t.Parallel()
	budget := 6 * time.Second
	if long, err := time.ParseDuration(os.Getenv("KFDEV_LONG")); err == nil {
		budget = long
	}
	deadline := time.Now().Add(budget)
	for seed := uint64(time.Now().UnixNano()); time.Now().Before(deadline); seed++ {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { oneHistory(t, seed) }) {
			return
		}
	}
}

func oneHistory(t *testing.T, seed uint64) {
	t.Helper()
	h := &history{pair: newPair(t), rand: rand.New(rand.NewPCG(seed, 1)), ever: map[string]bool{}} //nolint:gosec // a test's
	for range h.rand.IntN(6) {
		h.act()
	}
	s, stop := h.start()
	for range 1 + h.rand.IntN(4) {
		switch h.rand.IntN(4) {
		case 0: // the next connection breaks somewhere
			h.mu.Lock()
			h.cutAt = 1 + h.rand.Int64N(60_000)
			if h.conn != nil {
				_ = h.conn.Close()
			}
			h.mu.Unlock()
		case 1: // the laptop's side ends and comes back
			stop()
			h.act()
			s, stop = h.start()
		}
		for range 1 + h.rand.IntN(5) {
			h.act()
		}
	}
	h.status(s, func(st session.Status) bool { return inSync(st) && len(st.Problems) == 0 && h.settled(st) })
	stop()
	for _, side := range []string{h.local, h.remote} {
		for path, c := range content(t, side) {
			if c != "a folder" {
				require.True(t, h.ever[c], "%s in %s holds what nobody wrote: %.20q", path, side, c)
			}
		}
		staged, err := filepath.Glob(filepath.Join(side, endpoint.StateDir, "staging", "*"))
		require.NoError(t, err)
		require.Empty(t, staged)
	}
}

// settled is true when the sides are equal but for the conflicts.
func (h *history) settled(st session.Status) bool {
	one, two := content(h.t, h.local), content(h.t, h.remote)
	for path := range two {
		if _, ok := one[path]; !ok {
			one[path] = ""
		}
	}
	for path, c := range one {
		if c == two[path] {
			continue
		}
		known := false
		for _, conflict := range st.Conflicts {
			known = known || path == string(conflict.Path) || strings.HasPrefix(path, string(conflict.Path)+"/")
		}
		if !known {
			return false
		}
	}
	return true
}
