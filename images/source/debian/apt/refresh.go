package apt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/filelock"
	"github.com/kfdev/kfdev/internal/progress"
)

// Refresh brings the suite's signed indexes into the private folder, unless
// that was done within maxAge for the same sources. It reports whether it
// asked the archive. A machine whose sources lack the suite is a fault of kind
// Preflight.
func (a *Archive) Refresh(ctx context.Context, maxAge time.Duration) (bool, error) {
	if err := a.prepare(); err != nil {
		return false, err
	}
	unlock, err := a.lock(ctx, filelock.Exclusive)
	if err != nil {
		return false, err
	}
	defer unlock()
	sources, err := a.run(ctx, a.dir, nil, "apt-get", "update", "--print-uris")
	if err != nil {
		return false, a.fail("reading apt's sources", err)
	}
	stamp := a.fingerprint(sources.Stdout)
	if a.stamped(stamp, maxAge) {
		return false, nil
	}
	task := progress.Start(a.sink, "images/debian/"+a.suite+"/index", "package index of Debian "+a.suite, 0, progress.None)
	err = a.update(ctx, stamp)
	task.End(err)
	return err == nil, err
}

// fingerprint tells one configuration of sources from another by their
// InRelease files; what is kept is a hash. The other lines of --print-uris
// depend on what was fetched before.
func (a *Archive) fingerprint(uris []byte) string {
	var releases []string
	for line := range strings.Lines(string(uris)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasSuffix(fields[1], "InRelease") {
			releases = append(releases, fields[0])
		}
	}
	slices.Sort(releases)
	sum := sha256.Sum256([]byte(strings.Join(releases, "\n") + a.render()))
	return hex.EncodeToString(sum[:])
}

func (a *Archive) update(ctx context.Context, stamp string) error {
	out, err := a.run(ctx, a.dir, nil, "apt-get", "update", "-qq")
	if err != nil {
		return a.fail("reading the archive's index", err)
	}
	notes := strings.TrimSpace(string(out.Stderr))
	a.notes.Store(&notes)
	targets, err := a.run(ctx, a.dir, nil, "apt-get", "indextargets", "--format", "$(CODENAME)", "Created-By: Packages")
	if err != nil {
		return a.fail("reading the archive's index", err)
	}
	if !slices.Contains(strings.Fields(string(targets.Stdout)), a.suite) {
		return &fault.Error{
			Op: "reading the archive's index", Subject: "Debian " + a.suite, Kind: fault.Preflight,
			Err:  fmt.Errorf("%w%s", errNoSuite, a.note()),
			Hint: "add Debian " + a.suite + " (main, with its updates and security) to the machine's apt sources",
		}
	}
	if notes != "" {
		return nil // something was not to be had: asked for again the next time
	}
	return os.WriteFile(a.path("stamp"), []byte(stamp), 0o644)
}

func (a *Archive) stamped(stamp string, maxAge time.Duration) bool {
	info, err := os.Stat(a.path("stamp"))
	if err != nil || time.Since(info.ModTime()) >= maxAge {
		return false
	}
	old, err := os.ReadFile(a.path("stamp"))
	return err == nil && string(old) == stamp
}

// note is what the last refresh warned of, for the error that may follow from it.
func (a *Archive) note() string {
	notes := a.notes.Load()
	if notes == nil || *notes == "" {
		return ""
	}
	return "\n  " + strings.ReplaceAll(*notes, "\n", "\n  ")
}

func (a *Archive) fail(op string, err error) error {
	return &fault.Error{
		Op: op, Subject: "Debian " + a.suite, Err: err,
		Hint: "kfdev uses apt as this machine has it configured; \"apt-get update\" must work",
	}
}
