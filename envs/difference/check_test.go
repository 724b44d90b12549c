package difference_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// problems reads entries as a project does.
func problems(text string) string {
	var out struct {
		Differences []difference.Entry `yaml:"differences"`
	}
	doc, found := strictyaml.Decode("kfdev.yaml", []byte("differences:\n"+text), &out)
	if doc != nil && len(found) == 0 {
		for _, p := range difference.Check(out.Differences, environments) {
			at := doc.At
			if p.Key {
				at = doc.Key
			}
			found = append(found, at(p.Text, append([]any{"differences"}, p.At...)...))
		}
	}
	return fmt.Sprint(found.Err())
}

const good = `- id: replicas
  paths: [apps/Deployment/*/spec/replicas]
  allow: {type: integer, min: 1, max: 50}
  values: {dev: 1, staging: 2, prod: 10}
  reason: production load
  owner: platform
  expires: 2027-01-31
`

func TestCheckSaysWhereAndWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ old, new, want string }{
		"good":                   {"", "", "<nil>"},
		"a default":              {"{dev: 1, staging: 2, prod: 10}", "{prod: 2}\n  default: 1", "<nil>"},
		"no id":                  {"id: replicas", "id: ''", "kfdev.yaml:2:7: an id is missing"},
		"a bad id":               {"id: replicas", "id: Replicas", "kfdev.yaml:2:7: \"Replicas\" cannot be an id"},
		"the built-in id":        {"id: replicas", "id: registry", "kfdev.yaml:2:7: the id \"registry\" is built in"},
		"no paths":               {"[apps/Deployment/*/spec/replicas]", "[]", "kfdev.yaml:3:10: paths are missing"},
		"a bad path":             {"/spec/replicas", "/spec.replicas", `kfdev.yaml:3:11: differences[0].paths[0]: "apps/Deployment/*/spec.replicas": at character 23: `},
		"a path twice":           {"[apps", "[apps/Deployment/*/spec/replicas, apps", "the path comes twice"},
		"identity":               {"spec/replicas", "metadata/name", "kfdev.yaml:3:11: metadata/name cannot differ"},
		"status":                 {"spec/replicas", "status/replicas", "status/replicas cannot differ"},
		"a secret":               {"apps/Deployment/*/spec/replicas", "core/Secret/x/data/y", "given by reference"},
		"a secret's copy":        {"apps/Deployment/*/spec/replicas", "core/Secret/x/metadata/annotations/y", "given by reference"},
		"a whole object":         {"/spec/replicas", "", "write allow: {type: presence}"},
		"an element":             {"[apps/Deployment/*/spec/replicas]", `["apps/Deployment/*/spec/args[=x]"]`, "is there or is not"},
		"no domain":              {"{type: integer, min: 1, max: 50}", "{}", "kfdev.yaml:4:10: nothing says which values"},
		"an unknown type":        {"type: integer", "type: interger", `kfdev.yaml:4:17: type: "interger" is not known: did you mean "integer"?`},
		"an unknown key":         {"min: 1", "mim: 1", `unknown key "differences[0].allow.mim": did you mean "min"?`},
		"min over max":           {"max: 50", "max: 0", "min is 1, which is more than max, 0"},
		"no number":              {"max: 50", "max: many", `max: "many" is no integer`},
		"a range of texts":       {"type: integer", "type: string", "min goes with"},
		"a bad pattern":          {"{type: integer, min: 1, max: 50}", "{pattern: 'a('}", "kfdev.yaml:4:20: pattern: missing closing )"},
		"a pattern of numbers":   {"min: 1, max: 50", "pattern: a", "a pattern goes with the type string"},
		"an enum of other types": {"min: 1, max: 50", "enum: [1, two]", `kfdev.yaml:4:36: it is no integer`},
		"an enum with null":      {"min: 1, max: 50", "enum: [{a: null}]", "it is no integer"},
		"a value outside":        {"prod: 10", "prod: 51", "kfdev.yaml:5:38: 51 is not allowed: it is more than 50: allowed is integer from 1 to 50"},
		"a text for a number":    {"prod: 10", "prod: '10'", `"10" is not allowed: it is no integer`},
		"an unknown environment": {"prod: 10", "prod: 10, stagin: 1", `kfdev.yaml:5:42: there is no environment "stagin": did you mean "staging"?`},
		"an environment without": {", prod: 10", "", "prod has no value, and there is no default: write prod: VALUE"},
		"left out":               {"prod: 10", "prod: null", "kfdev.yaml:5:38: the field is left out, and must be there"},
		"may be left out":        {"max: 50}\n  values: {dev: 1, staging: 2, prod: 10}", "optional: true}\n  values: {dev: 1, staging: 2, prod: null}", "<nil>"},
		"a date for a text":      {"{type: integer, min: 1, max: 50}\n  values: {dev: 1, staging: 2, prod: 10}", "{type: string}\n  default: 2026-01-02", "put it in quotes"},
		"no reason":              {"  reason: production load\n", "", "kfdev.yaml:2:3: a reason is missing"},
		"no owner":               {"owner: platform", "owner: ' '", "an owner is missing"},
		"no day":                 {"2027-01-31", "2027-01-32", `kfdev.yaml:8:12: differences[0].expires: "2027-01-32": not a day`},
		"an id twice":            {"  expires: 2027-01-31\n", "- {id: replicas, paths: [fingerprint/kubernetes], allow: {pattern: x}, reason: r, owner: o}\n", "kfdev.yaml:8:8: the id \"replicas\" comes twice"},
		"presence":               {"{type: integer, min: 1, max: 50}\n  values: {dev: 1, staging: 2, prod: 10}", "{type: presence}\n  default: 1", "presence is true or false"},
		"an optional index":      {"[apps/Deployment/*/spec/replicas]\n  allow: {type: integer, min: 1, max: 50}", "['apps/Deployment/*/spec/x[0]']\n  allow: {type: integer, optional: true}", "another element without this one"},
		"an optional text":       {"[apps/Deployment/*/spec/replicas]\n  allow: {type: integer, min: 1, max: 50}", "[apps/Deployment/*/spec/x#/y]\n  allow: {type: integer, optional: true}", "inside a text"},
		"mixed":                  {"spec/replicas]", "spec/replicas, fingerprint/kubernetes]", "do not go together"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.old != "" {
				require.Equal(t, 1, strings.Count(good, tc.old))
			}
			require.Contains(t, problems(strings.Replace(good, tc.old, tc.new, 1)), tc.want)
		})
	}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		domain  difference.Domain
		in, out []any
	}{
		{difference.Domain{Type: "integer", Min: "1", Max: "50"}, []any{int64(1), int64(50)}, []any{int64(0), int64(51), "1", 1.5, true, nil}},
		{difference.Domain{Type: "integer", Max: "9223372036854775807"}, []any{int64(9223372036854775807), int64(-9223372036854775808)}, nil},
		{difference.Domain{Type: "number", Min: "0.5", Max: "1"}, []any{0.5, int64(1)}, []any{0.49, 1.01, "1"}},
		{difference.Domain{Type: "quantity", Min: "500m", Max: "1Gi"}, []any{"500m", "0.5", int64(1), "1024Mi", "1Gi", 0.5}, []any{"499m", "1025Mi", "1073741825", "x", true}},
		{difference.Domain{Type: "quantity", Max: "1"}, []any{"1000m", int64(1)}, []any{"1001m"}},
		{difference.Domain{Type: "quantity", Enum: []any{"1", "2Gi"}}, []any{"1000m", int64(1), "2048Mi"}, []any{"2"}},
		{difference.Domain{Enum: []any{"a", 1, true}}, []any{"a", int64(1), true}, []any{"b", "1", int64(2), "true"}},
		{difference.Domain{Pattern: "a|b"}, []any{"a", "b"}, []any{"ab", "a\n", "xa", "bx", "", int64(1)}},
		{difference.Domain{Pattern: "(?m)^a$"}, []any{"a"}, []any{"a\nb", "b\na"}},
		{difference.Domain{Type: "boolean"}, []any{true, false}, []any{"true", int64(1)}},
		{difference.Domain{Type: "object"}, []any{map[string]any{}}, []any{[]any{}, "x"}},
		{difference.Domain{Type: "list"}, []any{[]any{}}, []any{map[string]any{}, "x"}},
	} {
		for _, v := range tc.in {
			require.NoError(t, tc.domain.Allows(v, true), "%v: %v", tc.domain, v)
		}
		for _, v := range tc.out {
			require.Error(t, tc.domain.Allows(v, true), "%v: %v", tc.domain, v)
		}
		require.Error(t, tc.domain.Allows(nil, false))
		tc.domain.Optional = true
		require.NoError(t, tc.domain.Allows(nil, false))
	}
}
