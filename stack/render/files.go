package render

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/stack"
)

// limits on a folder, so that a wrong path in kfdev.yaml does not read a disk.
const (
	maxFiles = 2000
	maxBytes = 64 << 20
)

// upstreamDir is the sibling folder in which the catalog keeps what comes from
// Go modules, by component.
const upstreamDir = "upstream"

// read reads the component's folder and its upstream folder, by path.
func read(c stack.Component) (map[string][]byte, error) {
	if c.Files == nil {
		return nil, errors.New("the component has no files")
	}
	files := map[string][]byte{}
	if err := readDir(c.Files, c.Dir, files); err != nil {
		return nil, err
	}
	beside := path.Join(path.Dir(c.Dir), upstreamDir, c.Name)
	if within(c.Dir, beside) {
		return files, nil
	}
	if err := readDir(c.Files, beside, files); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return files, nil
}

func readDir(from fs.FS, dir string, files map[string][]byte) error {
	total := 0
	return fs.WalkDir(from, dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != dir && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", name)
		}
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		if total += len(content); total > maxBytes || len(files) >= maxFiles {
			return fmt.Errorf("%s holds more than %d files or %d MiB; is it the right folder?", dir, maxFiles, maxBytes>>20)
		}
		files[name] = content
		return nil
	})
}

func absolute(name string) string { return path.Join("/", name) }

func within(dir, name string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}

// kustomization returns the name of the kustomization file in dir, or "".
func kustomization(dir string, files map[string][]byte) string {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if _, ok := files[path.Join(dir, name)]; ok {
			return path.Join(dir, name)
		}
	}
	return ""
}

// prepare writes a kustomization for a folder of plain manifests.
func prepare(c stack.Component, files map[string][]byte, memory filesys.FileSystem) error {
	if kustomization(c.Dir, files) != "" {
		return nil
	}
	var resources []string
	for name := range files {
		if !within(c.Dir, name) || path.Base(name) == stack.FileName {
			continue
		}
		if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" || ext == ".json" {
			below := strings.TrimPrefix(name, c.Dir+"/")
			resources = append(resources, below)
		}
	}
	if len(resources) == 0 {
		return fmt.Errorf("%s holds no manifests: no kustomization.yaml, and no .yaml, .yml or .json file", c.Dir)
	}
	slices.Sort(resources)
	data, err := yaml.Marshal(map[string]any{"resources": resources})
	if err != nil {
		return err
	}
	name := path.Join(c.Dir, konfig.DefaultKustomizationFileName())
	files[name] = data
	return memory.WriteFile(absolute(name), data)
}

// closed checks that every kustomization that is reached names only what is in
// files. Kustomize takes a name that it does not find for a Git repository or a
// web address and fetches it; a stack never changes with what a server says.
func closed(dir string, files map[string][]byte) error {
	seen := map[string]bool{}
	var visit func(dir string) error
	visit = func(dir string) error {
		if seen[dir] {
			return nil
		}
		seen[dir] = true
		name := kustomization(dir, files)
		if name == "" {
			return fmt.Errorf("%s holds no kustomization.yaml", dir)
		}
		var k types.Kustomization
		if err := yaml.Unmarshal(files[name], &k); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(k.HelmCharts) > 0 || k.HelmGlobals != nil || len(k.HelmChartInflationGenerator) > 0 {
			return fmt.Errorf("%s: Helm charts inside a kustomization are not taken", name)
		}
		for _, entry := range references(&k) {
			target := path.Join(dir, entry)
			if _, ok := files[target]; ok {
				continue
			}
			if !isDir(target, files) {
				return fmt.Errorf("%s names %q, which is not in the component's folder; nothing is fetched from elsewhere", name, entry)
			}
			if err := visit(target); err != nil {
				return err
			}
		}
		return nil
	}
	return visit(dir)
}

// references returns every entry of a kustomization that kustomize would load.
func references(k *types.Kustomization) []string {
	var all []string
	for _, list := range [][]string{
		k.Resources, k.Components, k.Crds, k.Bases, k.Generators, k.Transformers, k.Validators, k.Configurations, //nolint:staticcheck // the old field is read by kustomize too
	} {
		for _, entry := range list {
			if !strings.Contains(entry, "\n") { // an inline transformer
				all = append(all, entry)
			}
		}
	}
	for _, p := range k.Patches {
		if p.Path != "" {
			all = append(all, p.Path)
		}
	}
	if schema := k.OpenAPI["path"]; schema != "" {
		all = append(all, schema)
	}
	return all
}

func isDir(dir string, files map[string][]byte) bool {
	for name := range files {
		if within(dir, name) {
			return true
		}
	}
	return false
}
