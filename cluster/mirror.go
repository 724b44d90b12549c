package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/kfdev/kfdev/internal/atomicfile"
)

// Files returns the files of containerd's registry configuration (the folder
// that its config_path names; format: hosts.toml of containerd's docs/hosts.md),
// by path below it.
//
// Every image is asked for at the mirror first. What it lacks is asked for at
// the image's own registry, with a short patience: a network that swallows
// packets must not hold a pod for minutes. Images under privateHost have no
// registry of their own, so for them the mirror is the only one.
func (m Mirror) Files(privateHost string) (map[string][]byte, error) {
	files := map[string][]byte{}
	var out bytes.Buffer
	fmt.Fprintln(&out, "# Written by kfdev, read again at every pull.")
	fmt.Fprintf(&out, "dial_timeout = %q\n", "2s")
	if len(m.CA) > 0 {
		files["proxy-ca.pem"] = m.CA
		fmt.Fprintln(&out, `ca = "/etc/containerd/certs.d/proxy-ca.pem"`)
	}
	if m.URL != "" {
		if u, err := url.Parse(m.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("the mirror's URL %q has no scheme and host", m.URL)
		}
		fmt.Fprintf(&out, "\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n  dial_timeout = %q\n", m.URL, "2s")
		files[filepath.Join(privateHost, "hosts.toml")] = fmt.Appendf(nil,
			"# Written by kfdev, read again at every pull.\nserver = %q\ncapabilities = [\"pull\", \"resolve\"]\n", m.URL)
	}
	files[filepath.Join("_default", "hosts.toml")] = out.Bytes()
	return files, nil
}

// Write makes dir hold the mirror's files. Those that are the same already are
// not touched; the files of a mirror that is no more are removed.
func (m Mirror) Write(dir, privateHost string) error {
	files, err := m.Files(privateHost)
	if err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
			continue
		}
		if err := atomicfile.Write(path, content, 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{"proxy-ca.pem", filepath.Join(privateHost, "hosts.toml")} {
		if _, wanted := files[name]; wanted {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
