// Package e2e drives the built kfdev on a real kind cluster, as a person
// would: the binary alone, its flags, its JSON. It has no code of its own; the
// tests are behind the build tag e2e (make e2e).
package e2e
