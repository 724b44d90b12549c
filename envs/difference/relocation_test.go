package difference_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/stack/imageref"
)

func relocation(t *testing.T, prefix string) difference.Relocation {
	t.Helper()
	r, err := difference.NewRelocation(prefix, []string{"quay.io/katib/manager", "quay.io/katib/proxy", "quay.io/argo/exec", "localhost:5000/x/y"})
	require.NoError(t, err)
	return r
}

// pinned is the base without the one image that has no digest, and an argument
// with one.
func pinned(t *testing.T) []*obj {
	t.Helper()
	return objects(t, strings.NewReplacer("image: x}", "image: localhost:5000/x/y@sha256:"+strings.Repeat("4", 64)+"}",
		"--port=80", "--exec=quay.io/argo/exec@sha256:"+strings.Repeat("3", 64)).Replace(base))
}

func relocated(t *testing.T, prefix string, all []*obj) ([]*obj, difference.Relocated) {
	t.Helper()
	r := relocation(t, prefix)
	out, err := r.Apply(all, nil)
	require.NoError(t, err)
	found, err := imageref.Find(out, nil)
	require.NoError(t, err)
	require.Len(t, found, 5)
	return out, difference.Relocated{Relocation: r, Found: found}
}

func TestImagesMayComeFromAnotherRegistry(t *testing.T) {
	t.Parallel()
	all := pinned(t)
	before := text(t, all)
	staging, inStaging := relocated(t, "registry.staging.example/kfdev", all)
	prod, inProd := relocated(t, "localhost:5001/a", all)
	require.Equal(t, before, text(t, all))
	require.NoError(t, inStaging.Foreign(staging))
	require.Contains(t, text(t, staging), "registry.staging.example/kfdev/quay.io/katib/manager@sha256:1111")
	require.Contains(t, text(t, staging), "--exec=registry.staging.example/kfdev/quay.io/argo/exec@sha256:3333")
	require.Contains(t, text(t, prod), "localhost:5001/a/localhost__5000/x/y@sha256:4444")

	renders := map[string][]*obj{"dev": all, "staging": staging, "prod": prod}
	unknowing, err := difference.Prove(renders, nil)
	require.NoError(t, err)
	require.Len(t, unknowing, 15)
	p := difference.Prover{Images: map[string]difference.Relocated{"staging": inStaging, "prod": inProd}}
	proof, err := p.Prove(renders)
	require.NoError(t, err)
	require.Empty(t, describe(proof.Findings))
	require.Equal(t, 15, proof.BuiltIn)

	// Another digest is another image.
	staging[0].Object = objects(t, strings.TrimSuffix(strings.ReplaceAll(text(t, staging[:1]), "222222", "222223"), "---\n"))[0].Object
	found, err := imageref.Find(staging, nil)
	require.NoError(t, err)
	p.Images["staging"] = difference.Relocated{Relocation: inStaging.Relocation, Found: found}
	proof, err = p.Prove(renders)
	require.NoError(t, err)
	require.Len(t, proof.Findings, 2)
	require.Equal(t, "apps/Deployment/kubeflow:katib/spec/template/spec/containers[name=proxy]/image", proof.Findings[0].Path.String())
}

func TestNoForeignRepositoryIsLeft(t *testing.T) {
	t.Parallel()
	staging, in := relocated(t, "registry.staging.example/kfdev", pinned(t))
	// One that imageref finds.
	container := "spec.template.spec.containers[1].image"
	for i := range in.Found {
		if in.Found[i].Path == container {
			in.Found[i].Image = "docker.io/evil/x@sha256:" + strings.Repeat("2", 64)
		}
	}
	require.ErrorContains(t, in.Foreign(staging), "docker.io/evil/x@sha256:"+strings.Repeat("2", 64)+" is foreign: images come from registry.staging.example/kfdev")
	// One that it does not.
	staging, in = relocated(t, "registry.staging.example/kfdev", pinned(t))
	field(t, staging[3], "pull quay.io/argo/exec@sha256:"+strings.Repeat("3", 64), "data", "script")
	require.EqualError(t, in.Foreign(staging), "core/ConfigMap/kubeflow:config: data.script: quay.io/argo/exec is foreign: images come from registry.staging.example/kfdev")
	_, err := difference.Prover{Images: map[string]difference.Relocated{"a": in}}.Prove(map[string][]*obj{"a": staging})
	require.ErrorContains(t, err, "is foreign")
	// A tag is none of ours.
	in.Found[0].Image = "registry.staging.example/kfdev/quay.io/katib/manager:v1"
	require.ErrorContains(t, in.Foreign(nil), "is not repository@digest")
}

func TestNewRelocation(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prefix       string
		repositories []string
		says         string
	}{
		"a scheme":    {"https://registry.example", nil, "is no registry to pull from"},
		"nothing":     {"", nil, "is no registry to pull from"},
		"no host":     {"r.example", []string{"busybox"}, "is no repository"},
		"a tag":       {"r.example", []string{"quay.io/x:v1"}, "is no repository"},
		"a collision": {"r.example", []string{"Quay.io/x", "quay.io/x"}, "would both be called r.example/quay.io/x"},
		"too long":    {"r.example", []string{"quay.io/" + strings.Repeat("x", 255)}, "at most 255"},
	} {
		_, err := difference.NewRelocation(tc.prefix, tc.repositories)
		require.ErrorContains(t, err, tc.says, name)
	}
	_, err := difference.NewRelocation("r.example/", []string{"quay.io/x", "quay.io/x"})
	require.NoError(t, err)
}
