package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/kfdev/kfdev/internal/atomicfile"
)

// Locate returns the folder of a module at a version, fetching it where it is
// not in the module cache.
type Locate func(ctx context.Context, module, version string) (string, error)

// FromGo locates modules with the go command, as the machine has it
// configured; it checks them against the checksum database.
func FromGo(ctx context.Context, module, version string) (string, error) {
	dir, err := os.MkdirTemp("", "kfdev-upstream-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module+"@"+version)
	// Outside of any module, so that no go.mod has a say in what is taken.
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GO111MODULE=on")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, runErr := cmd.Output()
	var found struct{ Dir, Error string }
	if err := json.Unmarshal(out, &found); err != nil && runErr == nil {
		return "", fmt.Errorf("go mod download: %w", err)
	}
	if found.Error != "" || runErr != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w: %s%s", module, version, errors.Join(runErr), found.Error, stderr.String())
	}
	return found.Dir, nil
}

// Gather reads everything that the list names, by path below the upstream folder.
func Gather(ctx context.Context, list List, locate Locate) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, m := range list.Modules {
		dir, err := locate(ctx, m.Module, m.Version)
		if err != nil {
			return nil, err
		}
		for _, t := range m.Take {
			if err := take(os.DirFS(dir), t, files); err != nil {
				return nil, fmt.Errorf("%s@%s: %w", m.Module, m.Version, err)
			}
		}
	}
	return files, nil
}

func take(module fs.FS, t Take, files map[string][]byte) error {
	return fs.WalkDir(module, t.From, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(filepath.FromSlash(t.From), filepath.FromSlash(name))
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		if below != "." && slices.ContainsFunc(t.Except, func(pattern string) bool { return matches(pattern, below) }) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		to := path.Join(t.To, below)
		if _, twice := files[to]; twice {
			return fmt.Errorf("%s comes twice", to)
		}
		data, err := fs.ReadFile(module, name)
		if err == nil && len(t.Objects) > 0 {
			data, err = only(data, t.Objects)
		}
		files[to] = data
		return err
	})
}

// only returns the documents of a YAML file that hold the wanted objects.
func only(data []byte, wanted []string) ([]byte, error) {
	var kept [][]byte
	var missing []string
	missing = append(missing, wanted...)
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal(text, &head); err != nil {
			return nil, err
		}
		if i := slices.Index(missing, head.Kind+"/"+head.Metadata.Name); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			kept = append(kept, text)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("there is no %s in it", strings.Join(missing, ", "))
	}
	return bytes.Join(kept, []byte("---\n")), nil
}

func matches(pattern, below string) bool {
	whole, _ := path.Match(pattern, below)
	base, _ := path.Match(pattern, path.Base(below))
	return whole || base
}

// Write makes the upstream folder below dir hold exactly files, and leaves
// alone what is there already and what is committed (README.md). It returns
// how many files it wrote or removed.
func Write(dir string, files map[string][]byte) (int, error) {
	root := filepath.Join(dir, Dir)
	changed := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		below, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if _, wanted := files[filepath.ToSlash(below)]; wanted || below == "README.md" {
			return nil
		}
		changed++
		return os.Remove(name)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return changed, err
	}
	for name, content := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, content) {
			continue
		}
		changed++
		if err := atomicfile.Write(file, content, 0o644); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// Differences says in what files differ from sums, a line each.
func Differences(sums Sums, files map[string][]byte) []string {
	var lines []string
	for name, content := range files {
		switch want, ok := sums[name]; {
		case !ok:
			lines = append(lines, name+" is not recorded")
		case want != Sum(content):
			lines = append(lines, name+" is not the file that was recorded")
		}
	}
	for name := range sums {
		if _, ok := files[name]; !ok {
			lines = append(lines, name+" is recorded, but is not taken")
		}
	}
	slices.Sort(lines)
	return lines
}
