package noise

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// derivation reports whether a value is what the API server makes of its
// surroundings where nothing is said: the map that it is in, and the ones above.
type derivation func(around []map[string]any, at []place, value any) bool

// derivations are the values that rules can ask for by name.
// Source: SetDefaults_NetworkPolicy, SetDefaults_Container, SetDefaults_Volume,
// SetDefaults_Job and SetDefaults_LimitRangeItem in k8s.io/kubernetes/pkg/apis.
func derivations() map[string]derivation {
	return map[string]derivation{"directions": directions, "pull-policy": pullPolicy, "replacement": replacement, "limits": limits}
}

// directions: a NetworkPolicy is of what comes in, and, where it has rules for
// that, of what goes out.
func directions(around []map[string]any, _ []place, value any) bool {
	want := `["Ingress"]`
	if rules, _ := around[0]["egress"].([]any); len(rules) > 0 {
		want = `["Ingress","Egress"]`
	}
	return text(value) == want
}

// pullPolicy: what has no tag or digest, or the tag latest, is pulled always.
func pullPolicy(around []map[string]any, _ []place, value any) bool {
	image, _ := around[0]["image"].(string)
	if image == "" {
		image, _ = around[0]["reference"].(string) // of an image volume
	}
	name, _, digested := strings.Cut(image, "@")
	_, tag, tagged := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
	want := "IfNotPresent"
	if tag == "latest" || !tagged && !digested {
		want = "Always"
	}
	return text(value) == want
}

// replacement: a Job with a policy of failures replaces only pods that failed.
func replacement(around []map[string]any, _ []place, value any) bool {
	want := "TerminatingOrFailed"
	if around[0]["podFailurePolicy"] != nil {
		want = "Failed"
	}
	return text(value) == want
}

// limits: of each resource of a container, what is not said of its limit is its
// maximum, and what is not said of its request is its limit, else its minimum.
func limits(around []map[string]any, at []place, value any) bool {
	if len(around) < 2 || len(at) < 2 || around[1]["type"] != "Container" {
		return false
	}
	key := at[len(at)-1].key
	from := []string{"max"}
	if at[len(at)-2].key == "defaultRequest" {
		from = []string{"default", "max", "min"}
	}
	for _, each := range from {
		if amounts, _ := around[1][each].(map[string]any); amounts[key] != nil {
			return sameAmount(amounts[key], value)
		}
	}
	return false
}

// sameAmount reports whether two quantities are the same, in any form.
func sameAmount(a, b any) bool {
	x, isX := scalar(a)
	y, isY := scalar(b)
	if !isX || !isY {
		return false
	}
	p, err := resource.ParseQuantity(x)
	q, other := resource.ParseQuantity(y)
	return err == nil && other == nil && p.Cmp(q) == 0
}

// surroundings are the maps on the way to a place, the nearest first: of what
// was applied where that has the place, since what is live around the value may
// be somebody's too; else of the live object.
func surroundings(applied, live any, at []place) []map[string]any {
	var out []map[string]any
	for _, p := range at {
		fields, ok := applied.(map[string]any)
		if !ok {
			fields, ok = live.(map[string]any)
		}
		if ok {
			out = append(out, fields)
		}
		applied, live = below(applied, p), below(live, p)
	}
	slices.Reverse(out)
	return out
}

// below follows one step. An element of a list is told by its name where it has
// one, else by its place.
func below(node any, p place) any {
	if !p.list {
		fields, _ := node.(map[string]any)
		return fields[p.key]
	}
	list, _ := node.([]any)
	if fields, ok := p.item.(map[string]any); ok && fields["name"] != nil {
		for _, item := range list {
			if other, ok := item.(map[string]any); ok && other["name"] == fields["name"] {
				return item
			}
		}
		return nil
	}
	if p.n < len(list) {
		return list[p.n]
	}
	return nil
}
