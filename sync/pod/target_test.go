package pod

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/internal/fault"
)

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Target{
		"pod/web-0":                         {Kind: KindPod, Name: "web-0"},
		"jupyterhub/ann":                    {Kind: KindJupyterHub, Name: "ann"},
		"hub/Ann@example.org/gpu":           {Kind: KindJupyterHub, Name: "Ann@example.org", Part: "gpu"},
		"notebook/fraud -n team-a":          {Kind: KindNotebook, Name: "fraud", Namespace: "team-a"},
		"sts/web/2 -c main":                 {Kind: KindStatefulSet, Name: "web", Part: "2", Container: "main"},
		"Deployment/web":                    {Kind: KindDeployment, Name: "web"},
		"job/x -c a -n b":                   {Kind: KindJob, Name: "x", Container: "a", Namespace: "b"},
		"tfjob/mnist":                       {Kind: KindTFJob, Name: "mnist"},
		"tfjob/mnist/worker-1":              {Kind: KindTFJob, Name: "mnist", Part: "worker-1"},
		"  pytorchjob/bert/master   -n ml ": {Kind: KindPyTorchJob, Name: "bert", Part: "master", Namespace: "ml"},
	} {
		got, err := ParseTarget(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		again, err := ParseTarget(got.String())
		require.NoError(t, err, text)
		require.Equal(t, got, again)
	}
}

func TestParseTargetRefuses(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                       "there is none",
		"web-0":                  "it is not KIND/NAME",
		"pod/a/b":                "a pod has no parts",
		"tfjob/a/":               "a tfjob has no parts",
		"a/b/c/d":                "it is not KIND/NAME",
		"service/web":            `"service" is no kind of target`,
		"pod/":                   "names are of small letters",
		"pod/Web":                "names are of small letters",
		"pod/..":                 "names are of small letters",
		"pod/x metadata.name!=y": "is not understood",
		"pod/x -n":               `"-n" is not understood`,
		"pod/x -n a -n b":        `"-n b" is not understood`,
		"pod/x -c ../y":          `"../y" is no name`,
		"hub/":                   "it names no user",
		"hub/a\x00b":             "it names no user",
	} {
		_, err := ParseTarget(text)
		require.ErrorContains(t, err, says, text)
		require.Equal(t, fault.Usage, fault.KindOf(err), text)
		require.NotEmpty(t, fault.Hint(err))
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("jupyterhub/ann/gpu -n a -c b")
	f.Add("pod/web-0")
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err != nil {
			return
		}
		again, err := ParseTarget(target.String())
		require.NoError(t, err)
		require.Equal(t, target, again)
	})
}
