package noise

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// stripper takes what one rule names out of one object.
type stripper struct {
	owners  []entry
	rule    field
	pattern *regexp.Regexp
	found   func(at []place) // nil: it is taken out; else it is only told of
}

// takes reports whether a value is noise and goes.
func (s *stripper) takes(value any, at []place) bool {
	if !s.noise(value, at) {
		return false
	}
	if s.found != nil {
		s.found(at)
		return false
	}
	return true
}

// walk removes what the path leads to below node, and returns what is left of
// node. Maps and lists that this empties go as well: an object in which nobody
// wrote an annotation has no annotations at all.
func (s *stripper) walk(node any, path Path, at []place) (left any, emptied bool) {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			if !path[0].takes(key) {
				continue
			}
			here := append(slices.Clip(at), place{key: key})
			if len(path) == 1 {
				if s.takes(value, here) {
					delete(node, key)
				}
				continue
			}
			rest, gone := s.walk(value, path[1:], here)
			if gone {
				delete(node, key)
			} else {
				node[key] = rest
			}
		}
		return node, len(node) == 0
	case []any:
		return s.list(node, path, at)
	}
	return node, false
}

func (s *stripper) list(list []any, path Path, at []place) (any, bool) {
	var left []any
	for i, item := range list {
		here := append(slices.Clip(at), place{item: item, n: i, list: true})
		switch {
		case !path[0].picks(item):
		case len(path) == 1:
			if s.takes(item, here) {
				continue
			}
		default:
			// An element stays, even an empty one: its place says something.
			item, _ = s.walk(item, path[1:], here)
		}
		left = append(left, item)
	}
	if len(left) == len(list) {
		return list, false
	}
	return left, len(left) == 0
}

// takes reports whether a step leads to a map's key.
func (s Step) takes(key string) bool {
	switch {
	case s.All:
		return true
	case s.Match:
		return false
	case s.Prefix:
		return strings.HasPrefix(key, s.Key)
	}
	return s.Key == key
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
func (s *stripper) noise(value any, at []place) bool {
	if s.pattern != nil && !s.pattern.MatchString(text(value)) {
		return false
	}
	if s.rule.unowned {
		return !slices.ContainsFunc(s.owners, func(e entry) bool { return e.owns(at) })
	}
	owned := slices.ContainsFunc(s.owners, func(e entry) bool { return e.mine() && e.says(at) })
	if owned && !s.rule.wanted {
		return false
	}
	if len(s.rule.managers) == 0 {
		return true
	}
	return slices.ContainsFunc(s.owners, func(e entry) bool { return matchAny(s.rule.managers, e.manager) && e.owns(at) })
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
