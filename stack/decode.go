package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// Load reads the component whose folder is dir in files. A folder without a
// component.yaml, as a person's own manifests are, becomes a component of the
// folder's name with nothing but manifests. Everything wrong is reported at
// once, by file, line and column, as a fault of kind Usage.
func Load(files fs.FS, dir string) (Component, error) {
	file := path.Join(dir, FileName)
	data, err := fs.ReadFile(files, file)
	if errors.Is(err, fs.ErrNotExist) {
		return plain(files, dir)
	}
	if err != nil {
		return Component{}, &fault.Error{Op: "reading a component", Subject: file, Err: err}
	}
	c, err := Decode(file, data)
	if err != nil {
		return Component{}, err
	}
	c.Files, c.Dir = files, dir
	return c, nil
}

func plain(files fs.FS, dir string) (Component, error) {
	info, err := fs.Stat(files, dir)
	if err == nil && !info.IsDir() {
		err = errors.New("is not a folder")
	}
	if err != nil {
		return Component{}, &fault.Error{Op: "reading a component", Subject: dir, Kind: fault.NotFound, Err: err,
			Hint: "a component is a folder of manifests, with a kustomization.yaml or without"}
	}
	name := path.Base(dir)
	return Component{APIVersion: APIVersion, Kind: Kind, Name: name, Version: "folder", Title: name, Files: files, Dir: dir}, nil
}

// Decode reads a component file. The name file is for messages.
func Decode(file string, data []byte) (Component, error) {
	var c Component
	doc, problems := strictyaml.Decode(file, data, &c)
	if len(problems) == 0 {
		v := validator{doc: doc}
		v.component(c)
		problems = v.problems
	}
	if err := problems.Err(); err != nil {
		return Component{}, &fault.Error{Op: "reading a component", Kind: fault.Usage, Err: err}
	}
	return c, nil
}

// validator checks what the types cannot say.
type validator struct {
	doc      *strictyaml.Document
	problems strictyaml.Problems
}

func (v *validator) bad(text string, path ...any) {
	v.problems = append(v.problems, v.doc.At(text, path...))
}

func (v *validator) component(c Component) {
	if c.APIVersion != APIVersion {
		v.bad(fmt.Sprintf("apiVersion is %q; this kfdev reads %s", c.APIVersion, APIVersion), "apiVersion")
	}
	if c.Kind != Kind {
		v.bad(fmt.Sprintf("kind is %q; it must be %s", c.Kind, Kind), "kind")
	}
	v.label("name", c.Name, "name")
	if c.Version == "" {
		v.bad("version is missing", "version")
	}
	if c.Title == "" {
		v.bad("title is missing: one line for people", "title")
	}
	if c.Namespace != "" {
		v.label("namespace", c.Namespace, "namespace")
	}
	v.once("requires", c.Requires, func(s string) string { return s })
	if i := slices.Index(c.Requires, c.Name); i >= 0 {
		v.bad("a component cannot require itself", "requires", i)
	}
	v.images(c.Images)
	for i, r := range c.Rules {
		if err := r.Validate(); err != nil {
			v.bad(err.Error(), "rules", i)
		}
	}
	v.certificates(c)
	v.secrets(c)
	v.values(c.Values)
	v.open(c)
}

func (v *validator) label(what, s string, path ...any) {
	if problems := validation.IsDNS1123Label(s); len(problems) > 0 {
		v.bad(fmt.Sprintf("%s %q: %s", what, s, problems[0]), path...)
	}
}

func (v *validator) once(key string, list []string, name func(string) string) {
	seen := map[string]bool{}
	for i, s := range list {
		if seen[name(s)] {
			v.bad(fmt.Sprintf("%q comes twice", s), key, i)
		}
		seen[name(s)] = true
	}
}

// published is a fully qualified image with a tag and without a digest.
var published = regexp.MustCompile(`^[a-z0-9.-]+\.[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

func (v *validator) images(images []Image) {
	seen := map[string]bool{}
	for i, image := range images {
		v.label("image name", image.Name, "images", i, "name")
		if seen[image.Name] {
			v.bad(fmt.Sprintf("image %q comes twice", image.Name), "images", i, "name")
		}
		seen[image.Name] = true
		switch {
		case strings.Contains(image.Published, "@"):
			v.bad("a digest; the catalog holds names and tags, and kfdev lock resolves them", "images", i, "published")
		case image.Published == "" && image.Recipe == "":
			v.bad("published or recipe is wanted", "images", i)
		case image.Published != "" && !published.MatchString(image.Published):
			v.bad(fmt.Sprintf("%q is not registry/repository:tag", image.Published), "images", i, "published")
		}
		if image.Use != InManifests && image.Use != InSmoke {
			v.bad(fmt.Sprintf("use is %q; it is %s or left out", image.Use, InSmoke), "images", i, "use")
		}
	}
}

// object checks a kind/name.
func (v *validator) object(s string, path ...any) {
	kind, name, ok := strings.Cut(s, "/")
	if !ok || kind == "" || name == "" || kind[0] < 'A' || kind[0] > 'Z' {
		v.bad(fmt.Sprintf("%q is not kind/name (Deployment/workflow-controller)", s), path...)
	}
}

func (v *validator) certificates(c Component) {
	for i, cert := range c.Certificates {
		v.label("secret", cert.Secret, "certificates", i, "secret")
		if cert.Namespace == "" && c.Namespace == "" {
			v.bad("namespace is wanted, since the component has none", "certificates", i)
		}
		if cert.Service == "" && len(cert.DNSNames) == 0 {
			v.bad("service or dnsNames is wanted", "certificates", i)
		}
		for j, object := range cert.Inject {
			v.object(object, "certificates", i, "inject", j)
		}
	}
}

func (v *validator) secrets(c Component) {
	for i, s := range c.Secrets {
		v.label("secret", s.Name, "secrets", i, "name")
		if s.Namespace == "" && c.Namespace == "" {
			v.bad("namespace is wanted, since the component has none", "secrets", i)
		}
		if len(s.Keys) == 0 {
			v.bad("keys are wanted", "secrets", i)
		}
		for j, k := range s.Keys {
			if problems := validation.IsConfigMapKey(k.Name); len(problems) > 0 {
				v.bad(fmt.Sprintf("key %q: %s", k.Name, problems[0]), "secrets", i, "keys", j, "name")
			}
			if (k.Bytes == 0) == (k.Value == "") {
				v.bad("exactly one of bytes and value is wanted", "secrets", i, "keys", j)
			}
			if k.Bytes < 0 || k.Bytes > 1024 {
				v.bad("bytes is 1 to 1024", "secrets", i, "keys", j, "bytes")
			}
		}
	}
}

func (v *validator) values(values []Value) {
	seen := map[string]bool{}
	for i, value := range values {
		if !identifier.MatchString(value.Name) {
			v.bad(fmt.Sprintf("value name %q: letters and digits, a small letter first", value.Name), "values", i, "name")
		}
		if seen[value.Name] {
			v.bad(fmt.Sprintf("value %q comes twice", value.Name), "values", i, "name")
		}
		seen[value.Name] = true
		if value.Description == "" {
			v.bad("description is missing", "values", i)
		}
		if err := value.Check(value.Default); err != nil {
			v.bad("default: "+err.Error(), "values", i, "default")
		}
	}
}

func (v *validator) open(c Component) {
	if c.Open == nil {
		return
	}
	if c.Open.Service == "" {
		v.bad("service is missing", "open")
	}
	if !slices.Contains([]string{"", "http", "https"}, c.Open.Scheme) {
		v.bad("scheme is http or https", "open", "scheme")
	}
	if c.Open.Port < 1 || c.Open.Port > 65535 {
		v.bad("port is 1 to 65535", "open", "port")
	}
	if c.Open.Namespace == "" && c.Namespace == "" {
		v.bad("namespace is wanted, since the component has none", "open")
	}
}
