package fingerprint_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference"
	"github.com/kfdev/kfdev/envs/difference/fieldpath"
	"github.com/kfdev/kfdev/envs/fingerprint"
)

func one(v any) fingerprint.Dimension {
	return fingerprint.Dimension{Value: fingerprint.Value{Is: v}}
}

func with(name string, d fingerprint.Dimension) fingerprint.Fingerprint {
	return fingerprint.Fingerprint{Dimensions: map[string]fingerprint.Dimension{name: d}}
}

func texts(findings []fingerprint.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, f.String())
	}
	return out
}

func TestComparators(t *testing.T) {
	t.Parallel()
	list := func(items ...any) []any { return items }
	for name, tc := range map[string]struct {
		rule fingerprint.Rule
		a, b any
		why  string // empty: the same
	}{
		"exact":                    {fingerprint.Rule{Compare: fingerprint.Exact}, "a", "a", ""},
		"exact, another":           {fingerprint.Rule{Compare: fingerprint.Exact}, "a", "b", "not equal"},
		"exact, another type":      {fingerprint.Rule{Compare: fingerprint.Exact}, "1", int64(1), "not equal"},
		"minor":                    {fingerprint.Rule{Compare: fingerprint.SemverMinor}, "v1.36.1", "v1.36.4", ""},
		"minor, a build":           {fingerprint.Rule{Compare: fingerprint.SemverMinor}, "6.8.0-45-generic", "6.8.12", ""},
		"minor, a runtime":         {fingerprint.Rule{Compare: fingerprint.SemverMinor}, "containerd://2.1.4", "containerd://2.1.0", ""},
		"minor, another runtime":   {fingerprint.Rule{Compare: fingerprint.SemverMinor}, "containerd://2.1.4", "cri-o://2.1.4", "not the same"},
		"minor, another":           {fingerprint.Rule{Compare: fingerprint.SemverMinor}, "v1.36.1", "v1.35.1", "not the same"},
		"minor, another major":     {fingerprint.Rule{Compare: fingerprint.SemverMinor}, "v1.36.1", "v2.36.1", "not the same"},
		"minor, 1.3 and 1.30":      {fingerprint.Rule{Compare: fingerprint.SemverMinor}, "1.3", "1.30", "not the same"},
		"minor, of nodes":          {fingerprint.Rule{Compare: fingerprint.SemverMinor}, list("v1.36.1", "v1.36.2"), list("v1.36.3"), ""},
		"minor, of other nodes":    {fingerprint.Rule{Compare: fingerprint.SemverMinor}, list("v1.36.1", "v1.35.2"), list("v1.36.3"), "not the same"},
		"minor, no version":        {fingerprint.Rule{Compare: fingerprint.SemverMinor}, "new", "new", "cannot be read"},
		"floor":                    {fingerprint.Rule{Compare: fingerprint.Floor}, "550.54.15", "560.1", ""},
		"floor, the same":          {fingerprint.Rule{Compare: fingerprint.Floor}, "550.54", "550.54.0", ""},
		"floor, below":             {fingerprint.Rule{Compare: fingerprint.Floor}, "12.10", "12.9", "below the earlier"},
		"floor, numbers":           {fingerprint.Rule{Compare: fingerprint.Floor}, int64(4), int64(3), "below the earlier"},
		"floor, quantities":        {fingerprint.Rule{Compare: fingerprint.Floor}, "1024Mi", "1Gi", ""},
		"floor, resources":         {fingerprint.Rule{Compare: fingerprint.Floor}, map[string]any{"cpu": "4"}, map[string]any{"cpu": "3500m", "x": "1"}, "cpu: the later is below"},
		"floor, a resource less":   {fingerprint.Rule{Compare: fingerprint.Floor}, map[string]any{"cpu": "4"}, map[string]any{}, "has no cpu"},
		"floor, given":             {fingerprint.Rule{Compare: fingerprint.Floor, Floor: "550"}, "550.0", "560", ""},
		"floor, given and less":    {fingerprint.Rule{Compare: fingerprint.Floor, Floor: "550"}, "560", "550.0", "the later is below the earlier"},
		"floor, one below given":   {fingerprint.Rule{Compare: fingerprint.Floor, Floor: "550"}, "549.9", "560", "the earlier is below the floor"},
		"floor, another runtime":   {fingerprint.Rule{Compare: fingerprint.Floor}, "containerd://2.1", "cri-o://2.2", "cannot be held"},
		"floor, words":             {fingerprint.Rule{Compare: fingerprint.Floor}, "new", "old", "cannot be held"},
		"subset":                   {fingerprint.Rule{Compare: fingerprint.Subset}, list("a"), list("b", "a"), ""},
		"subset, not":              {fingerprint.Rule{Compare: fingerprint.Subset}, list("a", "c"), list("b", "a"), "lacks c"},
		"subset, mapping":          {fingerprint.Rule{Compare: fingerprint.Subset}, map[string]any{"a": "x"}, map[string]any{"a": "y"}, "lacks a"},
		"subset, of another shape": {fingerprint.Rule{Compare: fingerprint.Subset}, list("a"), "a", "one is a list"},
		"ignore":                   {fingerprint.Rule{Compare: fingerprint.Ignore}, "a", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := fingerprint.Compare(with("x", one(tc.a)), with("x", one(tc.b)), fingerprint.Rules{"x": tc.rule})
			if tc.why == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Contains(t, got[0].Why, tc.why)
			require.False(t, got[0].Unknown)
		})
	}
}

func TestUnknownNeverEqualsAnything(t *testing.T) {
	t.Parallel()
	items := fingerprint.Dimension{Items: map[string]fingerprint.Value{"a": {Is: "x"}, "b": {Unknown: "no rights"}}}
	forbidden := fingerprint.Dimension{Value: fingerprint.Value{Unknown: "no rights"}}
	for compare, n := range map[fingerprint.Comparator]int{
		fingerprint.Exact: 1, fingerprint.SemverMinor: 1, fingerprint.Floor: 1, fingerprint.Subset: 1, fingerprint.Ignore: 0,
	} {
		rules := fingerprint.Rules{"x": {Compare: compare}}
		for _, pair := range [][2]fingerprint.Fingerprint{
			{{}, {}},
			{with("x", forbidden), with("x", forbidden)},
			{with("x", one("v1.2.3")), {}},
			{{}, with("x", one("v1.2.3"))},
			{with("x", items), with("x", forbidden)},
			{with("x", fingerprint.Dimension{Items: map[string]fingerprint.Value{"b": {Unknown: "no rights"}}}), with("x", fingerprint.Dimension{Items: map[string]fingerprint.Value{"b": {Unknown: "no rights"}}})},
		} {
			got := fingerprint.Compare(pair[0], pair[1], rules)
			require.Len(t, got, n, "%s: %v", compare, pair)
			for _, f := range got {
				require.True(t, f.Unknown)
			}
		}
	}
	// No rule does not mean no matter.
	require.Len(t, fingerprint.Compare(with("odd", one("a")), fingerprint.Fingerprint{}, nil), 1)
	require.Len(t, fingerprint.Compare(fingerprint.Fingerprint{}, fingerprint.Fingerprint{}, fingerprint.DefaultRules()), len(fingerprint.DefaultRules()))
}

func TestItems(t *testing.T) {
	t.Parallel()
	classes := func(items map[string]fingerprint.Value) fingerprint.Fingerprint {
		return with(fingerprint.StorageClasses, fingerprint.Dimension{Items: items})
	}
	a := classes(map[string]fingerprint.Value{"standard": {Is: "local"}, "fast": {Is: "nvme"}})
	b := classes(map[string]fingerprint.Value{"standard": {Is: "ebs"}, "slow": {Is: "hdd"}})
	rules := fingerprint.Rules{fingerprint.StorageClasses: fingerprint.DefaultRules()[fingerprint.StorageClasses]}
	got := fingerprint.Compare(a, b, rules)
	require.Equal(t, []string{
		`fingerprint/storage-classes.fast: "nvme", nothing: only one has it`,
		`fingerprint/storage-classes.slow: nothing, "hdd": only one has it`,
		`fingerprint/storage-classes.standard: "local", "ebs": they are not equal`,
	}, texts(got))
	require.NotEmpty(t, got[0].Matters)

	entry := func(path string, d difference.Domain) difference.Entry {
		p, err := fieldpath.Parse("fingerprint/" + path)
		require.NoError(t, err)
		return difference.Entry{ID: "e", Paths: []fieldpath.Path{p}, Allow: d, Reason: "r", Owner: "o"}
	}
	allowed := func(e difference.Entry) []bool {
		require.Empty(t, e.Check([]string{"staging", "prod"}))
		var out []bool
		for _, f := range fingerprint.Declare("staging", "prod", got, []difference.Entry{e}) {
			out = append(out, f.Allowed)
		}
		return out
	}
	require.Equal(t, []bool{false, false, true}, allowed(entry("storage-classes.standard", difference.Domain{Enum: []any{"local", "ebs"}})))
	require.Equal(t, []bool{false, false, false}, allowed(entry("storage-classes.standard", difference.Domain{Enum: []any{"local"}})))
	require.Equal(t, []bool{true, false, false}, allowed(entry("storage-classes.fast", difference.Domain{Type: difference.Presence})))
	require.Equal(t, []bool{true, true, false}, allowed(entry("storage-classes", difference.Domain{Type: difference.Presence})))
	require.Equal(t, []bool{false, false, false}, allowed(entry("kubernetes.version", difference.Domain{Type: difference.String})))

	// What an entry says of an environment is what it must have.
	said := entry("storage-classes.standard", difference.Domain{Enum: []any{"local", "ebs"}})
	said.Values = map[string]any{"staging": "local", "prod": "ebs"}
	require.Equal(t, []bool{false, false, true}, allowed(said))
	said.Values = map[string]any{"staging": "ebs", "prod": "local"}
	require.Equal(t, []bool{false, false, false}, allowed(said), "the other way round")
	said.Values, said.Default = nil, "local"
	require.Equal(t, []bool{false, false, false}, allowed(said))
	there := entry("storage-classes.fast", difference.Domain{Type: difference.Presence})
	there.Values = map[string]any{"staging": false, "prod": true}
	require.Equal(t, []bool{false, false, false}, allowed(there))
	there.Values = map[string]any{"staging": true, "prod": false}
	require.Equal(t, []bool{true, false, false}, allowed(there))

	unknown := fingerprint.Compare(a, fingerprint.Fingerprint{}, rules)
	require.False(t, fingerprint.Declare("staging", "prod", unknown, []difference.Entry{entry("storage-classes", difference.Domain{Type: difference.String, Optional: true})})[0].Allowed)

	rules[fingerprint.StorageClasses] = fingerprint.Rule{Compare: fingerprint.Subset}
	require.Len(t, fingerprint.Compare(a, b, rules), 2, "b may have more")
}

func TestTighten(t *testing.T) {
	t.Parallel()
	rules := fingerprint.DefaultRules()
	got, err := fingerprint.Tighten(rules, fingerprint.Rules{
		fingerprint.Server: {Compare: fingerprint.Exact}, fingerprint.GPUDriver: {Compare: fingerprint.Floor, Floor: "550"},
	})
	require.NoError(t, err)
	require.Equal(t, fingerprint.Exact, got[fingerprint.Server].Compare)
	require.NotEmpty(t, got[fingerprint.Server].Why)
	require.Equal(t, fingerprint.SemverMinor, rules[fingerprint.Server].Compare, "the rules given stay")
	for says, project := range map[string]fingerprint.Rules{
		`did you mean "gpu.driver"?`:       {"gpu.drivr": {Compare: fingerprint.Exact}},
		"the dimensions are":               {"weather": {Compare: fingerprint.Exact}},
		"is not known: write one of":       {fingerprint.Server: {Compare: "semver"}},
		"ignore holds less than exact":     {fingerprint.CRDs: {Compare: fingerprint.Ignore}},
		"floor holds less than semver":     {fingerprint.Server: {Compare: fingerprint.Floor}},
		"a floor goes with":                {fingerprint.Server: {Compare: fingerprint.Exact, Floor: "1"}},
		"path fingerprint/storage-classes": {fingerprint.StorageClasses: {Compare: fingerprint.Subset}},
	} {
		_, err := fingerprint.Tighten(rules, project)
		require.ErrorContains(t, err, says)
	}
}

func sample() fingerprint.Fingerprint {
	return fingerprint.Fingerprint{Dimensions: map[string]fingerprint.Dimension{
		fingerprint.Server:      one("v1.36.1"),
		fingerprint.APIs:        {Value: fingerprint.Set("v1/Pod", "apps/v1/Deployment", "v1/Pod")},
		fingerprint.CRDs:        {Items: map[string]fingerprint.Value{"notebooks.kubeflow.org": {Is: "sha256:1"}, "b": {Unknown: "gone <meanwhile>"}}},
		fingerprint.Kernel:      {Value: fingerprint.Value{Unknown: "no rights to list nodes"}},
		fingerprint.Allocatable: one(map[string]any{"nvidia.com/gpu": int64(8), "ok": true}),
	}}
}

func TestCanonicalForm(t *testing.T) {
	t.Parallel()
	raw, err := sample().Marshal()
	require.NoError(t, err)
	want := `{"format":"kfdev.dev/fingerprint/v1alpha1","dimensions":{"crds":{"items":{"b":{"unknown":"gone <meanwhile>"},"notebooks.kubeflow.org":{"is":"sha256:1"}}},` +
		`"kubernetes.apis":{"is":["apps/v1/Deployment","v1/Pod"]},"kubernetes.version":{"is":"v1.36.1"},"nodes.allocatable":{"is":{"nvidia.com/gpu":8,"ok":true}},` +
		`"nodes.kernel":{"unknown":"no rights to list nodes"}}}` + "\n"
	require.Equal(t, []byte(want), raw)
	back, err := fingerprint.Unmarshal(raw)
	require.NoError(t, err)
	require.Equal(t, sample(), back)
	digest, err := sample().Digest()
	require.NoError(t, err)
	other := sample()
	other.Dimensions[fingerprint.Server] = one("v1.36.2")
	another, err := other.Digest()
	require.NoError(t, err)
	require.NotEqual(t, digest, another)

	for name, bad := range map[string]string{
		"space":         strings.Replace(string(raw), `{"format"`, `{ "format"`, 1),
		"a format":      strings.Replace(string(raw), "v1alpha1", "v9", 1),
		"a key":         strings.Replace(string(raw), `"is"`, `"was"`, 1),
		"more":          string(raw) + "{}",
		"a fraction":    strings.Replace(string(raw), ":8,", ":8.5,", 1),
		"both":          strings.Replace(string(raw), `"is":"v1.36.1"`, `"is":"v1.36.1","unknown":"x"`, 1),
		"another order": strings.Replace(string(raw), `"nvidia.com/gpu":8,"ok":true`, `"ok":true,"nvidia.com/gpu":8`, 1),
	} {
		require.NotEqual(t, string(raw), bad, name)
		_, err := fingerprint.Unmarshal([]byte(bad))
		require.Error(t, err, name)
	}
	for _, v := range []any{1.5, 1, "\xff", []any{struct{}{}}} {
		_, err := with("x", one(v)).Marshal()
		require.Error(t, err)
	}
}

// TestEveryChangeIsFound: a fingerprint with everything known equals itself,
// and any one value that changes, goes, or is not known any more is found there.
func TestEveryChangeIsFound(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	names := slices.Sorted(maps.Keys(fingerprint.DefaultRules()))
	full := func() fingerprint.Fingerprint {
		f := fingerprint.Fingerprint{Dimensions: map[string]fingerprint.Dimension{}}
		for i, name := range names {
			if i%2 == 0 {
				f.Dimensions[name] = one(fmt.Sprintf("v1.%d.0", i))
			} else {
				f.Dimensions[name] = fingerprint.Dimension{Items: map[string]fingerprint.Value{"x": {Is: fmt.Sprintf("v1.%d.0", i)}, "y": {Is: "v1.0"}}}
			}
		}
		return f
	}
	require.Empty(t, fingerprint.Compare(full(), full(), fingerprint.DefaultRules()))
	for range 500 {
		name := names[r.IntN(len(names))]
		b := full()
		d := b.Dimensions[name]
		changed := []fingerprint.Value{{Is: "v0.9"}, {Unknown: "why"}, {}}[r.IntN(3)]
		if d.Items != nil {
			d.Items["x"] = changed
		} else {
			b.Dimensions[name] = fingerprint.Dimension{Value: changed}
		}
		got := fingerprint.Compare(full(), b, fingerprint.DefaultRules())
		require.Len(t, got, 1)
		require.Equal(t, name, got[0].Dimension)
		require.Equal(t, changed.Is == nil, got[0].Unknown)
	}
}

// FuzzUnmarshal: what is read is in the one form, and compares with anything.
func FuzzUnmarshal(f *testing.F) {
	raw, err := sample().Marshal()
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{"format":"kfdev.dev/fingerprint/v1alpha1","dimensions":{"gpu.driver":{"is":"550"}}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := fingerprint.Unmarshal(data)
		if err != nil {
			return
		}
		again, err := got.Marshal()
		require.NoError(t, err)
		require.Equal(t, string(data), string(again))
		for _, f := range fingerprint.Compare(got, got, nil) {
			require.True(t, f.Unknown, "%v", f)
		}
		fingerprint.Compare(got, sample(), fingerprint.DefaultRules())
	})
}

func TestNoItemsAreKnown(t *testing.T) {
	t.Parallel()
	f := with(fingerprint.GatewayClasses, fingerprint.Dimension{Items: map[string]fingerprint.Value{}})
	data, err := f.Marshal()
	require.NoError(t, err)
	back, err := fingerprint.Unmarshal(data)
	require.NoError(t, err)
	require.Empty(t, fingerprint.Compare(f, back, fingerprint.Rules{fingerprint.GatewayClasses: {Compare: fingerprint.Exact}}))
}
