package render

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/internal/strictyaml"
	"github.com/kfdev/kfdev/stack"
)

// settle returns the text of every value of the component: what the project
// sets, checked, or the default.
func settle(c stack.Component, set map[string]string) (map[string]string, error) {
	texts := map[string]string{}
	names := make([]string, 0, len(c.Values))
	for _, v := range c.Values {
		texts[v.Name] = v.Default
		names = append(names, v.Name)
		text, ok := set[v.Name]
		if !ok {
			continue
		}
		if err := v.Check(text); err != nil {
			return nil, fmt.Errorf("the value %s: %w", v.Name, err)
		}
		texts[v.Name] = text
	}
	var problems []error
	for name := range set {
		if !slices.Contains(names, name) {
			problems = append(problems, unknown(name, names))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return texts, errors.Join(problems...)
}

func unknown(name string, names []string) error {
	switch near := strictyaml.Nearest(name, names); {
	case near != "":
		return fmt.Errorf("there is no value %s: did you mean %s?", name, near)
	case len(names) == 0:
		return fmt.Errorf("there is no value %s: the component takes none", name)
	default:
		return fmt.Errorf("there is no value %s: the values are %s", name, strings.Join(names, ", "))
	}
}

// token is where a value goes in.
var token = regexp.MustCompile(`\$\{kfdev\.([A-Za-z0-9]*)\}`)

// substitute puts the values into a file of the component's own folder.
func substitute(name string, content []byte, texts map[string]string) ([]byte, error) {
	if !bytes.Contains(content, []byte("${kfdev.")) {
		return content, nil
	}
	var missing []string
	out := token.ReplaceAllFunc(content, func(found []byte) []byte {
		key := string(token.FindSubmatch(found)[1])
		text, ok := texts[key]
		if !ok {
			missing = append(missing, key)
			return found
		}
		return []byte(text)
	})
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s: ${kfdev.%s} is not one of the component's values", name, missing[0])
	}
	if i := bytes.Index(out, []byte("${kfdev.")); i >= 0 {
		return nil, fmt.Errorf("%s:%d: ${kfdev. without a name and a closing brace", name, 1+bytes.Count(out[:i], []byte("\n")))
	}
	return out, nil
}
