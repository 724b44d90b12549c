package envs

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/internal/fault"
)

// ours refuses an environment that another project promotes to, before anything
// is written there.
func (p *promotion) ours(ctx context.Context) error {
	l, _, err := p.ledger.Read(ctx)
	switch {
	case apierrors.IsForbidden(err):
		return nil // the rights that are lacking are told next
	case err != nil:
		return err
	}
	return p.belongs(l)
}

func (p *promotion) belongs(l ledger.Ledger) error {
	return p.Engine.belongs(p.name, l, p.options.FromProject)
}

// belongs refuses an environment that another project promotes to, unless it is
// the one whose place this one takes: the release of this one would take
// everything out that it lacks.
func (e *Engine) belongs(environment string, l ledger.Ledger, from string) error {
	mine, owner := e.file.Metadata.Name, l.Owner()
	if owner == "" || owner == mine || owner == from {
		return nil
	}
	return &fault.Error{
		Op: "connecting to the environment", Subject: environment, Kind: fault.Gate,
		Err: fmt.Errorf("the cluster of the context %s has the stack of the project %s, not of %s", e.contextOf(environment), owner, mine),
		Hint: fmt.Sprintf("mend environments.%s.cluster.context; or, where %s takes its place (it was renamed), look at kfdev plan %s --from-project %s",
			environment, mine, environment, owner),
	}
}
