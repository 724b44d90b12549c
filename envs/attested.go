package envs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/envs/ledger"
	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/envs/release"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// attach writes how the release did in an environment beside the release, into
// a registry that has it, for those who cannot reach that environment. What is
// said there already is not said again.
func (m made) attach(ctx context.Context, r siteRegistry, v release.Verification) error {
	before, err := m.attached(ctx, r, v.Environment)
	if err != nil {
		return err
	}
	if before != nil && before.Cluster == v.Cluster && before.Passed() == v.Passed() && sameJSON(before.Results, v.Results) {
		return nil
	}
	a, err := v.Encode(m.artifact.Manifest)
	if err != nil {
		return err
	}
	repository := release.Repository(m.Project)
	for digest, data := range a.Blobs {
		desc := v1.Descriptor{MediaType: release.VerificationType, Digest: digest, Size: int64(len(data))}
		has, err := r.target.Has(ctx, repository, desc)
		if err == nil && !has {
			err = r.target.PutBlob(ctx, repository, desc, bytes.NewReader(data))
		}
		if err != nil {
			return err
		}
	}
	return r.target.Attach(ctx, images.Ref{Repository: repository, Digest: a.Digest}, a.Manifest)
}

// attached is the last that a registry has of how the release did in an
// environment; nil where it has nothing.
func (m made) attached(ctx context.Context, r siteRegistry, environment string) (*release.Verification, error) {
	repository := release.Repository(m.Project)
	all, err := r.target.Referrers(ctx, images.Ref{Repository: repository, Digest: m.artifact.Digest}, release.VerificationType)
	if err != nil {
		return nil, err
	}
	var last *release.Verification
	for _, desc := range all {
		v, err := release.PullVerification(ctx, reading{r.target}, images.Ref{Repository: repository, Digest: desc.Digest})
		if err != nil {
			return nil, err
		}
		if v.Environment == environment && v.Release == m.digest() && (last == nil || v.At.After(last.At)) {
			last = &v
		}
	}
	return last, nil
}

// attested takes what the registries say of an environment that can't be
// reached; why says why it can't. It is told that nobody signed it, and that
// drift was not looked for.
func (p *promotion) attested(ctx context.Context, name string, why error) error {
	var problems []error
	for _, from := range []string{name, p.name} {
		if !p.file.Environments.Others[from].Registry.Named() {
			continue
		}
		r, err := p.siteRegistry(from, p.repositories())
		var v *release.Verification
		if err == nil {
			v, err = p.attached(ctx, r, name)
		}
		known := p.file.Environments.Others[name].Cluster.ID
		switch {
		case err != nil:
			problems = append(problems, err)
		case v == nil:
			problems = append(problems, fmt.Errorf("the registry of %s has no record of it", from))
		case known != "" && known != v.Cluster:
			problems = append(problems, fmt.Errorf("the record in the registry of %s is of another cluster (%s)", from, v.Cluster))
		case !v.Passed():
			return fmt.Errorf("it can't be reached, and by the record in the registry of %s the release did not pass its tests there", from)
		default:
			progress.Warn(p.sink, fmt.Sprintf("%s can't be reached; the record in the registry of %s is taken instead, which nobody signed: %s passed %d tests there on %s, by %s. Drift was not looked for.",
				name, from, release.Short(p.digest()), len(v.Results), v.At.Local().Format("2006-01-02 15:04"), v.By))
			return nil
		}
	}
	return fmt.Errorf("it can't be reached: %w", errors.Join(append([]error{why}, problems...)...))
}

// attestation is a verification as it is attached.
func attestation(environment, cluster string, v ledger.Verification) release.Verification {
	return release.Verification{Release: v.Release, Environment: environment, Cluster: cluster, By: holder(), At: v.At, Results: v.Results}
}

// PublishVerification writes how the release did in dev beside the release,
// into the registry of another environment, so that whoever cannot reach this
// machine may promote there. What dev's cluster remembers is what is written.
func (e *Engine) PublishVerification(ctx context.Context, environment string) error {
	if _, ok := e.file.Environments.Others[environment]; !ok {
		return e.file.NoEnvironment(environment)
	}
	s, err := e.settled(ctx)
	if err != nil {
		return err
	}
	m, err := e.release(s)
	if err != nil {
		return err
	}
	dev, err := e.site(ctx, project.DevName)
	if err != nil {
		return err
	}
	defer dev.close()
	l, found, err := dev.ledger.Read(ctx)
	if err != nil {
		return err
	}
	if !found || l.Verified == nil || l.Verified.Release != m.digest() {
		return &fault.Error{Op: "publishing the verification", Subject: environment, Kind: fault.Gate, Err: errors.New("this release was not verified here"), Hint: "kfdev up, then kfdev verify"}
	}
	r, err := e.siteRegistry(environment, m.repositories())
	if err != nil {
		return err
	}
	if err := m.publish(ctx, r, e.sink, "publish/release"); err != nil {
		return err
	}
	return m.attach(ctx, r, attestation(project.DevName, dev.identity.UID, *l.Verified))
}

func sameJSON(a, b any) bool {
	one, errOne := json.Marshal(a)
	two, errTwo := json.Marshal(b)
	return errOne == nil && errTwo == nil && string(one) == string(two)
}
