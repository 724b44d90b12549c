package gomod

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/kfdev/kfdev/images/recipe"
)

// packages lists what a program is built from, every package once.
type packages struct {
	count   int
	modules map[required]string // those with a hash → the folder they lie in
}

// list resolves everything that the program imports. Where the workspace is
// not offline, what is missing is fetched.
func (w *workspace) list(ctx context.Context, p recipe.GoProgram, line func(string)) (packages, error) {
	const format = "{{.ImportPath}}\t" + `{{with .Module}}{{if not .Main}}{{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Path}} {{.Version}}{{end}} {{.Dir}}{{end}}{{end}}`
	args := []string{"list", "-mod=readonly", "-deps", "-f", format}
	if line != nil {
		args = append(args, "-x")
	}
	out, err := w.run(ctx, line, append(args, tags(p), p.Package)...)
	if err != nil {
		return packages{}, err
	}
	all, err := lines(out)
	if err != nil {
		return packages{}, err
	}
	found := packages{count: len(all), modules: map[required]string{}}
	for _, l := range all {
		// A module replaced by a folder, our copy, has no version, and was
		// checked when it was copied.
		_, module, _ := strings.Cut(l, "\t")
		if f := strings.SplitN(module, " ", 3); len(f) == 3 && f[1] != "" {
			found.modules[required{f[0], f[1]}] = f[2]
		}
	}
	return found, nil
}

func tags(p recipe.GoProgram) string { return "-tags=" + strings.Join(p.Tags, ",") }

// check holds the files of every module against go.sum, each once.
func (w *workspace) check(ctx context.Context, modules map[required]string, checked map[required]bool) error {
	all := make([]required, 0, len(modules))
	for m := range modules {
		if !checked[m] {
			checked[m] = true
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b required) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Version, b.Version))
	})
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for _, m := range all {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return w.checkDir(modules[m], m.Path, m.Version)
		})
	}
	return g.Wait()
}
