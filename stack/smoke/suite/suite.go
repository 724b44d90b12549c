// Package suite knows every smoke test by the name that component files use.
package suite

import (
	"errors"
	"io/fs"
	"path"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
	"github.com/kfdev/kfdev/stack/smoke/hub"
	"github.com/kfdev/kfdev/stack/smoke/profile"
	"github.com/kfdev/kfdev/stack/smoke/team"
	"github.com/kfdev/kfdev/stack/smoke/tfjob"
	"github.com/kfdev/kfdev/stack/smoke/workflow"
)

// trainingProgram is where the component that is tested by "tfjob" keeps what
// the job runs, in its own folder.
const trainingProgram = "smoke/train.py"

// Of returns the smoke test that a component names. One that names none, or one
// that this kfdev does not have, is a fault of kind NotFound.
func Of(c stack.Component) (smoke.Test, error) {
	test, err := named(c)
	if _, ok := test.(tfjob.Test); !ok || err != nil {
		return test, err
	}
	program, err := fs.ReadFile(c.Files, path.Join(c.Dir, trainingProgram))
	if err != nil {
		return nil, &fault.Error{Op: "reading the training program of the smoke test", Subject: c.Name, Err: err}
	}
	return tfjob.Test{Program: program}, nil
}

// Needs are the rights that the smoke test of a component takes: none where it
// names none. Nothing of the component's folder is needed to tell.
func Needs(c stack.Component, pull smoke.PullSecret) ([]apply.Missing, error) {
	if c.Smoke == "" {
		return nil, nil
	}
	test, err := named(c)
	if err != nil {
		return nil, err
	}
	return smoke.Needs(test, c.Namespace, pull), nil
}

func named(c stack.Component) (smoke.Test, error) {
	switch c.Smoke {
	case "hub":
		return hub.Test{}, nil
	case "workflow":
		return workflow.Test{}, nil
	case "profiles":
		return team.Test{}, nil
	case "profile":
		return profile.Test{}, nil
	case "tfjob":
		return tfjob.Test{}, nil
	case "":
		return nil, &fault.Error{Op: "looking for the smoke test", Subject: c.Name, Kind: fault.NotFound, Err: errors.New("the component has none")}
	}
	return nil, &fault.Error{Op: "looking for the smoke test", Subject: c.Name, Kind: fault.NotFound,
		Hint: "there are tfjob, hub, workflow, profile and profiles", Err: errors.New("there is none called " + c.Smoke)}
}
