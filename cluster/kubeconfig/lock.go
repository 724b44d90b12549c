package kubeconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
)

// How long a lock that another program holds is waited for, and how often it
// is looked at. kubectl holds it for milliseconds; one that stays longer was
// left behind.
const (
	lockPatience = 3 * time.Second
	lockEvery    = 20 * time.Millisecond
)

// lock makes the lock file that kubectl and kind make, and returns what
// removes it.
func lock(path string) (unlock func() error, err error) {
	name := path + ".lock"
	fail := func(err error, hint string) error {
		return &fault.Error{Op: "locking the kubeconfig", Subject: path, Hint: hint, Err: err}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fail(err, "")
	}
	patience, again := time.NewTimer(lockPatience), time.NewTicker(lockEvery)
	defer patience.Stop()
	defer again.Stop()
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0)
		if err == nil {
			if err := f.Close(); err != nil {
				return nil, fail(errors.Join(err, os.Remove(name)), "")
			}
			return func() error { return os.Remove(name) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fail(err, "")
		}
		select {
		case <-again.C:
		case <-patience.C:
			return nil, fail(fmt.Errorf("%s is still there after %v", name, lockPatience), "if no kubectl is running, it was left behind: rm "+name)
		}
	}
}
