package envs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/profiles"
	"github.com/kfdev/kfdev/stack/apply"
)

// Orphan is the namespace of a profile that has left the project: it stays until
// a plan with PruneNamespaces is carried out.
type Orphan struct {
	Namespace string    `json:"namespace"`
	Since     time.Time `json:"since"`
}

// leaving are the namespaces of profiles that the set has no more, where they
// are to be deleted.
func (p *promotion) leaving(ctx context.Context, set apply.Set) ([]apply.Object, error) {
	if set.Name != profilesPart || !p.options.PruneNamespaces {
		return nil, nil
	}
	inventory, err := p.live.applier.Inventory(ctx, set.Name)
	if err != nil {
		return nil, err
	}
	var all []apply.Object
	if inventory != nil {
		for _, m := range inventory.Members {
			stays := slices.ContainsFunc(set.Objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == m.Kind && o.GetName() == m.Name })
			if m.Kind == "Namespace" && m.APIVersion == "v1" && !stays {
				all = append(all, m.Object)
			}
		}
	}
	orphans, err := p.orphans(ctx, set)
	for _, o := range orphans {
		object := apply.Object{APIVersion: "v1", Kind: "Namespace", Name: o.Namespace}
		if !slices.Contains(all, object) {
			all = append(all, object)
		}
	}
	return all, err
}

// teams are the release's profiles as a set; empty where it has none.
func (p *promotion) teams() apply.Set {
	set := apply.Set{Name: profilesPart}
	for _, each := range p.parts {
		if each.Name == profilesPart {
			set.Objects = each.rendered.Objects
		}
	}
	return set
}

// orphans are the namespaces that earlier releases left, and that are still the
// ones that they brought.
func (p *promotion) orphans(ctx context.Context, set apply.Set) ([]Orphan, error) {
	l, _, err := p.ledger.Read(ctx)
	if err != nil {
		return nil, err
	}
	orphans := []Orphan{}
	for _, each := range l.Profiles {
		stays := slices.ContainsFunc(set.Objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Profile" && o.GetName() == each.Name })
		if each.Orphaned.IsZero() || stays || each.UID == "" {
			continue
		}
		uid, err := p.namespaceUID(ctx, each.Name)
		if err != nil {
			return nil, err
		}
		if uid == each.UID {
			orphans = append(orphans, Orphan{Namespace: each.Name, Since: each.Orphaned})
		}
	}
	return orphans, nil
}

// namespaceUID is empty where there is no such namespace.
func (p *promotion) namespaceUID(ctx context.Context, name string) (string, error) {
	o, err := p.live.client.Metadata.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", &fault.Error{Op: "looking at the namespace", Subject: name, Err: err}
	}
	return string(o.UID), nil
}

// rememberProfiles writes down which profiles the release has, with their
// namespaces, so that those of one that leaves are known for good; and forgets
// those that were deleted.
func (p *promotion) rememberProfiles(ctx context.Context, lease *ledger.Lease) error {
	has := []ledger.Profile{}
	for _, each := range p.parts {
		for _, o := range each.rendered.Objects {
			if o.GetKind() != "Profile" || o.GroupVersionKind().Group != profiles.Group {
				continue
			}
			uid, err := p.namespaceUID(ctx, o.GetName())
			if err != nil {
				return err
			}
			has = append(has, ledger.Profile{Name: o.GetName(), UID: uid})
		}
	}
	l, _, err := p.ledger.Read(ctx)
	if err != nil {
		return err
	}
	var gone []string
	for _, each := range l.Profiles {
		if slices.ContainsFunc(has, func(o ledger.Profile) bool { return o.Name == each.Name }) {
			continue
		}
		uid, err := p.namespaceUID(ctx, each.Name)
		if err != nil {
			return err
		}
		if uid == "" || each.UID != "" && uid != each.UID {
			gone = append(gone, each.Name)
		}
	}
	_, err = lease.Update(ctx, func(l *ledger.Ledger) error {
		l.SetProfiles(has, time.Now())
		for _, name := range gone {
			l.ForgetProfile(name)
		}
		return nil
	})
	return err
}

// prunesByPlan refuses to delete namespaces that no plan showed to a person.
func (p *promotion) prunesByPlan(ctx context.Context) error {
	if !p.options.PruneNamespaces || p.options.Plan != nil {
		return nil
	}
	going, err := p.leaving(ctx, p.teams())
	if err != nil || len(going) == 0 {
		return err
	}
	names := make([]string, len(going))
	for i, o := range going {
		names[i] = o.Name
	}
	return &fault.Error{Op: "deleting namespaces", Subject: strings.Join(names, ", "), Kind: fault.Gate,
		Err:  errors.New("they go with everything in them, and no plan has said so"),
		Hint: fmt.Sprintf("look at it first: kfdev plan %s --prune-namespaces --out FILE; then kfdev promote %s --prune-namespaces --plan FILE", p.name, p.name)}
}
