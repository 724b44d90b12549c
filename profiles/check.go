package profiles

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Problem is something that is wrong with what was written, with the way that
// leads there.
type Problem struct {
	At   []any // from the list of profiles on
	Text string
}

// Check returns what is wrong with a project's profiles, as far as that can be
// told without their files.
func Check(all []Profile) []Problem {
	var out []Problem
	seen := map[string]bool{}
	for i, p := range all {
		c := checker{}
		c.profile(p)
		if seen[p.Name] && p.Name != "" {
			c.add([]any{"name"}, "the profile %q comes twice", p.Name)
		}
		seen[p.Name] = true
		for _, each := range c.problems {
			out = append(out, Problem{At: append([]any{i}, each.At...), Text: each.Text})
		}
	}
	return out
}

type checker struct{ problems []Problem }

func (c *checker) add(at []any, format string, args ...any) {
	c.problems = append(c.problems, Problem{At: at, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) profile(p Profile) {
	switch {
	case p.Name == "":
		c.add([]any{"name"}, "a name is missing: it becomes the team's namespace")
	case len(validation.IsDNS1123Label(p.Name)) > 0:
		c.add([]any{"name"}, "%q cannot be a namespace: lower-case letters, digits and hyphens, at most 63", p.Name)
	case ofSystem(p.Name):
		c.add([]any{"name"}, "%q is the stack's or the cluster's own namespace: a team needs another", p.Name)
	}
	if strings.TrimSpace(p.Owner) == "" {
		c.add([]any{"owner"}, "an owner is missing: name the user whom the namespace belongs to")
	}
	c.contributors(p)
	for _, name := range slices.Sorted(maps.Keys(p.Quota)) {
		if problems := validation.IsQualifiedName(name); len(problems) > 0 {
			c.add([]any{"quota", name}, "%q is no resource: %s", name, problems[0])
		}
	}
	for i, image := range p.Images {
		switch _, err := reference.ParseDockerRef(image); {
		case err != nil:
			c.add([]any{"images", i}, "%q is no image: %v", image, err)
		case strings.Contains(image, "@"):
			c.add([]any{"images", i}, "%q names a digest: name the tag, and kfdev lock pins what it is", image)
		}
	}
	for i, pattern := range p.Objects {
		if _, err := path.Match(pattern, ""); err != nil || path.IsAbs(pattern) || slices.Contains(strings.Split(pattern, "/"), "..") {
			c.add([]any{"objects", i}, "%q is no file of the project: write it relative to the project's folder, as teams/*.yaml", pattern)
		}
	}
}

func (c *checker) contributors(p Profile) {
	seen := map[string]bool{}
	for i, each := range p.Contributors {
		switch {
		case strings.TrimSpace(each.User) == "":
			c.add([]any{"contributors", i, "user"}, "a user is missing")
		case each.User == p.Owner:
			c.add([]any{"contributors", i, "user"}, "%q is the owner already", each.User)
		case seen[bindingName(each)]:
			c.add([]any{"contributors", i, "user"}, "%q has the role %s already (or a user whose name is as good as the same to Kubeflow)", each.User, each.Role)
		}
		seen[bindingName(each)] = true
		if each.Role != Edit && each.Role != View {
			c.add([]any{"contributors", i, "role"}, "%q is no role: edit or view", each.Role)
		}
	}
}

// ofSystem reports whether a namespace can't be a team's.
func ofSystem(name string) bool {
	return name == "default" || name == "kubeflow" || strings.HasPrefix(name, "kube-") || strings.HasPrefix(name, "kfdev-")
}
