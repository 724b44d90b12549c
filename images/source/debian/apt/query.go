package apt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"

	"github.com/kfdev/kfdev/images/source/debian/deb"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/filelock"
)

// Resolve returns the packages that the asked ones need on an empty machine,
// themselves among them, by apt's own resolver: no Recommends, none of refuse,
// and each of prefer at its version where the archive still has it.
func (a *Archive) Resolve(ctx context.Context, asked, refuse []string, prefer []Package) ([]Package, error) {
	unlock, err := a.lock(ctx, filelock.Shared)
	if err != nil {
		return nil, err
	}
	defer unlock()
	args := []string{"install", "--print-uris", "-y", "-qq", "--no-install-recommends"}
	if len(prefer) > 0 {
		pins, err := os.CreateTemp(a.dir, "preferences.*")
		if err != nil {
			return nil, &fault.Error{Op: "resolving Debian packages", Err: err}
		}
		defer func() { _ = os.Remove(pins.Name()) }()
		_, err = pins.WriteString(a.preferences(prefer))
		if closeErr := pins.Close(); err != nil || closeErr != nil {
			return nil, &fault.Error{Op: "resolving Debian packages", Err: fmt.Errorf("writing preferences: %w", err)}
		}
		args = append(args, "-o", "Dir::Etc::preferences="+pins.Name())
	}
	args = append(args, asked...)
	for _, name := range refuse {
		args = append(args, name+"-")
	}
	out, err := a.run(ctx, a.dir, nil, "apt-get", args...)
	if err != nil {
		return nil, &fault.Error{
			Op: "resolving Debian packages", Subject: strings.Join(asked, " "), Kind: fault.NotFound,
			Err:  fmt.Errorf("%w%s", err, a.note()),
			Hint: "check the recipe's package names against Debian " + a.suite,
		}
	}
	return parseURIs(out.Stdout)
}

// parseURIs reads apt-get's --print-uris lines: 'URI' file size SHA256:hash.
// The URI is dropped: nothing of kfdev's names a host.
func parseURIs(text []byte) ([]Package, error) {
	var all []Package
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		bad := fmt.Errorf("apt-get --print-uris wrote %q, which is not a file, a size and a SHA256", strings.Join(fields[1:], " "))
		if len(fields) != 4 || !strings.HasPrefix(fields[0], "'") {
			return nil, bad
		}
		p := Package{File: fields[1]}
		parts := strings.Split(strings.TrimSuffix(p.File, ".deb"), "_")
		hash, ok := strings.CutPrefix(fields[3], "SHA256:")
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if !ok || !hexadecimal(hash) || err != nil || size < 0 || len(parts) != 3 || path.Base(p.File) != p.File {
			return nil, bad
		}
		version, err := url.PathUnescape(parts[1])
		if err != nil || version == "" || parts[0] == "" || parts[2] == "" {
			return nil, bad
		}
		p.Name, p.Version, p.Architecture, p.Size, p.SHA256 = parts[0], version, parts[2], size, hash
		all = append(all, p)
	}
	return all, nil
}

// hexadecimal reports whether text is a SHA256 as apt writes it.
func hexadecimal(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == sha256.Size
}

// Candidates returns the version that apt would take of each named package,
// by name; one that the suite does not hold is missing from the map.
func (a *Archive) Candidates(ctx context.Context, names []string) (map[string]Package, error) {
	all, err := a.show(ctx, append([]string{"--no-all-versions"}, names...))
	if err != nil {
		return nil, err
	}
	found := map[string]Package{}
	for _, p := range all {
		if _, ok := found[p.Name]; !ok {
			found[p.Name] = p
		}
	}
	return found, nil
}

// Versions returns every version that the archive has of the named packages,
// newest first as apt lists them.
func (a *Archive) Versions(ctx context.Context, names []string) (map[string][]Package, error) {
	all, err := a.show(ctx, append([]string{"--all-versions"}, names...))
	if err != nil {
		return nil, err
	}
	found := map[string][]Package{}
	for _, p := range all {
		found[p.Name] = append(found[p.Name], p)
	}
	return found, nil
}

// show runs apt-cache show. It ends with an error where it knows none of the
// names, so what it shows is the answer.
func (a *Archive) show(ctx context.Context, args []string) ([]Package, error) {
	unlock, err := a.lock(ctx, filelock.Shared)
	if err != nil {
		return nil, err
	}
	defer unlock()
	out, err := a.run(ctx, a.dir, nil, "apt-cache", append([]string{"show"}, args...)...)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, a.fail("asking apt-cache", err)
	}
	stanzas, err := deb.ParseStanzas(bytes.NewReader(out.Stdout))
	if err != nil {
		return nil, &fault.Error{Op: "reading apt-cache's answer", Err: err}
	}
	var all []Package
	for _, s := range stanzas {
		size, err := strconv.ParseInt(s.Get("Size"), 10, 64)
		if err != nil || !hexadecimal(s.Get("SHA256")) {
			return nil, &fault.Error{Op: "reading apt-cache's answer", Subject: s.Get("Package"), Err: fmt.Errorf("no size or no SHA256 in the index")}
		}
		p := Package{
			Name: s.Get("Package"), Version: s.Get("Version"), Architecture: s.Get("Architecture"),
			Size: size, SHA256: s.Get("SHA256"), Control: s.String(),
		}
		p.File = FileName(p.Name, p.Version, p.Architecture)
		all = append(all, p)
	}
	return all, nil
}

// FileName is the name that apt gives a downloaded package, path.Base safe.
func FileName(name, version, architecture string) string {
	return path.Base(name + "_" + strings.NewReplacer(":", "%3a", "_", "%5f", "/", "%2f").Replace(version) + "_" + architecture + ".deb")
}
