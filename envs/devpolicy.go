package envs

import (
	"github.com/kfdev/kfdev/sync/helper/image"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// devPolicy is the policy of images as dev has it: the same as elsewhere, but
// that it warns, so that what would be denied there is seen here. A project with
// dev alone has none. The helper of kfdev sync is let in; it is kfdev itself.
func devPolicy(s settled) (*part, error) {
	if len(s.file.Environments.Others) == 0 {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	digests := digestsOf(s.lock)
	if helper, err := image.New(program.Load); err == nil { // a program that was built without helpers starts none
		for _, d := range helper.Digests() {
			digests = append(digests, d.String())
		}
	}
	p, err := policyPart(s.parts, digests, true)
	return &p, err
}
