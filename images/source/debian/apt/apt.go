// Package apt asks the machine's own apt what a Debian suite holds and has it
// download packages, in folders of kfdev's own: the user's sources, keyrings,
// proxies and credentials are used as they are, nothing of the machine's
// package state is read or changed, and no root is needed. Signatures are
// apt's to verify.
package apt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kfdev/kfdev/images/source/client"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Architecture is the only one that packages are taken for.
const Architecture = "amd64"

// Options says where an Archive keeps its state and whose configuration it reads.
type Options struct {
	Dir   string // private folder; made when it is not there
	Suite string // the suite's codename: bookworm
	Sink  progress.Sink
	// Config is more apt configuration, read last. Empty but in tests, which
	// point apt at an archive of their own with it.
	Config string
}

// Archive is one suite as the machine's apt sees it. It may be used from
// several goroutines and several processes at once.
type Archive struct {
	dir    string
	suite  string
	sink   progress.Sink
	config string

	notes atomic.Pointer[string] // what the last refresh warned of
}

// Package is one version of one package in the archive.
type Package struct {
	Name         string
	Version      string
	Architecture string // amd64 or all
	File         string // name_version_architecture.deb, a colon as %3a
	Size         int64  // bytes
	SHA256       string // hex
	Control      string // its stanza in the index; empty from Resolve
}

// New returns the archive of a suite. Nothing is asked of apt yet.
func New(o Options) *Archive {
	return &Archive{dir: filepath.Join(o.Dir, o.Suite), suite: o.Suite, sink: o.Sink, config: o.Config}
}

// prepare lays out the private folders and the configuration.
func (a *Archive) prepare() error {
	for _, tool := range []string{"apt-get", "apt-cache"} {
		if _, err := exec.LookPath(tool); err != nil {
			return &fault.Error{
				Op: "looking for apt", Subject: tool, Kind: fault.Preflight, Err: err,
				Hint: "images from Debian packages are built on a machine with apt, at first Debian 12",
			}
		}
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial", "etc", "etc/parts", "log"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return &fault.Error{Op: "preparing apt's private folders", Subject: a.dir, Err: err}
		}
	}
	for name, content := range map[string]string{
		"status":                "",
		"etc/apt.conf":          a.render(),
		"etc/preferences":       a.preferences(nil),
		"lists/partial/.keep":   "",
		"etc/parts/README.conf": "",
	} {
		if err := writeIfChanged(filepath.Join(a.dir, name), content); err != nil {
			return &fault.Error{Op: "preparing apt's private folders", Subject: name, Err: err}
		}
	}
	return nil
}

// writeIfChanged leaves a file that is right alone, so that processes at work
// side by side never see it half written.
func writeIfChanged(path, content string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return nil
	}
	tmp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	if err := os.WriteFile(tmp, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// render is the configuration that apt reads after the machine's own. The
// machine's hooks are cleared: some of them empty the machine's own caches.
// Only package indexes are fetched, and resolving starts from a machine on
// which nothing is installed.
func (a *Archive) render() string {
	var b strings.Builder
	for _, name := range []string{
		"APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success",
		"DPkg::Pre-Invoke", "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs",
		"APT::Architectures", "APT::Default-Release", "APT::NeverAutoRemove", "Acquire::Languages", "Acquire::IndexTargets", "Binary",
	} {
		fmt.Fprintf(&b, "#clear %s;\n", name)
	}
	b.WriteString(`Acquire::IndexTargets::deb::Packages {
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages"; flatMetaKey "Packages"; ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages"; flatDescription "$(RELEASE) Packages"; Optional "0";
};
`)
	for _, pair := range [][2]string{
		{"APT::Architecture", Architecture},
		{"APT::Architectures::", Architecture},
		{"APT::Install-Recommends", "0"},
		{"APT::Install-Suggests", "0"},
		{"APT::Sandbox::User", ""}, // another user could not write into a private folder
		{"APT::Get::Show-User-Simulation-Note", "0"},
		{"APT::Get::List-Cleanup", "1"},
		{"Acquire::Languages", "none"},
		{"Acquire::ForceHash", "SHA256"},
		{"Acquire::Retries", "3"},
		{"Dir::State", a.dir},
		{"Dir::State::lists", a.path("lists")},
		{"Dir::State::status", a.path("status")},
		{"Dir::State::extended_states", a.path("extended_states")},
		{"Dir::Cache", a.path("cache")},
		{"Dir::Cache::archives", a.path("cache/archives")},
		{"Dir::Log", a.path("log")},
		{"Dir::Etc::preferences", a.path("etc/preferences")},
		{"Dir::Etc::preferencesparts", a.path("etc/parts")},
	} {
		fmt.Fprintf(&b, "%s %q;\n", pair[0], pair[1])
	}
	return b.String() + a.config
}

// preferences lets apt see the suite with its updates and security fixes, and
// nothing else of what the machine may have configured. What calls itself
// Debian goes before a republished copy of the same name. Each of prefer is
// held at its version where that is to be had.
func (a *Archive) preferences(prefer []Package) string {
	var b strings.Builder
	for _, p := range prefer {
		fmt.Fprintf(&b, "Package: %s\nPin: version %s\nPin-Priority: 1001\n\n", p.Name, p.Version)
	}
	for _, codename := range []string{a.suite, a.suite + "-updates", a.suite + "-security"} {
		fmt.Fprintf(&b, "Package: *\nPin: release o=Debian,n=%s\nPin-Priority: 500\n\n", codename)
		fmt.Fprintf(&b, "Package: *\nPin: release n=%s\nPin-Priority: 400\n\n", codename)
	}
	b.WriteString("Package: *\nPin: release *\nPin-Priority: -1\n")
	return b.String()
}

func (a *Archive) path(name string) string { return filepath.Join(a.dir, name) }

// run runs one of apt's tools with the private configuration, and returns what
// it wrote. Where to is given, that gets the standard output.
func (a *Archive) run(ctx context.Context, dir string, to io.Writer, tool string, args ...string) (client.Output, error) {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "LC_") || strings.HasPrefix(e, "LANG") })
	return client.Command{
		Program: tool, Config: []string{"-c", a.path("etc/apt.conf")}, Args: args, Dir: dir, Stdout: to,
		Env: append(env, "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"),
	}.Run(ctx)
}

// errNoSuite says that the machine's sources lack the suite.
var errNoSuite = errors.New("no source of the machine's apt has it")
