package difference_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// FuzzRender: any path into any object is put in or refused, the base stays as
// it is, and what was put in is what the proof accepts, and only that.
func FuzzRender(f *testing.F) {
	f.Add("apps/Deployment/x/spec/replicas", "spec: {replicas: 1}", "5", uint8(0))
	f.Add(`apps/Deployment/x/spec/c[name=a]/args[="x"]`, "spec: {c: [{name: a, args: [x, y]}]}", "false", uint8(1))
	f.Add(`apps/Deployment/x/spec/t[key=a]`, "spec: {}", "{key: a}", uint8(2))
	f.Add(`apps/Deployment/x/data["a.yaml"]#/b[0]`, "data: {a.yaml: 'b: [c] # d'}", "e", uint8(0))
	f.Add(`apps/Deployment/x/data/a#~b(.)d`, "data: {a: abcde}", "x", uint8(0))
	f.Add("apps/Deployment/x", "spec: {}", "false", uint8(1))
	f.Fuzz(func(t *testing.T, path, object, value string, kind uint8) {
		p, err := fieldpath.Parse(path)
		if err != nil {
			return
		}
		o := &obj{}
		var v any
		if yaml.Unmarshal([]byte(object), &o.Object) != nil || o.Object == nil || yaml.Unmarshal([]byte(value), &v) != nil || v == nil {
			return
		}
		o.SetAPIVersion("apps/v1")
		o.SetKind("Deployment")
		o.SetName("x")
		base := []*obj{o}
		e := []difference.Entry{{ID: "a", Paths: []fieldpath.Path{p}, Allow: difference.Domain{Enum: []any{v}}, Default: v, Reason: "r", Owner: "o"}}
		switch kind % 3 {
		case 1:
			e[0].Allow = difference.Domain{Type: difference.Presence}
		case 2:
			e[0].Allow.Optional = true
		}
		if len(difference.Check(e, []string{"dev"})) > 0 {
			return
		}
		before := runtime.DeepCopyJSON(o.Object)
		made, used, err := difference.Render(base, e, "dev")
		require.Equal(t, before, o.Object)
		if err != nil {
			return
		}
		require.NotEmpty(t, used)
		same, err := difference.Prove(map[string][]*obj{"a": made, "b": made}, e)
		require.NoError(t, err)
		require.Empty(t, same)
		without, err := difference.Prove(map[string][]*obj{"a": base, "b": made}, nil)
		require.NoError(t, err)
		require.Equal(t, text(t, base) == text(t, made), len(without) == 0)
		// What was in the base need not be one of the enum.
		loose := e
		if kind%3 != 1 {
			loose[0].Allow = difference.Domain{Pattern: "(?s).*", Optional: true}
		}
		with, err := difference.Prove(map[string][]*obj{"a": base, "b": made}, loose)
		require.NoError(t, err)
		for _, each := range with {
			require.Equal(t, "a", each.Entry, "%v", each)
		}
	})
}
