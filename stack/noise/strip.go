package noise

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// finder tells of the places of one object that a rule names. It looks at the
// object as it is live: what one rule finds must not depend on what another
// took out before.
type finder struct {
	owners  []entry
	rule    field
	pattern *regexp.Regexp
	applied any // what is known of it
	live    map[string]any
	found   func(at []place)
}

// walk follows a path below node.
func (f *finder) walk(node any, path Path, at []place) {
	if len(path) == 0 {
		if f.noise(node, at) {
			f.found(at)
		}
		return
	}
	switch node := node.(type) {
	case map[string]any:
		if s := path[0]; !s.All && !s.Prefix { // the usual step, without a look at the others
			if value, ok := node[s.Key]; ok && !s.Match {
				f.walk(value, path[1:], append(slices.Clip(at), place{key: s.Key}))
			}
			return
		}
		for key, value := range node {
			if path[0].takes(key) {
				f.walk(value, path[1:], append(slices.Clip(at), place{key: key}))
			}
		}
	case []any:
		for i, item := range node {
			if path[0].picks(item) {
				f.walk(item, path[1:], append(slices.Clip(at), place{item: item, n: i, list: true}))
			}
		}
	}
}

// takes reports whether a step leads to a map's key.
func (s Step) takes(key string) bool {
	return s.All || s.Prefix && strings.HasPrefix(key, s.Key)
}

// picks reports whether a step leads to a list's element.
func (s Step) picks(item any) bool {
	if s.All {
		return true
	}
	fields, ok := item.(map[string]any)
	if !ok || !s.Match {
		return false
	}
	text, ok := scalar(fields[s.Key])
	return ok && text == s.Value
}

// noise reports whether the rule holds for a value.
func (f *finder) noise(value any, at []place) bool {
	if f.pattern != nil && !f.pattern.MatchString(text(value)) {
		return false
	}
	if f.rule.derive != nil && !f.rule.derive(surroundings(f.applied, f.live, at), at, value) {
		return false
	}
	if f.rule.unowned {
		return !slices.ContainsFunc(f.owners, func(e entry) bool { return e.owns(at) })
	}
	if !f.rule.wanted && slices.ContainsFunc(f.owners, func(e entry) bool { return e.mine() && e.says(at) }) {
		return false
	}
	if len(f.rule.managers) == 0 {
		return true
	}
	return slices.ContainsFunc(f.owners, func(e entry) bool { return matchAny(f.rule.managers, e.manager) && e.owns(at) })
}

// text writes a value as patterns see it: a scalar as it is, all else as JSON.
func text(value any) string {
	if t, ok := scalar(value); ok {
		return t
	}
	data, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(data)
}

// mark is a place that is to go, or leads to some.
type mark struct {
	goes  bool
	below map[any]*mark
}

func (m *mark) put(at []any) {
	for _, part := range at {
		if m.below == nil {
			m.below = map[any]*mark{}
		}
		if m.below[part] == nil {
			m.below[part] = &mark{}
		}
		m = m.below[part]
	}
	m.goes = true
}

// prune returns what is left of a value without what is marked. Maps and lists
// that this empties go as well, but for elements of lists: an object in which
// nobody wrote an annotation has no annotations at all.
func prune(value any, m *mark) (left any, gone bool) {
	if m.goes {
		return nil, true
	}
	switch value := value.(type) {
	case map[string]any:
		before := len(value)
		for part, below := range m.below {
			key, _ := part.(string)
			rest, gone := prune(value[key], below)
			if gone {
				delete(value, key)
			} else {
				value[key] = rest
			}
		}
		return value, before > 0 && len(value) == 0
	case []any:
		out := make([]any, 0, len(value))
		for i, item := range value {
			below := m.below[i]
			if below == nil {
				out = append(out, item)
				continue
			}
			if !below.goes {
				rest, _ := prune(item, below)
				out = append(out, rest)
			}
		}
		return out, len(value) > 0 && len(out) == 0
	}
	return value, false
}
