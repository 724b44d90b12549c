package difference

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kfdev/kfdev/envs/difference/structure"
	"github.com/kfdev/kfdev/internal/strictyaml"
)

// Type is the kind of value that a field may have.
type Type string

// The types of values.
const (
	Integer  Type = "integer"
	Number   Type = "number"
	Quantity Type = "quantity"
	String   Type = "string"
	Boolean  Type = "boolean"
	Object   Type = "object"
	List     Type = "list"
	Presence Type = "presence"
)

func types() []string {
	return []string{string(Integer), string(Number), string(Quantity), string(String), string(Boolean), string(Object), string(List), string(Presence)}
}

// Domain is the set of values that a field may have.
type Domain struct {
	// integer, number, quantity (as in resources: 500m, 1Gi), string, boolean, object, list; presence: the object, field or list's element is there (true) or not (false). Left out where enum or pattern says enough.
	Type Type `yaml:"type,omitempty" json:"type,omitempty" jsonschema:"enum=integer,enum=number,enum=quantity,enum=string,enum=boolean,enum=object,enum=list,enum=presence"`
	// The least that is allowed, itself included; of integers, numbers and quantities.
	Min Bound `yaml:"min,omitempty" json:"min,omitempty"`
	// The most that is allowed, itself included.
	Max Bound `yaml:"max,omitempty" json:"max,omitempty"`
	// All values that are allowed.
	Enum []any `yaml:"enum,omitempty" json:"enum,omitempty" jsonschema:"minItems=1"`
	// A regular expression that the whole text matches.
	Pattern string `yaml:"pattern,omitempty" json:"pattern,omitempty"`
	// The field may be left out.
	Optional bool `yaml:"optional,omitempty" json:"optional,omitempty"`
}

// Bound is the end of a range: a number or a quantity.
type Bound string

// UnmarshalText takes what was written, a number too.
func (b *Bound) UnmarshalText(text []byte) error {
	*b = Bound(text)
	return nil
}

// MarshalYAML writes a number as one.
func (b Bound) MarshalYAML() (any, error) {
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		return n, nil
	}
	return string(b), nil
}

// String says what is allowed: "integer from 1 to 50".
func (d Domain) String() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if d.Type != "" {
		add("%s", d.Type)
	}
	if d.Min != "" {
		add("from %s", d.Min)
	}
	if d.Max != "" {
		add("to %s", d.Max)
	}
	if len(d.Enum) > 0 {
		all := make([]string, len(d.Enum))
		for i, v := range d.Enum {
			all[i] = show(v)
		}
		add("one of %s", strings.Join(all, ", "))
	}
	if d.Pattern != "" {
		add("matching %s", d.Pattern)
	}
	if d.Optional {
		add("or nothing")
	}
	return strings.Join(parts, " ")
}

// Problem is something wrong in an entry; At leads to it within the entry, as
// keys and indexes.
type Problem struct {
	At   []any
	Key  bool // the key itself is meant, not its value
	Text string
}

// check returns what is wrong with the domain itself.
func (d Domain) check() []Problem {
	if d.Type != "" && !slices.Contains(types(), string(d.Type)) {
		fix := "write one of " + strings.Join(types(), ", ")
		if near := strictyaml.Nearest(string(d.Type), types()); near != "" {
			fix = fmt.Sprintf("did you mean %q?", near)
		}
		return []Problem{wrong("type", "type: %q is not known: %s", d.Type, fix)}
	}
	if d.Type == "" && len(d.Enum) == 0 && d.Pattern == "" {
		return []Problem{{At: []any{"allow"}, Text: "nothing says which values are allowed: name a type, an enum or a pattern"}}
	}
	out := d.checkRange()
	if d.Pattern != "" {
		if _, err := regexp.Compile(d.Pattern); err != nil {
			out = append(out, wrong("pattern", "pattern: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: ")))
		} else if d.Type != "" && d.Type != String {
			out = append(out, wrong("pattern", "a pattern goes with the type string only"))
		}
	}
	if d.Type == Presence && (len(d.Enum) > 0 || d.Optional) {
		out = append(out, wrong("type", "presence is true or false: enum and optional do not go with it"))
	}
	for i, v := range d.Enum {
		if err := d.allowsEnum(v); err != nil {
			out = append(out, Problem{At: []any{"allow", "enum", i}, Text: err.Error()})
		}
	}
	return out
}

func wrong(key, format string, args ...any) Problem {
	return Problem{At: []any{"allow", key}, Text: fmt.Sprintf(format, args...)}
}

func (d Domain) checkRange() []Problem {
	var out []Problem
	bounds := [2]*resource.Quantity{}
	for i, each := range []struct {
		key   string
		bound Bound
	}{{"min", d.Min}, {"max", d.Max}} {
		if each.bound == "" {
			continue
		}
		if d.Type != Integer && d.Type != Number && d.Type != Quantity {
			out = append(out, wrong(each.key, "%s goes with the types integer, number and quantity only", each.key))
			continue
		}
		q, err := d.parse(string(each.bound))
		if err != nil {
			out = append(out, wrong(each.key, "%s: %q is no %s", each.key, each.bound, d.Type))
			continue
		}
		bounds[i] = &q
	}
	if bounds[0] != nil && bounds[1] != nil && bounds[0].Cmp(*bounds[1]) > 0 {
		out = append(out, wrong("min", "min is %s, which is more than max, %s", d.Min, d.Max))
	}
	return out
}

func (d Domain) allowsEnum(v any) error {
	v, err := normal(v)
	if err != nil {
		return err
	}
	if v == nil {
		return errors.New("null is no value: write optional: true where the field may be left out")
	}
	d.Enum = nil
	return d.allows(v)
}

// Allows reports why a field may not have a value, or be left out; nil where
// it may.
func (d Domain) Allows(value any, present bool) error {
	switch {
	case d.Type == Presence:
		return nil
	case !present && d.Optional:
		return nil
	case !present:
		return fmt.Errorf("the field is left out, and must be there: %s", d)
	}
	if err := d.allows(value); err != nil {
		return fmt.Errorf("%s is not allowed: %w: allowed is %s", show(value), err, d)
	}
	return nil
}

func (d Domain) allows(v any) error {
	if err := d.ofType(v); err != nil {
		return err
	}
	if d.Min != "" || d.Max != "" {
		if err := d.inRange(v); err != nil {
			return err
		}
	}
	if len(d.Enum) > 0 && !slices.ContainsFunc(d.Enum, func(each any) bool { return d.Same(each, v) }) {
		return errors.New("it is none of the enum")
	}
	if d.Pattern == "" {
		return nil
	}
	text, ok := v.(string)
	if !ok {
		return errors.New("it is no text")
	}
	// The pattern was compiled alone first, so that it cannot close the group.
	if _, err := regexp.Compile(d.Pattern); err != nil {
		return err
	}
	if whole, err := regexp.Compile(`\A(?:` + d.Pattern + `)\z`); err != nil || !whole.MatchString(text) {
		return errors.New("it does not match the pattern as a whole")
	}
	return nil
}

func (d Domain) ofType(v any) error {
	ok := true
	switch d.Type {
	case Integer:
		_, ok = v.(int64)
	case Number, Quantity:
		_, err := d.number(v)
		ok = err == nil
	case String:
		_, ok = v.(string)
	case Boolean, Presence:
		_, ok = v.(bool)
	case Object:
		_, ok = v.(map[string]any)
	case List:
		_, ok = v.([]any)
	}
	if !ok {
		return fmt.Errorf("it is no %s", d.Type)
	}
	return nil
}

func (d Domain) inRange(v any) error {
	n, err := d.number(v)
	if err != nil {
		return err
	}
	if d.Min != "" {
		if low, err := d.parse(string(d.Min)); err != nil || n.Cmp(low) < 0 {
			return fmt.Errorf("it is less than %s", d.Min)
		}
	}
	if d.Max != "" {
		if high, err := d.parse(string(d.Max)); err != nil || n.Cmp(high) > 0 {
			return fmt.Errorf("it is more than %s", d.Max)
		}
	}
	return nil
}

// number returns a value as an exact number. A quantity may be written as
// text; a number may not.
func (d Domain) number(v any) (resource.Quantity, error) {
	switch v := v.(type) {
	case int64:
		return *resource.NewQuantity(v, resource.DecimalSI), nil
	case float64:
		return resource.ParseQuantity(strconv.FormatFloat(v, 'f', -1, 64))
	case string:
		if d.Type == Quantity {
			return d.parse(v)
		}
	}
	return resource.Quantity{}, errors.New("no number")
}

func (d Domain) parse(text string) (resource.Quantity, error) {
	switch d.Type {
	case Integer:
		n, err := strconv.ParseInt(text, 10, 64)
		return *resource.NewQuantity(n, resource.DecimalSI), err
	case Number:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return resource.Quantity{}, err
		}
		return d.number(f)
	default:
		return resource.ParseQuantity(text)
	}
}

// Same reports whether two values are one: as a quantity, 1000m and 1 are.
func (d Domain) Same(a, b any) bool {
	if d.Type == Quantity {
		x, errX := d.number(plain(a))
		y, errY := d.number(plain(b))
		if errX == nil && errY == nil {
			return x.Cmp(y) == 0
		}
	}
	return structure.Equal(plain(a), plain(b))
}

// plain is normal for values that were checked.
func plain(v any) any {
	v, err := normal(v)
	if err != nil {
		return nil
	}
	return v
}
