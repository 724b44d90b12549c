package smoke

import "github.com/kfdev/kfdev/stack/apply"

// Needs are the rights that running a test takes, its namespace and what is lent
// in there among them.
func Needs(test Test, component string, pull PullSecret) []apply.Missing {
	needs := test.Needs(component)
	if _, ok := test.(Asking); ok {
		return needs
	}
	needs = append(needs, pull.needs()...)
	return append(needs, apply.Need("for the namespaces of smoke tests", "get list watch create patch delete", "namespaces", "")...)
}
