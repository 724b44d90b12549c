package difference

import (
	"time"
)

// Budget counts what is the same and what is not, each place once for a pair
// of environments.
type Budget struct {
	Identical  int `json:"identical"`
	BuiltIn    int `json:"builtIn"` // images that only come from another registry
	Declared   int `json:"declared"`
	Expired    int `json:"expired"` // declared by an entry whose last day has passed
	Undeclared int `json:"undeclared"`
	// Unknown are the dimensions of the fingerprint that could not be read; a
	// proof of renders has none.
	Unknown int `json:"unknown"`
}

// Count returns the budget of a proof. What is derived from an object counts
// with it.
func Count(proof Proof, entries []Entry, now time.Time) Budget {
	expired := map[string]bool{}
	for _, e := range Expired(entries, now) {
		expired[e.ID] = true
	}
	b := Budget{Identical: proof.Equal, BuiltIn: proof.BuiltIn}
	for _, f := range proof.Findings {
		switch {
		case !f.Allowed:
			b.Undeclared++
		case f.DerivedFrom != nil:
		case expired[f.Entry]:
			b.Expired++
		default:
			b.Declared++
		}
	}
	return b
}
