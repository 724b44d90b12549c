//go:build e2e

package kind

// Quiesce is what brings a node to rest, for the test of what is left when
// nothing comes after it.
const Quiesce = quiesce
