package project_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
)

func TestEnvironmentsAreRead(t *testing.T) {
	t.Parallel()
	f, err := project.Parse("kfdev.yaml", []byte(head+full))
	require.NoError(t, err)
	require.Equal(t, []string{"dev", "staging", "prod"}, f.Environments.Order())
	staging, prod := f.Environments.Others["staging"], f.Environments.Others["prod"]
	require.Equal(t, "staging", staging.Cluster.Context)
	require.Equal(t, project.EnvironmentRegistry{Push: "registry.staging.example.com/kfdev", Pull: "registry.staging.example.com/kfdev"}, staging.Registry)
	require.Equal(t, []string{"dev"}, staging.After)
	require.Equal(t, project.EnvironmentRegistry{
		Push: "push.example.com:5000", Pull: "registry.example.com/kfdev", CA: "certs/ca.pem",
		PullSecret: &project.SecretName{Namespace: "kfdev", Name: "pull"},
	}, prod.Registry)
	for _, name := range f.Environments.Order() {
		require.NoError(t, f.SyncAllowed(name))
	}
}

func TestSyncIsRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	f, err := project.Parse("kfdev.yaml", []byte(head+"environments: {staging: {cluster: {context: a}}, prod: {cluster: {context: b}, after: [staging]}}\n"))
	require.NoError(t, err)
	require.NoError(t, f.SyncAllowed("dev"))

	err = f.SyncAllowed("staging")
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.Equal(t, []string{"sync in dev, or write `sync: {allow: true}` under environments.staging"}, fault.Hint(err))
	err = f.SyncAllowed("prod")
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.Contains(t, fault.Hint(err)[0], "changesRunningProductionCode: true")
	err = f.SyncAllowed("stagin")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Equal(t, []string{"did you mean staging?"}, fault.Hint(err))
}

func TestOrderAndProduction(t *testing.T) {
	t.Parallel()
	of := func(after map[string][]string) project.Environments {
		e := project.Environments{Others: map[string]project.Environment{}}
		for name, each := range after {
			e.Others[name] = project.Environment{After: each}
		}
		return e
	}
	for name, tc := range map[string]struct {
		after      map[string][]string
		order      []string
		production map[string]string // with why
	}{
		"dev alone":      {nil, []string{"dev"}, map[string]string{}},
		"a chain":        {map[string][]string{"z": {"dev"}, "a": {"z"}}, []string{"dev", "z", "a"}, map[string]string{"a": "since nothing comes after it"}},
		"two ends":       {map[string][]string{"s": nil, "eu": {"s"}, "us": {"s"}}, []string{"dev", "s", "eu", "us"}, map[string]string{"eu": "since nothing comes after it", "us": "since nothing comes after it"}},
		"behind one":     {map[string][]string{"prod": nil, "mirror": {"prod"}, "copy": {"mirror"}}, []string{"dev", "prod", "mirror", "copy"}, map[string]string{"prod": "by its name", "mirror": "since it comes after prod", "copy": "since nothing comes after it"}},
		"words in names": {map[string][]string{"eu-production": nil, "pre-prod": nil, "products": nil, "end": {"eu-production", "pre-prod", "products"}}, []string{"dev", "eu-production", "pre-prod", "products", "end"}, map[string]string{"eu-production": "by its name", "end": "since nothing comes after it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := of(tc.after)
			require.Equal(t, tc.order, e.Order())
			got := map[string]string{}
			for _, each := range e.Order() {
				if why, is := e.Production(each); is {
					got[each] = why
				}
			}
			require.Equal(t, tc.production, got)
		})
	}
}

func TestWhichEnvironmentComesFirst(t *testing.T) {
	t.Parallel()
	e := project.Environments{Others: map[string]project.Environment{
		"staging": {After: []string{"dev"}}, "eu": {After: []string{"staging"}}, "us": {After: []string{"staging"}}, "copy": {After: []string{"eu"}},
		"x": {After: []string{"y"}}, "y": {After: []string{"x"}}, // no file that was read has a ring
	}}
	for _, pair := range [][2]string{{"dev", "staging"}, {"dev", "x"}, {"staging", "eu"}, {"staging", "copy"}, {"eu", "copy"}} {
		require.True(t, e.Precedes(pair[0], pair[1]), pair)
		require.False(t, e.Precedes(pair[1], pair[0]), pair)
	}
	for _, pair := range [][2]string{{"eu", "us"}, {"us", "copy"}, {"dev", "dev"}, {"eu", "eu"}, {"x", "eu"}, {"none", "eu"}} {
		require.False(t, e.Precedes(pair[0], pair[1]), pair)
		require.False(t, e.Precedes(pair[1], pair[0]), pair)
	}
}

func TestBadEnvironmentsAreRefusedWithEveryPlace(t *testing.T) {
	t.Parallel()
	of := func(text string) string { return head + "environments: {" + text + "}\n" }
	for name, tc := range map[string]struct {
		in          string
		want        []string
		schemaTakes bool
	}{
		"nothing said":         {of("staging: "), []string{`kfdev.yaml:5:25: "environments.staging.cluster" is missing: it is required`}, false},
		"no context":           {of("staging: {cluster: {}}"), []string{`kfdev.yaml:5:35: "environments.staging.cluster.context" is missing: it is required`}, false},
		"an empty context":     {of("staging: {cluster: {context: ''}}"), []string{`kfdev.yaml:5:45: "" is no kubeconfig context: kubectl config get-contexts lists them`}, false},
		"kind elsewhere":       {of("staging: {cluster: {kind: {}}}"), []string{`kfdev.yaml:5:35: "environments.staging.cluster.context" is missing: it is required`, `kfdev.yaml:5:36: unknown key "environments.staging.cluster.kind": the keys here are authority, context, id`}, false},
		"an authority":         {of("staging: {cluster: {context: s, authority: abc}}"), []string{`kfdev.yaml:5:59: "abc" is no SHA-256 in hexadecimal: take it out, and kfdev promote writes it`}, false},
		"a later key":          {of("staging: {cluster: {context: s}, gates: {}}"), []string{`kfdev.yaml:5:49: unknown key "environments.staging.gates": the keys here are after, cluster, registry, secrets, sync`}, false},
		"a name":               {of("Staging_1: {cluster: {context: s}}"), []string{`kfdev.yaml:5:16: "Staging_1" cannot be an environment's name: lower-case letters, digits and hyphens, at most 63`}, true},
		"one context twice":    {of("a: {cluster: {context: s}}, b: {cluster: {context: s}}"), []string{`kfdev.yaml:5:67: the context s is that of a already: each environment is a cluster of its own`}, true},
		"dev's context":        {of("a: {cluster: {context: kfdev-fraud}}"), []string{`kfdev.yaml:5:39: the context kfdev-fraud is that of dev already: each environment is a cluster of its own`}, true},
		"a registry's scheme":  {of("a: {cluster: {context: s}, registry: 'https://r.example.com/x'}"), []string{`kfdev.yaml:5:53: "https://r.example.com/x" is no registry: write HOST[:PORT][/PREFIX], like registry.example.com/kfdev, without https://`}, true},
		"a registry's name":    {of("a: {cluster: {context: s}, registry: team/kfdev}"), []string{`kfdev.yaml:5:53: "team/kfdev" is no registry: write HOST[:PORT][/PREFIX], like registry.example.com/kfdev, without https://`}, true},
		"an empty registry":    {of("a: {cluster: {context: s}, registry: ''}"), []string{`kfdev.yaml:5:53: "environments.a.registry.push" is missing: it is required`}, false},
		"a registry's list":    {of("a: {cluster: {context: s}, registry: [r.example.com]}"), []string{`kfdev.yaml:5:53: environments.a.registry: a string or a mapping is wanted, not a list`}, false},
		"no push":              {of("a: {cluster: {context: s}, registry: {pull: r.example.com}}"), []string{`kfdev.yaml:5:53: "environments.a.registry.push" is missing: it is required`}, false},
		"a registry's key":     {of("a: {cluster: {context: s}, registry: {push: r.example.com, pul: r.example.com}}"), []string{`kfdev.yaml:5:75: unknown key "environments.a.registry.pul": did you mean "pull"?`}, false},
		"a pull":               {of("a: {cluster: {context: s}, registry: {push: r.example.com, pull: R}}"), []string{`kfdev.yaml:5:81: "R" is no registry: write HOST[:PORT][/PREFIX], like registry.example.com/kfdev, without https://`}, true},
		"a CA elsewhere":       {of("a: {cluster: {context: s}, registry: {push: r.example.com, ca: /etc/ca.pem}}"), []string{`kfdev.yaml:5:79: "/etc/ca.pem" is no file of the project: name one below kfdev.yaml, which colleagues have too`}, true},
		"a secret's source":    {of("dev: {secrets: [{namespace: n, name: x}]}, a: {cluster: {context: s}, secrets: [{namespace: n, name: x, keys: {k: {file: f, env: E}}}]}"), []string{`kfdev.yaml:5:127: k wants one of file and env: a value never stands in kfdev.yaml`}, true},
		"a secret's value":     {of("dev: {secrets: [{namespace: n, name: x}]}, a: {cluster: {context: s}, secrets: [{namespace: n, name: x, keys: {k: hunter2}}]}"), []string{`kfdev.yaml:5:127: k wants one of file and env: a value never stands in kfdev.yaml`}, false},
		"a secret twice":       {of("dev: {secrets: [{namespace: n, name: x}]}, a: {cluster: {context: s}, secrets: [{namespace: n, name: x}, {namespace: n, name: x}]}"), []string{`kfdev.yaml:5:142: the Secret n/x comes twice`}, true},
		"a secret of one only": {of("dev: {secrets: [{namespace: n, name: x}]}, b: {cluster: {context: t}}"), []string{`kfdev.yaml:5:59: b has no Secret n/x, and dev has: list it under secrets there too, without keys where it is there already`}, true},
		"a secret dev lacks":   {of("a: {cluster: {context: s}, secrets: [{namespace: n, name: x}]}"), []string{`kfdev.yaml:5:1: dev has no Secret n/x, and a has: list it under secrets there too, without keys where it is there already`}, true},
		"dev's secret's name":  {of("dev: {secrets: [{namespace: n, name: X}]}"), []string{`kfdev.yaml:5:53: "X" cannot be a Secret's name: lower-case letters, digits, dots and hyphens`}, true},
		"a pull secret":        {of("a: {cluster: {context: s}, registry: {push: r.example.com, pullSecret: {name: A}}}"), []string{`kfdev.yaml:5:87: "environments.a.registry.pullSecret.namespace" is missing: it is required`, `kfdev.yaml:5:94: "A" cannot be a Secret's name: lower-case letters, digits, dots and hyphens`}, false},
		"after an unknown":     {of("staging: {cluster: {context: s}}, prod: {cluster: {context: p}, after: [stagin, qa]}"), []string{`kfdev.yaml:5:88: there is no environment "stagin": did you mean "staging"?`, `kfdev.yaml:5:96: there is no environment "qa": the project has dev, staging`}, true},
		"after itself":         {of("a: {cluster: {context: s}, after: [a]}"), []string{`kfdev.yaml:5:51: a cannot come after itself`}, true},
		"after one twice":      {of("a: {cluster: {context: s}, after: [dev, dev]}"), []string{`kfdev.yaml:5:56: dev comes twice`}, false},
		"a ring":               {of("a: {cluster: {context: s}, after: [c]}, b: {cluster: {context: t}, after: [a]}, c: {cluster: {context: u}, after: [b]}"), []string{`kfdev.yaml:5:91: a ring: a comes after c comes after b comes after a: take one of them out`}, true},
		"sync in production":   {of("a: {cluster: {context: s}, sync: {allow: true}}"), []string{`kfdev.yaml:5:57: a is production (since nothing comes after it): allow alone is not enough; where you mean it, write changesRunningProductionCode: true beside it, else take sync out`}, true},
		"the statement alone":  {of("a: {cluster: {context: s}, sync: {changesRunningProductionCode: true}}"), []string{`kfdev.yaml:5:80: this alone allows nothing: write allow: true beside it, or take sync out`}, true},
		"the statement unfit":  {of("a: {cluster: {context: s}, sync: {allow: true, changesRunningProductionCode: true}}, b: {cluster: {context: t}, after: [a]}"), []string{`kfdev.yaml:5:93: a is not production (an environment comes after it): take the statement out, so that it says something where it stands`}, true},
		"allow is a text":      {of("a: {cluster: {context: s}, sync: {allow: 'yes please'}}"), []string{`kfdev.yaml:5:57: environments.a.sync.allow: true or false is wanted, not "yes please"`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, tc.in, tc.want, tc.schemaTakes)
		})
	}
}

func TestLoadLooksForCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, project.FileName), []byte(head+full), 0o600))
	_, err := project.Load(dir)
	require.Equal(t, fault.Usage, fault.KindOf(err))
	require.ErrorContains(t, err, `kfdev.yaml:19:85: the file "certs/ca.pem" is not there`)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "certs"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "certs", "ca.pem"), nil, 0o600))
	_, err = project.Load(dir)
	require.NoError(t, err)
}

func TestWhatNodesPullWithIsOnesOwn(t *testing.T) {
	t.Parallel()
	_, err := project.Parse("kfdev.yaml", []byte(head+`environments:
  staging:
    cluster: {context: s}
    registry: {push: r.example.com/x, pullSecret: {namespace: vault, name: pull}}
    secrets: [{namespace: vault, name: pull, type: kubernetes.io/dockerconfigjson, keys: {.dockerconfigjson: {env: LOGIN}}}]
`))
	require.NoError(t, err)
}
