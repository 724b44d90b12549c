package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/kfdev/kfdev/internal/strictyaml"
)

// FileName is the name of a recipe's file in its folder.
const FileName = "recipe.yaml"

// What the parts of a recipe may look like.
var (
	namePattern      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	toolchainPattern = regexp.MustCompile(`^go1\.[0-9]+(\.[0-9]+|rc[0-9]+)$`)
	versionPattern   = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)
	packagePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`) // Debian policy 5.6.7
	suitePattern     = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	envPattern       = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	imageNamePattern = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9._-]*$`)
)

// Self is the source of a File that is the kfdev program itself.
const Self = "kfdev:"

// Decode reads and checks one recipe. File is its name in messages, and folder
// what its file names point into. All that is wrong is reported at once, each
// with its place.
func Decode(file string, raw []byte, folder fs.FS) (Recipe, error) {
	var r Recipe
	doc, problems := strictyaml.Decode(file, raw, &r)
	if doc == nil {
		return Recipe{}, problems.Err()
	}
	c := checker{doc: doc, folder: folder, problems: problems}
	c.recipe(r)
	if err := c.problems.Err(); err != nil {
		return Recipe{}, err
	}
	return r, nil
}

// checker gathers what is wrong in a recipe beyond its form.
type checker struct {
	doc      *strictyaml.Document
	folder   fs.FS
	problems strictyaml.Problems
}

// at notes a problem at the value that where leads to.
func (c *checker) at(where []any, format string, args ...any) {
	c.problems = append(c.problems, c.doc.At(fmt.Sprintf(format, args...), where...))
}

// in returns the place below where.
func in(where []any, parts ...any) []any { return append(where[:len(where):len(where)], parts...) }

func (c *checker) recipe(r Recipe) {
	top := []any{}
	if r.APIVersion != APIVersion {
		c.at(in(top, "apiVersion"), "apiVersion is %q; this kfdev reads %q", r.APIVersion, APIVersion)
	}
	if r.Kind != "Recipe" {
		c.at(in(top, "kind"), "kind is %q; a recipe's is %q", r.Kind, "Recipe")
	}
	c.name(in(top, "name"), r.Name)
	if r.From != "" {
		c.name(in(top, "from"), r.From)
	} else if len(r.Layers) == 0 {
		c.at(in(top, "layers"), "an image has layers; name some here, or a recipe to start from")
	}
	if strings.Contains(r.StandsFor, "@") || r.StandsFor != "" && !imageNamePattern.MatchString(r.StandsFor) {
		c.at(in(top, "standsFor"), "%q is not host/repository:tag", r.StandsFor)
	}
	for i, l := range r.Layers {
		c.layer(in(top, "layers", i), l)
	}
	c.config(in(top, "config"), r.Config)
}

func (c *checker) name(where []any, name string) {
	if !namePattern.MatchString(name) {
		c.at(where, "%q is not a name: lower-case letters, digits and hyphens, at most 63", name)
	}
}

func (c *checker) layer(where []any, l Layer) {
	switch l.Kind() {
	case KindNone:
		c.at(where, "a layer is exactly one of use, go, debian, wheels, npm, files, preload")
	case KindUse:
		c.name(in(where, "use"), l.Use)
	case KindGo:
		c.goLayer(in(where, "go"), l.Go)
	case KindDebian:
		c.debian(in(where, "debian"), l.Debian)
	case KindWheels:
		c.file(in(where, "wheels", "lock"), l.Wheels.Lock)
		c.absolute(in(where, "wheels", "prefix"), l.Wheels.Prefix)
		if !versionPattern.MatchString(l.Wheels.Python) {
			c.at(in(where, "wheels", "python"), "%q is not an exact version, such as 3.11.2", l.Wheels.Python)
		}
	case KindNPM:
		c.file(in(where, "npm", "lock"), l.NPM.Lock)
		c.absolute(in(where, "npm", "prefix"), l.NPM.Prefix)
	case KindFiles:
		c.files(in(where, "files"), l.Files)
	case KindPreload:
		c.preload(in(where, "preload", "images"), l.Preload)
	}
}

func (c *checker) goLayer(where []any, g *Go) {
	if !toolchainPattern.MatchString(g.Toolchain) {
		c.at(in(where, "toolchain"), "%q is not an exact Go release, such as go1.26.8", g.Toolchain)
	}
	if !fs.ValidPath(g.Module) {
		c.at(in(where, "module"), "%q is not a folder below the recipe's", g.Module)
	} else {
		for _, name := range []string{"go.mod.txt", "go.sum.txt"} {
			c.file(in(where, "module"), path.Join(g.Module, name))
		}
	}
	if len(g.Programs) == 0 {
		c.at(in(where, "programs"), "a Go layer builds at least one program")
	}
	for i, p := range g.Programs {
		c.program(in(where, "programs", i), p)
	}
	for to, from := range g.Overlay {
		at := in(where, "overlay", to)
		if !fs.ValidPath(to) {
			c.at(at, "%q is not module/path/file", to)
		}
		if name, ok := strings.CutPrefix(from, "module:"); !ok {
			c.file(at, from)
		} else if !fs.ValidPath(name) {
			c.at(at, "%q is not a file of the module", name)
		}
	}
}

func (c *checker) program(at []any, p GoProgram) {
	if p.Package == "" || strings.ContainsAny(p.Package, " @\\") || strings.HasPrefix(p.Package, "-") {
		c.at(in(at, "package"), "%q is not the import path of a package", p.Package)
	}
	c.absolute(in(at, "path"), p.Path)
	for j, link := range p.Links {
		c.absolute(in(at, "links", j), link)
	}
	for key, value := range p.Set {
		if strings.ContainsAny(key+value, " '\"\n\t") || !strings.Contains(key, ".") {
			c.at(in(at, "set", key), "%s=%s is not import/path.Name=value without blanks and quotes", key, value)
		}
	}
	for j, tag := range p.Tags {
		if tag == "" || strings.ContainsAny(tag, " ,") {
			c.at(in(at, "tags", j), "%q is not a build tag", tag)
		}
	}
}

func (c *checker) debian(where []any, d *Debian) {
	if !suitePattern.MatchString(d.Suite) {
		c.at(in(where, "suite"), "%q is not a Debian suite, such as bookworm", d.Suite)
	}
	if len(d.Packages) == 0 {
		c.at(in(where, "packages"), "a Debian layer names at least one package")
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"packages", d.Packages}, {"refuse", d.Refuse}} {
		for i, name := range list.names {
			if !packagePattern.MatchString(name) {
				c.at(in(where, list.key, i), "%q is not a Debian package's name", name)
			}
		}
	}
	c.files(in(where, "steps"), d.Steps)
}

func (c *checker) files(where []any, list []File) {
	for i, f := range list {
		at := in(where, i)
		c.absolute(in(at, "path"), f.Path)
		if _, err := f.FileMode(); err != nil {
			c.at(in(at, "mode"), "%v", err)
		}
		if f.UID < 0 || f.GID < 0 {
			c.at(at, "an owner is not negative")
		}
		set := 0
		for _, is := range []bool{c.doc.Has(in(at, "content")...), f.From != "", f.Link != "", f.Dir, f.Remove} {
			if is {
				set++
			}
		}
		if set != 1 {
			c.at(at, "exactly one of content, from, link, dir and remove says what is at %s", f.Path)
		}
		if f.From != "" && f.From != Self {
			c.file(in(at, "from"), f.From)
		}
	}
}

// file notes a problem unless name is a file of the recipe's folder.
func (c *checker) file(where []any, name string) {
	info, err := fs.Stat(c.folder, name)
	switch {
	case !fs.ValidPath(name):
		c.at(where, "%q is not a file below the recipe's folder", name)
	case errors.Is(err, fs.ErrNotExist):
		c.at(where, "there is no file %s in the recipe's folder", name)
	case err != nil:
		c.at(where, "%v", err)
	case !info.Mode().IsRegular():
		c.at(where, "%s is no file", name)
	}
}

// absolute notes a problem unless name is a clean absolute path below the root.
func (c *checker) absolute(where []any, name string) {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		c.at(where, "%q is not a clean absolute path", name)
	}
}

func (c *checker) preload(where []any, p *Preload) {
	if len(p.Images) == 0 {
		c.at(where, "a preload layer names at least one image")
	}
	for i, image := range p.Images {
		c.name(in(where, i, "recipe"), image.Recipe)
		if !imageNamePattern.MatchString(image.Name) {
			c.at(in(where, i, "name"), "%q is not host/repository:tag", image.Name)
		}
	}
}

func (c *checker) config(where []any, config Config) {
	for i, e := range config.Env {
		if !envPattern.MatchString(e) {
			c.at(in(where, "env", i), "%q is not NAME=value", e)
		}
	}
	for i, v := range config.Volumes {
		c.absolute(in(where, "volumes", i), v)
	}
	if config.WorkingDir != "" && config.WorkingDir != "/" {
		c.absolute(in(where, "workingDir"), config.WorkingDir)
	}
}

// FileMode returns the file's permission bits with setuid, setgid and sticky
// as fs.FileMode has them.
func (f File) FileMode() (fs.FileMode, error) {
	if f.Mode == "" {
		if f.Dir {
			return 0o755, nil
		}
		return 0o644, nil
	}
	bits, err := strconv.ParseUint(f.Mode, 8, 32)
	if err != nil || bits > 0o7777 {
		return 0, fmt.Errorf("mode %q is not three or four octal digits", f.Mode)
	}
	mode := fs.FileMode(bits & 0o777)
	for _, special := range []struct {
		bit  uint64
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if bits&special.bit != 0 {
			mode |= special.mode
		}
	}
	return mode, nil
}
