package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// VerificationType is the artifact type of a Verification.
const VerificationType = "application/vnd.kfdev.verification.v1+json"

// Verification is how a release did in an environment, as it is attached to the
// release in a registry. Nobody has signed it: who may write to the registry
// may write another.
type Verification struct {
	Release     string    `json:"release"` // digest
	Environment string    `json:"environment"`
	Cluster     string    `json:"cluster"` // uid of its kube-system
	By          string    `json:"by"`
	At          time.Time `json:"at"`
	Results     []Result  `json:"results"`
}

// Result is how one test ended.
type Result struct {
	Name   string `json:"name"`
	Failed string `json:"failed,omitempty"` // why; empty: it passed
}

// Passed reports whether every test passed; none is no pass.
func Passed(all []Result) bool {
	return len(all) > 0 && !slices.ContainsFunc(all, func(r Result) bool { return r.Failed != "" })
}

// Passed reports whether every test passed; none is no pass.
func (v Verification) Passed() bool { return Passed(v.Results) }

// Encode writes the verification as an artifact about the release, whose
// manifest is given.
func (v Verification) Encode(about images.Manifest) (Artifact, error) {
	fail := func(err error) (Artifact, error) {
		return Artifact{}, &fault.Error{Op: "writing the verification", Subject: v.Environment, Err: err}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fail(err)
	}
	e := &encoder{blobs: map[v1.Hash][]byte{}}
	// The text is the configuration, too: some registries list artifacts by its
	// type.
	desc, err := e.blob(VerificationType, text)
	if err != nil {
		return fail(err)
	}
	subject, size, err := v1.SHA256(bytes.NewReader(about.Raw))
	if err != nil {
		return fail(err)
	}
	e.manifest.Config, e.manifest.Layers = desc, []v1.Descriptor{desc}
	e.manifest.Subject = &v1.Descriptor{MediaType: about.MediaType, Digest: subject, Size: size}
	a, err := e.artifact(VerificationType)
	if err != nil {
		return fail(err)
	}
	return a, nil
}

// maxVerification bounds what is read as one, bytes.
const maxVerification = 1 << 20

// PullVerification reads a verification from where it lies.
func PullVerification(ctx context.Context, from images.Origin, ref images.Ref) (Verification, error) {
	m, err := from.Manifest(ctx, ref)
	if err != nil {
		return Verification{}, err
	}
	return DecodeVerification(ctx, m.Raw, blobs(from, ref.Repository))
}

// DecodeVerification reads what Encode writes, and nothing else.
func DecodeVerification(ctx context.Context, raw []byte, fetch Fetch) (Verification, error) {
	v, err := decodeVerification(ctx, raw, fetch)
	if err != nil {
		return Verification{}, &fault.Error{Op: "reading a verification", Err: err}
	}
	return v, nil
}

func decodeVerification(ctx context.Context, raw []byte, fetch Fetch) (v Verification, err error) {
	if len(raw) > maxManifest {
		return v, fmt.Errorf("%w: its manifest has %d bytes", errForm, len(raw))
	}
	var m manifest
	switch err := json.Unmarshal(raw, &m); {
	case err != nil:
		return v, fmt.Errorf("%w: %w", errForm, err)
	case m.ArtifactType != VerificationType || len(m.Layers) != 1 || m.Layers[0].MediaType != VerificationType:
		return v, fmt.Errorf("%w: it is of type %q", errForm, m.ArtifactType)
	case m.Layers[0].Size > maxVerification || m.Layers[0].Size < 0:
		return v, fmt.Errorf("%w: it has %d bytes", errForm, m.Layers[0].Size)
	}
	text, err := fetch(ctx, m.Layers[0])
	if err != nil {
		return v, err
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err = strict.Decode(&v); err == nil && (v.Release == "" || v.Environment == "" || v.At.IsZero()) {
		err = errors.New("it does not say of what release, where and when")
	}
	if err != nil {
		return v, fmt.Errorf("%w: %w", errForm, err)
	}
	return v, nil
}
