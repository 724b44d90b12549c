// Command wheels writes the wheel locks of recipes anew. For each recipe
// folder given it resolves every NAME.in (requirements, as pip reads them) into
// NAME.lock.yaml: the newest wheels that fit, by file name, size and hash. Where
// there are such files, NAME.overrides replaces what packages ask for (uv's
// --override), and NAME.beside names locks, one a line and relative to the
// folder, whose versions are taken for what both need. It needs uv.
//
//	go run ./internal/gen/wheels images/catalog/jupyterhub …
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/kfdev/kfdev/images/source/wheels"
	"github.com/kfdev/kfdev/internal/atomicfile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p := pinner{}
	flag.StringVar(&p.python, "python", "3.11.2", "exact Python `version` of the images")
	flag.StringVar(&p.platform, "platform", "manylinux_2_36_x86_64", "newest wheel `platform` that the images can take")
	flag.StringVar(&p.uv, "uv", "uv", "the uv `program`")
	flag.Parse()
	if err := p.run(ctx, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// pinner resolves requirements for one interpreter.
type pinner struct {
	python   string
	platform string
	uv       string
}

func (p pinner) run(ctx context.Context, folders []string) error {
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.in"))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%s holds no .in file", folder)
		}
		for _, file := range files {
			if err := p.pin(ctx, file); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return nil
}

// pylock is what is used of a pylock.toml (PEP 751).
type pylock struct {
	Packages []struct {
		Name    string `toml:"name"`
		Version string `toml:"version"`
		Wheels  []struct {
			Name   string            `toml:"name"`
			URL    string            `toml:"url"`
			Size   int64             `toml:"size"`
			Hashes map[string]string `toml:"hashes"`
		} `toml:"wheels"`
	} `toml:"packages"`
}

func (p pinner) pin(ctx context.Context, file string) (err error) {
	scratch, err := os.MkdirTemp("", "wheels-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	out := filepath.Join(scratch, "pylock.toml")
	stem := strings.TrimSuffix(file, ".in")
	arch := p.platform[strings.LastIndex(p.platform, "_2_")+len("_2_"):]
	glibc, arch, _ := strings.Cut(arch, "_")
	args := []string{"pip", "compile", "--quiet", "--no-header", "--format", "pylock.toml", "--output-file", out,
		"--python-version", p.python, "--python-platform", arch + "-manylinux_2_" + glibc, "--only-binary", ":all:"}
	if _, err := os.Stat(stem + ".overrides"); err == nil {
		args = append(args, "--override", stem+".overrides")
	}
	args, err = constrain(args, stem, scratch)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, p.uv, append(args, file)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s pip compile: %w", p.uv, err)
	}
	var found pylock
	if _, err := toml.DecodeFile(out, &found); err != nil {
		return err
	}
	lock, err := p.choose(found)
	if err != nil {
		return err
	}
	data := lock.Marshal("Written by internal/gen/wheels from " + filepath.Base(file) + "; edit that file instead.")
	if _, err := wheels.ParseLock(data); err != nil {
		return err
	}
	fmt.Printf("%s.lock.yaml: %d wheels\n", stem, len(lock.Wheels))
	return atomicfile.Write(stem+".lock.yaml", data, 0o644)
}

// constrain adds the constraints of NAME.beside to uv's arguments, where there
// are any.
func constrain(args []string, stem, scratch string) ([]string, error) {
	constraints, err := besides(stem)
	if constraints == "" || err != nil {
		return args, err
	}
	list := filepath.Join(scratch, "constraints.txt")
	if err := os.WriteFile(list, []byte(constraints), 0o600); err != nil {
		return nil, err
	}
	return append(args, "--constraint", list), nil
}

// besides returns the wheels of the locks that NAME.beside names, as pip's
// constraints.
func besides(stem string) (string, error) {
	names, err := os.ReadFile(stem + ".beside")
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for name := range strings.FieldsSeq(string(names)) {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(stem), name))
		if err != nil {
			return "", err
		}
		lock, err := wheels.ParseLock(data)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		for _, w := range lock.Wheels {
			fmt.Fprintf(&out, "%s==%s\n", w.Name, w.Version)
		}
	}
	return out.String(), nil
}

// choose takes one wheel of each package.
func (p pinner) choose(found pylock) (wheels.Lock, error) {
	lock := wheels.Lock{Python: p.python, Platform: p.platform}
	for _, pkg := range found.Packages {
		var files []string
		for _, w := range pkg.Wheels {
			file := w.Name
			if file == "" {
				u, err := url.Parse(w.URL)
				if err != nil {
					return wheels.Lock{}, err
				}
				file = path.Base(u.Path)
			}
			files = append(files, file)
		}
		best, err := wheels.Best(files, p.python, p.platform)
		if err != nil {
			return wheels.Lock{}, err
		}
		if best < 0 {
			return wheels.Lock{}, fmt.Errorf("%s %s has no wheel that fits", pkg.Name, pkg.Version)
		}
		w := pkg.Wheels[best]
		lock.Wheels = append(lock.Wheels, wheels.Wheel{Name: wheels.NormalizeName(pkg.Name), Version: pkg.Version,
			File: files[best], Size: w.Size, SHA256: w.Hashes["sha256"]})
	}
	return lock, nil
}
