package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/internal/fault"
)

// Host is what the machine that builds is, as far as it matters.
type Host struct {
	Platform string // os/architecture: linux/amd64
	ID       string // ID of os-release(5): debian
	Codename string // VERSION_CODENAME: bookworm
	Name     string // PRETTY_NAME, for people
	Memory   int64  // that can be had without swapping (MemAvailable), bytes
}

// ReadHost reads what this machine is from /etc/os-release and /proc/meminfo;
// what cannot be read stays empty.
func ReadHost() Host { return readHost(os.DirFS("/")) }

func readHost(root fs.FS) Host {
	h := Host{Platform: runtime.GOOS + "/" + runtime.GOARCH, Name: runtime.GOOS + "/" + runtime.GOARCH}
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		if raw, err := fs.ReadFile(root, name); err == nil {
			values := pairs(raw, "=")
			h.ID, h.Codename = values["ID"], values["VERSION_CODENAME"]
			if values["PRETTY_NAME"] != "" {
				h.Name = values["PRETTY_NAME"]
			}
			break
		}
	}
	if raw, err := fs.ReadFile(root, "proc/meminfo"); err == nil {
		number, _, _ := strings.Cut(pairs(raw, ":")["MemAvailable"], " ")
		if kib, err := strconv.ParseInt(number, 10, 64); err == nil && kib > 0 && kib < 1<<40 {
			h.Memory = kib << 10
		}
	}
	return h
}

// pairs reads lines of names and values, quoted or not.
func pairs(raw []byte, between string) map[string]string {
	values := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), between)
		if ok {
			values[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return values
}

// canBuild fails where nothing can be built from source.
func (h Host) canBuild(name string) error {
	if h.Platform == "linux/amd64" {
		return nil
	}
	return &fault.Error{
		Op: "building from source", Subject: name, Kind: fault.Preflight,
		Hint: "use images from a registry (origin: registry in kfdev.yaml), or build on linux/amd64",
		Err:  fmt.Errorf("images are built from source on linux/amd64 only; this is %s", h.Platform),
	}
}

// canFetch fails where a Debian layer's packages cannot be fetched.
func (h Host) canFetch(p recipe.Part) error {
	if p.Layer.Debian == nil || h.ID == "debian" && h.Codename == p.Layer.Debian.Suite {
		return nil
	}
	name := h.Name
	if name == "" {
		name = "of no known kind"
	}
	return &fault.Error{
		Op: "fetching Debian packages for", Subject: p.Recipe, Kind: fault.Preflight,
		Hint: "use images from a registry (origin: registry in kfdev.yaml), or build on Debian " + p.Layer.Debian.Suite,
		Err:  errors.New("packages of Debian " + p.Layer.Debian.Suite + " come through that system's own apt; this machine is " + name),
	}
}

// Memory that making a layer of each kind may take, bytes: estimates, on the
// high side, since a build that does not fit ends in a swapping machine.
const (
	memoryGo    = 3 << 30
	memoryOther = 512 << 20
)

func memoryOf(k recipe.LayerKind) int64 {
	if k == recipe.KindGo {
		return memoryGo
	}
	return memoryOther
}

// budget is how much memory making layers may take at once: most of what is
// there, and always enough for one.
func (h Host) budget() int64 { return max(h.Memory/4*3, memoryGo) }
