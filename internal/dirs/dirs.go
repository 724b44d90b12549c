// Package dirs says where kfdev keeps what is not part of a project: caches
// that can be made again, state that cannot, and a person's own settings,
// after the XDG Base Directory Specification 0.8.
package dirs

import (
	"errors"
	"fmt"
	"os/user"
	"path/filepath"
)

// Dirs are kfdev's own folders for one user, absolute. They need not exist yet.
type Dirs struct {
	Cache  string // content that can be fetched or built again
	State  string // what kfdev must remember: records of projects, locks
	Config string // a person's settings
}

// Find works the folders out of the environment. An XDG variable that is not
// an absolute path is ignored, as the specification asks; where HOME is not
// set, the home folder of the user database is taken.
func Find(getenv func(string) string) (Dirs, error) {
	return find(getenv, lookupHome)
}

func find(getenv func(string) string, lookup func() (string, error)) (Dirs, error) {
	home := func() (string, error) {
		if h := getenv("HOME"); filepath.IsAbs(h) {
			return h, nil
		}
		return lookup()
	}
	var d Dirs
	for _, each := range []struct {
		folder             *string
		variable, fallback string
	}{
		{&d.Cache, "XDG_CACHE_HOME", ".cache"},
		{&d.State, "XDG_STATE_HOME", filepath.Join(".local", "state")},
		{&d.Config, "XDG_CONFIG_HOME", ".config"},
	} {
		base := getenv(each.variable)
		if !filepath.IsAbs(base) {
			h, err := home()
			if err != nil {
				return Dirs{}, fmt.Errorf("neither %s nor HOME is set to an absolute path: %w", each.variable, err)
			}
			base = filepath.Join(h, each.fallback)
		}
		*each.folder = filepath.Join(base, "kfdev")
	}
	return d, nil
}

// lookupHome asks the user database.
func lookupHome() (string, error) {
	u, err := user.Current()
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(u.HomeDir) {
		return "", errors.New("the user database names no home folder")
	}
	return u.HomeDir, nil
}
