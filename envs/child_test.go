//go:build !integration

package envs

// child is what this test binary does where another test runs it as a process
// of its own; it reports false where it is not that. Only integration tests do.
func child() (code int, is bool) { return 0, false }
