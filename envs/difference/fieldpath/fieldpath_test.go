package fieldpath_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for in, canonical := range map[string]string{
		"apps/Deployment/*/spec/replicas":                                       "",
		"apps/Deployment/kubeflow:katib-ui/spec":                                "",
		"apps/Deployment/kubeflow:*/spec":                                       "",
		"apps/Deployment/*:katib/spec":                                          "",
		"apps/Deployment/*:*/spec":                                              "apps/Deployment/*/spec",
		"policy/PodDisruptionBudget/katib":                                      "",
		"policy/PodDisruptionBudget/katib/":                                     "policy/PodDisruptionBudget/katib",
		`core/ConfigMap/c/data["config.yaml"]`:                                  "",
		`core/ConfigMap/c/data/["config.yaml"]`:                                 `core/ConfigMap/c/data["config.yaml"]`,
		`core/ConfigMap/c/data["plain"]`:                                        "core/ConfigMap/c/data/plain",
		`core/ConfigMap/c/data["a.yaml"]#/x/[0]/y`:                              `core/ConfigMap/c/data["a.yaml"]#/x[0]/y`,
		`core/ConfigMap/c/data/x#/["a.b"][name=q]`:                              "",
		`core/ConfigMap/c/data/x#~listen (\d+);#`:                               "",
		`core/ConfigMap/c/["odd key"]/x`:                                        "",
		`rbac.authorization.k8s.io/ClusterRole/"system:x"/rules[0]/verbs[=get]`: "",
		"apps/Deployment/m/spec/template/spec/containers[name=manager]/image":   "",
		"apps/Deployment/m/spec/ports[containerPort=80,protocol=TCP]/name":      "",
		`apps/Deployment/m/spec/tolerations[key="nvidia.com/gpu"]`:              "apps/Deployment/m/spec/tolerations[key=nvidia.com/gpu]",
		`apps/Deployment/m/spec/containers[*]/args[="--zap level=\"debug\""]`:   "",
		`apps/Deployment/m/metadata/annotations["sidecar.istio.io/inject"]`:     "",
		`apps/Deployment/m/spec/x["a.b"=c]`:                                     "",
		"fingerprint/kubernetes.version":                                        "",
	} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			p, err := fieldpath.Parse(in)
			require.NoError(t, err)
			if canonical == "" {
				canonical = in
			}
			require.Equal(t, canonical, p.String())
		})
	}
}

func TestParseSaysWhereAndWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		at   int
		says string
	}{
		"":                                  {1, "the path is empty"},
		"/spec":                             {1, "an API group and a slash"},
		"apps":                              {5, "an API group and a slash are wanted, not the path's end"},
		"v1/ConfigMap/x":                    {1, "the group, which is core"},
		"apps/v1/Deployment/x":              {6, "v1 is a version"},
		"apps/*/x/spec":                     {6, "kinds are named"},
		"apps/Deployment":                   {16, "an object's name"},
		"apps/Deployment/":                  {17, "NAMESPACE:NAME"},
		"apps/Deployment/kf-*/spec":         {20, "is no part of one"},
		"apps/Deployment/*kf/spec":          {17, "is no part of one"},
		`apps/Deployment/""/spec`:           {17, "no object's name"},
		"apps/Deployment/x y":               {18, "a slash and a field"},
		"apps/Deployment/x/spec/*":          {24, "[*] behind a list"},
		"apps/Deployment/x/spec.a":          {23, `["key"]`},
		"apps/Deployment/x/spec//a":         {24, "a field's name"},
		"apps/Deployment/x/spec/":           {24, "a field's name is wanted, not the path's end"},
		"apps/Deployment/x/c[manager]":      {21, "[name=manager] for a list's element"},
		"apps/Deployment/x/c[]":             {21, "a selector"},
		"apps/Deployment/x/c[a=b":           {24, "] is wanted"},
		"apps/Deployment/x/c[a=b c]":        {24, "is quoted"},
		"apps/Deployment/x/c[a=]":           {23, "a value is wanted"},
		"apps/Deployment/x/c[a=b,a=c]":      {26, "twice"},
		"apps/Deployment/x/c[a=b,]":         {25, "behind the comma"},
		`apps/Deployment/x/c["a]`:           {21, "the quote"},
		"apps/Deployment/x/c[9999999]":      {21, "that long"},
		"core/ConfigMap/x/data/a#":          {25, "behind #"},
		"core/ConfigMap/x/data/a#/":         {26, "a field's name"},
		"core/ConfigMap/x/data/a#/b[*]":     {25, "one value"},
		"core/ConfigMap/x/data/a#~":         {26, "one group"},
		"core/ConfigMap/x/data/a#~b":        {26, "0 groups"},
		"core/ConfigMap/x/data/a#~(":        {26, "missing closing )"},
		"core/ConfigMap/x/data/ä":           {23, `"ä"`},
		"apps/Deployment/x/c[a=b]/a":        {18, "the very \"a\""},
		"core/ConfigMap/x/data/a#/b[a=b]/a": {25, "the very value"},
		"core/ConfigMap/x/data/a#/b[=a]":    {25, "the very value"},
		"fingerprint/":                      {13, "a dimension"},
		"fingerprint/a/b":                   {14, "a dimension"},
	} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			_, err := fieldpath.Parse(in)
			var syntax *fieldpath.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Contains(t, err.Error(), want.says)
			require.Equal(t, want.at, syntax.At, "%v", err)
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	object := map[string]any{
		"spec": map[string]any{
			"replicas": int64(1),
			"list":     []any{map[string]any{"name": "a", "port": int64(80)}, map[string]any{"name": "b", "port": int64(81)}},
			"set":      []any{"x", int64(5), true},
			"null":     nil,
		},
	}
	for field, want := range map[string]struct {
		at   []string
		rest []string // with missing
	}{
		"spec/replicas":               {at: []string{"/spec/replicas"}},
		"spec/list[name=b]/port":      {at: []string{"/spec/list/1/port"}},
		"spec/list[name=b,port=81]":   {at: []string{"/spec/list/1"}},
		"spec/list[name=b,port=80]":   {rest: []string{"/spec/list + [name=b,port=80]"}},
		"spec/list[*]/name":           {at: []string{"/spec/list/0/name", "/spec/list/1/name"}},
		"spec/list[1]":                {at: []string{"/spec/list/1"}},
		"spec/list[2]":                {},
		"spec/set[=5]":                {at: []string{"/spec/set/1"}},
		"spec/set[=true]":             {at: []string{"/spec/set/2"}},
		"spec/set[=y]":                {rest: []string{"/spec/set + [=y]"}},
		"spec/null/a/b":               {rest: []string{"/spec + null/a/b"}},
		"spec/replicas/a":             {},
		"spec/set/a":                  {},
		"spec/list[name=a]/x[name=c]": {rest: []string{"/spec/list/0 + x[name=c]"}},
		"spec/list[name=c]/x":         {},
		"spec/list[*]/x":              {rest: []string{"/spec/list/0 + x", "/spec/list/1 + x"}},
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			steps, _, err := fieldpath.ParseField(field)
			require.NoError(t, err)
			var at, rest []string
			for _, l := range fieldpath.Resolve(object, steps, true) {
				if l.Missing() {
					rest = append(rest, fieldpath.Pointer(l.At)+" + "+fieldpath.Render(l.Rest))
				} else {
					at = append(at, fieldpath.Pointer(l.At))
				}
			}
			require.Equal(t, want.at, at)
			require.Equal(t, want.rest, rest)
			require.Len(t, fieldpath.Resolve(object, steps, false), len(want.at))
		})
	}
}

func TestSelects(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][3]bool{ // kubeflow/a, other/a, cluster-wide a
		"apps/Deployment/*":          {true, true, true},
		"apps/Deployment/a":          {true, true, true},
		"apps/Deployment/b":          {},
		"apps/Deployment/kubeflow:a": {true, false, false},
		"apps/Deployment/kubeflow:*": {true, false, false},
		"apps/Deployment/*:a":        {true, true, true},
		"batch/Deployment/*":         {},
		"apps/StatefulSet/*":         {},
	} {
		p, err := fieldpath.Parse(text)
		require.NoError(t, err)
		for i, ns := range []string{"kubeflow", "other", ""} {
			require.Equal(t, want[i], p.Selects("apps", "Deployment", ns, "a"), "%s in %q", text, ns)
		}
	}
}

// FuzzParse: what is read is written in one form, which is read as the same.
func FuzzParse(f *testing.F) {
	f.Add("apps/Deployment/*/spec/replicas")
	f.Add(`core/ConfigMap/kubeflow:c/data["config.yaml"]#/executor/image`)
	f.Add(`core/ConfigMap/c/data["x"]#~a(b)[`)
	f.Add(`a/B/"c:d":*/x[a=b,"c.d"="e\"f"][=g][0][*]/["h"]`)
	f.Add("fingerprint/a.b")
	f.Fuzz(func(t *testing.T, in string) {
		p, err := fieldpath.Parse(in)
		if err != nil {
			var syntax *fieldpath.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Positive(t, syntax.At)
			require.LessOrEqual(t, syntax.At, len(in)+1)
			return
		}
		canonical := p.String()
		again, err := fieldpath.Parse(canonical)
		require.NoError(t, err, canonical)
		require.Equal(t, canonical, again.String())
		require.Equal(t, p, again)
		for _, l := range fieldpath.Resolve(map[string]any{"x": []any{map[string]any{"a": "b"}}}, p.Fields, true) {
			require.True(t, !l.Missing() || fieldpath.Makeable(l.Rest))
		}
	})
}
