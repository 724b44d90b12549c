package envs

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/ignore"
	"github.com/kfdev/kfdev/sync/session"
)

// ruleGuard keeps pods from taking back what is ignored in a folder. What it
// knows is the folder's, and not that of one session: what one pod wrote, another
// may not profit from.
func (e *Engine) ruleGuard(folder string) (*ignore.Guard, error) {
	sum := sha256.Sum256([]byte(filepath.Clean(folder)))
	return ignore.OpenGuard(folder, filepath.Join(e.records.Dir(), "sync-rules", hex.EncodeToString(sum[:16])+".json"))
}

// ignored reads what of a folder is not synced.
func (e *Engine) ignored(folder string) (*ignore.Rules, error) {
	guard, err := e.ruleGuard(folder)
	if err != nil {
		return nil, err
	}
	rules, err := guard.Load()
	if err != nil {
		return nil, &fault.Error{Op: "reading what is ignored", Subject: folder, Err: err}
	}
	return rules, nil
}

// guarded has a session's rules be what a guard lets be.
func (s *Sync) guarded(c *session.Config) error {
	guard, err := s.engine.ruleGuard(s.Local)
	if err != nil {
		return err
	}
	c.Arriving = guard.Arriving
	c.Rules = func() (session.Rules, error) {
		rules, err := guard.Load()
		if err != nil {
			return nil, &fault.Error{Op: "reading what is ignored", Subject: s.Local, Err: err}
		}
		return rules, nil
	}
	return nil
}
