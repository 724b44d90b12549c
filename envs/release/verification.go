package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

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
func (v Verification) Passed() bool {
	for _, r := range v.Results {
		if r.Failed != "" {
			return false
		}
	}
	return len(v.Results) > 0
}

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
	e.manifest.SchemaVersion, e.manifest.MediaType, e.manifest.ArtifactType = 2, types.OCIManifestSchema1, VerificationType
	e.manifest.Config, e.manifest.Layers = desc, []v1.Descriptor{desc}
	e.manifest.Subject = &v1.Descriptor{MediaType: about.MediaType, Digest: subject, Size: size}
	raw, err := json.Marshal(e.manifest)
	if err != nil {
		return fail(err)
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return fail(err)
	}
	return Artifact{Digest: digest, Manifest: images.Manifest{MediaType: types.OCIManifestSchema1, Raw: raw}, Blobs: e.blobs}, nil
}

// maxVerification bounds what is read as one, bytes.
const maxVerification = 1 << 20

// VerificationLayer returns where an artifact's text is.
func VerificationLayer(raw []byte) (v1.Descriptor, error) {
	fail := func(err error) (v1.Descriptor, error) {
		return v1.Descriptor{}, &fault.Error{Op: "reading a verification", Err: fmt.Errorf("%w: %w", errForm, err)}
	}
	var m manifest
	switch err := json.Unmarshal(raw, &m); {
	case err != nil:
		return fail(err)
	case m.ArtifactType != VerificationType || len(m.Layers) != 1 || m.Layers[0].MediaType != VerificationType:
		return fail(fmt.Errorf("it is of type %q", m.ArtifactType))
	case m.Layers[0].Size > maxVerification || m.Layers[0].Size < 0:
		return fail(fmt.Errorf("it has %d bytes", m.Layers[0].Size))
	}
	return m.Layers[0], nil
}

// DecodeVerification reads the text.
func DecodeVerification(text []byte) (v Verification, err error) {
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err = strict.Decode(&v); err == nil && (v.Release == "" || v.Environment == "" || v.At.IsZero()) {
		err = errors.New("it does not say of what release, where and when")
	}
	if err != nil {
		return Verification{}, &fault.Error{Op: "reading a verification", Err: fmt.Errorf("%w: %w", errForm, err)}
	}
	return v, nil
}
