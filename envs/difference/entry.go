// Package difference says what may differ between environments. One base
// renders every environment; entries, each with exact paths, the values that
// are allowed, a value for each environment, a reason and an owner, are the
// only way to be different. Render puts them into the base, and Prove shows for
// every pair of environments that nothing else differs. All of it is pure: no
// clock, no cluster, no files.
package difference

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// The comments of the fields below are the descriptions in the JSON Schema,
// and speak to whoever writes a kfdev.yaml.

// Entry is one thing that environments may do differently.
type Entry struct {
	// What the difference is called: lower-case letters, digits and hyphens.
	ID string `yaml:"id" json:"id" jsonschema:"pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$,maxLength=63"`
	// The fields that differ, as GROUP/KIND/NAME/FIELD: apps/Deployment/kubeflow:katib-ui/spec/replicas.
	Paths []fieldpath.Path `yaml:"paths" json:"paths" jsonschema:"minItems=1"`
	// The values that the fields may have.
	Allow Domain `yaml:"allow" json:"allow"`
	// The value in each environment; null where an optional field is left out.
	Values map[string]any `yaml:"values,omitempty" json:"values,omitempty"`
	// The value in environments that values does not name.
	Default any `yaml:"default,omitempty" json:"default,omitempty"`
	// Why it has to differ.
	Reason string `yaml:"reason" json:"reason" jsonschema:"minLength=1"`
	// Who answers for it.
	Owner string `yaml:"owner" json:"owner" jsonschema:"minLength=1"`
	// The last day that it is good for, as 2026-12-31; from then on plan, promote and diff refuse it.
	Expires Date `yaml:"expires,omitempty" json:"expires,omitempty" jsonschema:"format=date"`
}

// Value returns what an entry says for an environment: nil where an optional
// field is left out. It reports false where nothing is said.
func (e Entry) Value(environment string) (any, bool) {
	v, ok := e.Values[environment]
	if !ok {
		v, ok = e.Default, e.Default != nil
	}
	v, err := normal(v)
	return v, ok && err == nil
}

// Date is a day.
type Date string

// UnmarshalText takes a day as 2026-12-31.
func (d *Date) UnmarshalText(text []byte) error {
	if _, err := time.Parse(time.DateOnly, string(text)); err != nil {
		return fmt.Errorf("not a day: write it as 2026-12-31")
	}
	*d = Date(text)
	return nil
}

// Passed reports whether the day is over everywhere on the UTC calendar.
func (d Date) Passed(now time.Time) bool {
	day, err := time.Parse(time.DateOnly, string(d))
	return err == nil && !now.Before(day.AddDate(0, 0, 1))
}

// Expired returns the entries whose last day has passed.
func Expired(entries []Entry, now time.Time) []Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return !e.Expires.Passed(now) })
}

// normal returns a decoded value as unstructured objects have it, in memory of
// its own.
func normal(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		return nil, fmt.Errorf("%d is too large", v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%v is no number that JSON knows", v)
		}
		return v, nil
	case time.Time:
		return nil, fmt.Errorf("%s is read as a date: put it in quotes", v.Format(time.DateOnly))
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			each, err := normal(v[k])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = each
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			each, err := normal(v[i])
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out[i] = each
		}
		return out, nil
	case map[any]any:
		return nil, fmt.Errorf("a key is no text: put it in quotes")
	}
	return nil, fmt.Errorf("a value of type %T", v)
}

// show writes a value for people.
func show(v any) string {
	if v == nil {
		return "nothing"
	}
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(out)
}
