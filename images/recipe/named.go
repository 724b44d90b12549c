package recipe

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Named returns the files of the recipe's folder that the layer is made from,
// sorted.
func (l Layer) Named(folder fs.FS) ([]string, error) {
	var names []string
	add := func(files []File) {
		for _, f := range files {
			if f.From != "" && f.From != Self {
				names = append(names, f.From)
			}
		}
	}
	switch {
	case l.Go != nil:
		sources, err := l.Go.Sources(folder)
		if err != nil {
			return nil, err
		}
		for _, s := range sources {
			names = append(names, path.Join(l.Go.Module, s))
		}
		for _, from := range l.Go.Overlay {
			if !strings.HasPrefix(from, "module:") {
				names = append(names, from)
			}
		}
	case l.Debian != nil:
		add(l.Debian.Steps)
	case l.Wheels != nil:
		names = append(names, l.Wheels.Lock)
	case l.NPM != nil:
		names = append(names, l.NPM.Lock)
	default:
		add(l.Files)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Sources returns the files of the module of a Go layer, relative to its
// folder: go.mod.txt, go.sum.txt, and *.go.txt in it and below. Folders of
// other modules below it are left out.
func (g *Go) Sources(folder fs.FS) ([]string, error) {
	var names []string
	err := fs.WalkDir(folder, g.Module, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if _, err := fs.Stat(folder, path.Join(name, "go.mod.txt")); err == nil && name != g.Module {
				return fs.SkipDir
			}
			return nil
		}
		base := path.Base(name)
		if base == "go.mod.txt" || base == "go.sum.txt" || strings.HasSuffix(base, ".go.txt") {
			if g.Module != "." {
				name = strings.TrimPrefix(name, g.Module+"/")
			}
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}
