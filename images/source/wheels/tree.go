package wheels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// interpreterFolder is where the base image has its Python (Debian's place).
const interpreterFolder = "/usr/bin"

// maxShebang is what Linux reads of a script's first line, in bytes.
const maxShebang = 255

// Tree unpacks the wheels from the store as an installer would have, into a
// virtual environment at the recipe's prefix. It runs nothing and uses no
// network.
func (m *Maker) Tree(ctx context.Context, spec source.LayerSpec, inputs []recipe.Input) (_ *layer.Tree, err error) {
	task := progress.Start(m.sink, "images/layer/"+spec.Recipe+"/wheels", "unpacking the wheels of "+spec.Recipe, int64(len(inputs)), progress.Items)
	defer func() { task.End(err) }()
	v, err := newVenv(spec.Layer.Wheels)
	if err != nil {
		return nil, &fault.Error{Op: "reading the recipe", Subject: spec.Recipe, Kind: fault.Usage, Err: err}
	}
	for _, input := range sortedWheels(inputs) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		archive, err := readArchive(ctx, m.store, input.File, input.Hash)
		if err == nil {
			err = v.install(archive, input)
		}
		if err != nil {
			return nil, &fault.Error{Op: "unpacking a wheel", Subject: input.File, Err: err}
		}
		task.Add(1)
	}
	return v.finish()
}

func sortedWheels(inputs []recipe.Input) []recipe.Input {
	out := slices.DeleteFunc(slices.Clone(inputs), func(i recipe.Input) bool { return i.Kind != Kind })
	slices.SortFunc(out, func(a, b recipe.Input) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// venv is a virtual environment being laid out.
type venv struct {
	prefix  string // in the image, absolute
	python  string // exact version
	series  string // python3.11
	exclude globs
	only    globs
	tree    layer.Tree
	from    map[string]string // path below the prefix: the wheel it came from
}

func newVenv(want *recipe.Wheels) (*venv, error) {
	if want == nil {
		return nil, errors.New("the layer is not one of wheels")
	}
	v := &venv{prefix: want.Prefix, python: want.Python, from: map[string]string{}}
	if !path.IsAbs(v.prefix) || path.Clean(v.prefix) != v.prefix || v.prefix == "/" {
		return nil, fmt.Errorf("prefix %q is not a clean absolute path", v.prefix)
	}
	if len(v.interpreter()) > maxShebang-2 {
		return nil, fmt.Errorf("prefix %q is too long for a script's first line", v.prefix)
	}
	if !pythonVersion.MatchString(v.python) {
		return nil, fmt.Errorf("python %q is not an exact version such as 3.11.2", v.python)
	}
	v.series = "python" + v.python[:strings.LastIndex(v.python, ".")]
	var err error
	if v.exclude, err = compileGlobs(want.Exclude); err != nil {
		return nil, err
	}
	v.only, err = compileGlobs(want.Only)
	return v, err
}

func (v *venv) interpreter() string { return v.prefix + "/bin/python3" }

func (v *venv) sitePackages() string { return "lib/" + v.series + "/site-packages" }

// wants says whether the recipe takes what lies at a path below the prefix.
func (v *venv) wants(name string) bool {
	return !v.exclude.match(name) && (len(v.only) == 0 || v.only.match(name))
}

// put adds a file below the prefix. The same file of two wheels is taken once
// where its bytes are the same, and is an error where they differ.
func (v *venv) put(name, wheel string, entry layer.Entry) error {
	entry.Path = strings.TrimPrefix(v.prefix, "/") + "/" + name
	if other, ok := v.from[name]; ok {
		old, _ := v.tree.Get(entry.Path)
		same, err := sameContent(old, entry)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("%s is in %s too, with other content", name, other)
		}
		entry.Mode |= old.Mode
		v.tree.Replace(entry)
		return nil
	}
	v.from[name] = wheel
	return v.tree.Add(entry)
}

// finish adds what makes the folder a virtual environment.
func (v *venv) finish() (*layer.Tree, error) {
	base := interpreterFolder + "/" + v.series
	links := map[string]string{"bin/python": "python3", "bin/" + v.series: "python3", "bin/python3": base}
	for name, target := range links {
		if !v.wants(name) {
			continue
		}
		if err := v.put(name, "the environment", layer.Entry{Type: layer.Symlink, Mode: fs.ModePerm, Link: target}); err != nil {
			return nil, err
		}
	}
	if v.wants("pyvenv.cfg") {
		text := fmt.Sprintf("home = %s\ninclude-system-site-packages = false\nversion = %s\nexecutable = %s\n", interpreterFolder, v.python, base)
		if err := v.put("pyvenv.cfg", "the environment", bytesEntry([]byte(text), 0o644)); err != nil {
			return nil, err
		}
	}
	return &v.tree, nil
}
