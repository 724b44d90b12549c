package smoke

import "github.com/kfdev/kfdev/stack/apply"

// Needs are the rights that running a test takes, its namespace among them.
func Needs(test Test, component string) []apply.Missing {
	needs := test.Needs(component)
	if _, ok := test.(Asking); ok {
		return needs
	}
	return append(needs, apply.Need("for the namespaces of smoke tests", "get list watch create patch delete", "namespaces", "")...)
}
