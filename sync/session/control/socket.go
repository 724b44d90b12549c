package control

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is how long the path of a socket may be: 104 bytes with a zero
// at the end on macOS, 108 on Linux (unix(7), sun_path).
const maxSocketPath = 100

// reachable gives the folder a name that is short enough for a socket in it: a
// link in a new folder of this user's. The name is needed only for as long as
// the system looks it up; done takes it away.
func reachable(dir string) (short string, done func() error, err error) {
	if len(filepath.Join(dir, socketName)) <= maxSocketPath {
		return dir, func() error { return nil }, nil
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	made, err := os.MkdirTemp("", "kfdev")
	if err != nil {
		return "", nil, err
	}
	link := filepath.Join(made, "s")
	done = func() error { return os.RemoveAll(made) } // the link alone, not what it leads to
	if err := os.Symlink(absolute, link); err != nil {
		return "", nil, errors.Join(err, done())
	}
	return link, done, nil
}

// listen makes the socket of a folder, for this user alone.
func listen(ctx context.Context, dir string) (_ net.Listener, err error) {
	short, done, err := reachable(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", filepath.Join(short, socketName))
	if err != nil {
		return nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the short name is gone by then; the claim removes it
	}
	if err := os.Chmod(filepath.Join(dir, socketName), 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// dial connects to the socket of a folder.
func dial(ctx context.Context, dir string) (_ net.Conn, err error) {
	short, done, err := reachable(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	var d net.Dialer
	return d.DialContext(ctx, "unix", filepath.Join(short, socketName))
}
