package envs

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/sync/helper/image"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// devPolicy is the policy of images as dev has it: the same as elsewhere, but
// that it warns, so that what would be denied there is seen here. The helper of
// kfdev sync is let in; it is kfdev itself.
func devPolicy(s settled) (part, error) {
	digests := digestsOf(s.lock)
	for _, d := range helperDigests() {
		digests = append(digests, d.String())
	}
	return policyPart(s.parts, digests, true)
}

// helperDigests are those of the helper of kfdev sync. A program that was built
// without helpers starts none.
func helperDigests() []v1.Hash {
	helper, err := image.New(program.Load)
	if err != nil {
		return nil
	}
	return helper.Digests()
}
