package envs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/ignore"
)

// largeTree is how many paths are more than a session starts quickly with.
const largeTree = 200_000

// countWithin bounds how long a session's start waits for the count.
const countWithin = 5 * time.Second

// warnOfSize tells of a folder that is larger than that, before the session
// starts.
func (s *Sync) warnOfSize(ctx context.Context) {
	rules, err := s.engine.ignored(s.Local)
	if err != nil {
		return // the session tells
	}
	ctx, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	if text := tooLarge(ctx, s.Local, rules, largeTree); text != "" {
		progress.Warn(s.engine.sink, text)
	}
}

// tooLarge counts the paths below a folder that would be synced, and says where
// most of them are if they are more than limit. It stops counting then.
func tooLarge(ctx context.Context, root string, rules *ignore.Rules, limit int) string {
	all, below := 0, map[string]int{}
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case at == root:
			return err
		case err != nil:
			return fs.SkipDir // the session tells of what can't be read
		}
		rel, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if rules.Ignored(name, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		top, _, deeper := strings.Cut(name, "/")
		if deeper {
			below[top]++
		}
		if all++; all > limit {
			return fs.SkipAll
		}
		return nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("counting the paths of %s took too long, at %d of them: starting takes long, too", root, all)
	}
	if err != nil || all <= limit {
		return ""
	}
	text, most := fmt.Sprintf("%s has more than %d paths to sync", root, limit), ""
	for top, n := range below {
		if most == "" || n > below[most] || n == below[most] && top < most {
			most = top
		}
	}
	if most != "" {
		text += fmt.Sprintf(", of the first ones %d%% in %s", below[most]*100/all, most)
	}
	return text + ": starting takes long and much memory on both sides; what the pod does not need can be left out in a .kfdevignore file, as .gitignore is written"
}
