package project_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/schema"
	"github.com/kfdev/kfdev/stack"
	"github.com/kfdev/kfdev/sync/reconcile"
)

const head = "apiVersion: kfdev.dev/v1alpha1\nkind: Project\nmetadata: {name: fraud}\nstack: {preset: core}\n"

// bySchema holds a document against the JSON Schema, as an editor does.
func bySchema(tb testing.TB, data []byte) error {
	tb.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.Project()))
	require.NoError(tb, err)
	c := jsonschema.NewCompiler()
	require.NoError(tb, c.AddResource("kfdev.json", parsed))
	compiled, err := c.Compile("kfdev.json")
	require.NoError(tb, err)
	var doc any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return err
	}
	return compiled.Validate(plain(doc))
}

// plain turns decoded YAML into what JSON decodes to.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, each := range v {
			v[k] = plain(each)
		}
	case []any:
		for i, each := range v {
			v[i] = plain(each)
		}
	case int:
		return float64(v)
	case time.Time:
		return v.Format(time.DateOnly) // a text to whoever reads YAML 1.2
	}
	return v
}

func TestGoodFilesAreTakenByTheDecoderAndTheSchema(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"least":      head,
		"all":        "apiVersion: kfdev.dev/v1alpha1\nkind: Project\nmetadata: {name: a}\nplatforms: [linux/amd64, linux/arm64]\norigin: source\nstack:\n  preset: tiny\n  components:\n    jupyterhub: {enabled: true, values: {memory: 1Gi, count: 2, on: true, cpu: 0.5}}\n    mine: {folder: deploy/mine}\n    argo-workflows: {enabled: false}\nregistry: {mirrors: {docker.io: [mirror.example.com/hub, 'localhost:5000']}}\nenvironments: {dev: {cluster: {kind: {nodes: 3, ports: [{host: 8080, node: 30080}]}}}}\n",
		"all empty":  head + "platforms:\norigin:\nregistry:\nenvironments: {dev: {cluster: {kind: {nodes: , ports: }}}}\n",
		"sync":       head + full,
		"sync empty": head + "sync:\nenvironments: {dev: , staging: {cluster: {context: s}, registry: , after: , sync: }}\n",
		"empty list": head + "platforms: []\n",
		"nulls":      "apiVersion: kfdev.dev/v1alpha1\nkind: Project\nmetadata: {name: fraud}\nstack:\n  preset: core\n  components:\n    jupyterhub:\n    argo-workflows: {enabled: , folder: , values: }\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := project.Parse("kfdev.yaml", []byte(in))
			require.NoError(t, err)
			require.NoError(t, bySchema(t, []byte(in)))
		})
	}
}

func TestParseFillsInWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	f, err := project.Parse("kfdev.yaml", []byte(head))
	require.NoError(t, err)
	require.Equal(t, []project.Platform{project.LinuxAMD64}, f.Platforms)
	require.Equal(t, project.OriginAuto, f.Origin)
	require.Equal(t, 1, f.Environments.Dev.Cluster.Kind.Nodes)
}

func TestBadFilesAreRefusedWithEveryPlace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   string
		want []string
		// schemaTakes marks what only the decoder can see.
		schemaTakes bool
	}{
		"all is missing": {"{}\n", []string{
			`kfdev.yaml:1:1: "apiVersion" is missing: it is required`,
			`kfdev.yaml:1:1: "kind" is missing: it is required`,
			`kfdev.yaml:1:1: "metadata" is missing: it is required`,
			`kfdev.yaml:1:1: "stack" is missing: it is required`,
		}, false},
		"several at once": {strings.Replace(head, "fraud", "Fraud", 1) + "originn: auto\nplatforms: [linux/amd64, linux/amd46]\nenvironments: {dev: {cluster: {kind: {nodes: 20}}}}\n", []string{
			`kfdev.yaml:3:18: metadata.name: "Fraud" cannot be a name: lower-case letters, digits and hyphens, from a letter to a letter or digit`,
			`kfdev.yaml:5:1: unknown key "originn": did you mean "origin"?`,
			`kfdev.yaml:6:26: platforms.1: "linux/amd46" is not known: did you mean "linux/amd64"?`,
			`kfdev.yaml:7:46: nodes: 20 nodes: from 1 to 10 are taken`,
		}, false},
		"a wrong type is told once":       {head + "environments: {dev: {cluster: {kind: {nodes: many}}}}\n", []string{`kfdev.yaml:5:46: environments.dev.cluster.kind.nodes: a whole number is wanted, not "many"`}, false},
		"another version":                 {strings.Replace(head, "v1alpha1", "v9", 1), []string{`kfdev.yaml:1:13: apiVersion: "kfdev.dev/v9" is not known to this kfdev: write kfdev.dev/v1alpha1`}, false},
		"another kind":                    {strings.Replace(head, "Project", "Prject", 1), []string{`kfdev.yaml:2:7: kind: "Prject" is not a project: write Project`}, false},
		"a long name":                     {strings.Replace(head, "fraud", strings.Repeat("a", 41), 1), []string{`kfdev.yaml:3:18: metadata.name: the name "` + strings.Repeat("a", 41) + `" has 41 characters: at most 40 are taken`}, false},
		"a name that is a number":         {strings.Replace(head, "fraud", "5", 1), []string{`kfdev.yaml:3:18: metadata.name: a string is wanted; write "5"`}, false},
		"no preset":                       {strings.Replace(head, "preset: core", "", 1), []string{`kfdev.yaml:4:8: "stack.preset" is missing: it is required`}, false},
		"a preset unknown":                {strings.Replace(head, "core", "large", 1), []string{`kfdev.yaml:4:17: stack.preset: "large" is not known: write one of tiny, core`}, false},
		"an origin unknown":               {head + "origin: sauce\n", []string{`kfdev.yaml:5:9: origin: "sauce" is not known: write one of auto, registry, source`}, false},
		"an empty origin":                 {head + "origin: ''\n", []string{`kfdev.yaml:5:9: origin: "" is not known: write one of auto, registry, source`}, false},
		"a platform twice":                {head + "platforms: [linux/amd64, linux/amd64]\n", []string{`kfdev.yaml:5:26: platforms: linux/amd64 comes twice`}, false},
		"a key twice":                     {head + "kind: Project\n", []string{`kfdev.yaml:5:1: "kind" comes twice`}, false},
		"a value that is a list":          {strings.Replace(head, "core}", "core, components: {a: {values: {b: [c]}}}}", 1), []string{`kfdev.yaml:4:52: stack.components.a.values.b: one value is wanted, not a list`}, false},
		"a value that is nothing":         {strings.Replace(head, "core}", "core, components: {a: {values: {b: }}}}", 1), []string{`kfdev.yaml:4:52: "stack.components.a.values.b" is missing: it is required`}, false},
		"a port too large":                {head + "environments: {dev: {cluster: {kind: {ports: [{host: 70000, node: 30080}]}}}}\n", []string{`kfdev.yaml:5:54: host: 70000 is not a port: from 1 to 65535`}, false},
		"a port without a node's":         {head + "environments: {dev: {cluster: {kind: {ports: [{host: 8080}]}}}}\n", []string{`kfdev.yaml:5:47: "environments.dev.cluster.kind.ports.0.node" is missing: it is required`}, false},
		"a port twice":                    {head + "environments: {dev: {cluster: {kind: {ports: [{host: 8080, node: 30080}, {host: 8080, node: 30081}]}}}}\n", []string{`kfdev.yaml:5:81: the host's port 8080 comes twice`}, true},
		"a node's port twice":             {head + "environments: {dev: {cluster: {kind: {ports: [{host: 8080, node: 30080}, {host: 8081, node: 30080}]}}}}\n", []string{`kfdev.yaml:5:93: the node's port 30080 comes twice`}, true},
		"the API server's port":           {head + "environments: {dev: {cluster: {kind: {ports: [{host: 8080, node: 6443}]}}}}\n", []string{`kfdev.yaml:5:66: the node's port 6443 is the API server's, which has an address of its own`}, true},
		"a dimension":                     {head + "fingerprint: {kubernetes.versoin: {compare: exact}}\n", []string{`kfdev.yaml:5:15: there is no dimension "kubernetes.versoin": did you mean "kubernetes.version"?`}, true},
		"a looser dimension":              {head + "fingerprint: {webhooks: {compare: ignore}}\n", []string{`kfdev.yaml:5:15: webhooks: ignore holds less than exact: declare the difference instead, with the path fingerprint/webhooks`}, true},
		"noise from elsewhere":            {head + "noise: ../noise.yaml\n", []string{`kfdev.yaml:5:8: "../noise.yaml" is no file of the project: name one below kfdev.yaml`}, true},
		"a component's name":              {strings.Replace(head, "core}", "core, components: {My_Part: {}}}", 1), []string{`kfdev.yaml:4:36: "My_Part" cannot be a component's name: lower-case letters, digits and hyphens, at most 63`}, true},
		"a folder that leaves":            {strings.Replace(head, "core}", "core, components: {a: {folder: ../x}}}", 1), []string{`kfdev.yaml:4:48: the folder "../x" leaves the project: name one below kfdev.yaml`}, true},
		"an empty folder":                 {strings.Replace(head, "core}", "core, components: {a: {folder: ''}}}", 1), []string{`kfdev.yaml:4:48: no folder is named: name one, or take the key out`}, false},
		"a value's name":                  {strings.Replace(head, "core}", "core, components: {a: {values: {'x y': 1}}}}", 1), []string{`kfdev.yaml:4:49: "x y" cannot be a value's name: letters, digits, hyphens and underscores`}, true},
		"a mirror with a scheme":          {head + "registry: {mirrors: {docker.io: ['https://m.example.com']}}\n", []string{`kfdev.yaml:5:34: "https://m.example.com" is not a mirror: write HOST[:PORT][/PATH], without https://`}, true},
		"a host with a path":              {head + "registry: {mirrors: {docker.io/x: [m]}}\n", []string{`kfdev.yaml:5:22: "docker.io/x" is not a registry's host: write it as in an image's name, quay.io or localhost:5000`}, true},
		"not YAML":                        {"a: [\n", []string{`kfdev.yaml:1:1: did not find expected node content`}, false},
		"the future's keys are not taken": {head + "gates: []\n", []string{`kfdev.yaml:5:1: unknown key "gates": the keys here are apiVersion, differences, environments, fingerprint, kind, metadata, noise, origin, platforms, profiles, registry, stack, sync`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := project.Parse("kfdev.yaml", []byte(tc.in))
			require.Equal(t, fault.Usage, fault.KindOf(err))
			require.NotEmpty(t, fault.Hint(err))
			require.Equal(t, "reading the project: "+strings.Join(tc.want, "\n"), err.Error())
			require.Equal(t, tc.schemaTakes, bySchema(t, []byte(tc.in)) == nil, "what the schema says")
		})
	}
}

func TestTheSchemasModesAreReconciles(t *testing.T) {
	t.Parallel()
	for _, mode := range reconcile.Modes() {
		text := head + "sync: [{name: a, local: a, remote: /a, target: pod/a, mode: " + string(mode) + "}]\n"
		require.NoError(t, bySchema(t, []byte(text)))
		f, err := project.Parse("kfdev.yaml", []byte(text))
		require.NoError(t, err)
		require.Equal(t, mode, f.Sync[0].Mode)
	}
}

func TestCheckComponents(t *testing.T) {
	t.Parallel()
	f, err := project.Parse("kfdev.yaml", []byte(strings.Replace(head, "core}", "core, components: {jupiterhub: {}, katib: {}, mine: {folder: x}, storage: {}}}", 1)))
	require.NoError(t, err)
	err = f.CheckComponents([]string{"jupyterhub", "storage"})
	require.Equal(t, fault.Usage, fault.KindOf(err))
	require.Equal(t, `reading the project: kfdev.yaml:4:36: the catalog has no component "jupiterhub": did you mean "jupyterhub"?
kfdev.yaml:4:52: the catalog has no component "katib": it has jupyterhub, storage; a component of your own needs a folder`, err.Error())
	require.NoError(t, f.CheckComponents([]string{"jupiterhub", "katib", "storage"}))
}

func TestLoadAndFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := project.Load(dir)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = project.Find(filepath.Join(dir, "below"))
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	path := filepath.Join(dir, project.FileName)
	require.NoError(t, os.WriteFile(path, []byte(head), 0o600))
	f, err := project.Load(dir)
	require.NoError(t, err)
	require.Equal(t, dir, f.Dir)
	require.Equal(t, "fraud", f.Metadata.Name)
	found, err := project.Find(filepath.Join(dir, "not", "yet"))
	require.NoError(t, err)
	require.Equal(t, dir, found)
}

func TestLoadLooksAtFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := strings.Replace(head, "core}", "core, components: {a: {folder: gone}, b: {folder: kfdev.yaml}, c: {folder: there}}}", 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, project.FileName), []byte(text), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "there"), 0o700))
	_, err := project.Load(dir)
	require.Equal(t, fault.Usage, fault.KindOf(err))
	require.ErrorContains(t, err, `kfdev.yaml:4:48: the folder "gone" is not there`)
	require.ErrorContains(t, err, `kfdev.yaml:4:67: "kfdev.yaml" is a file: a folder is wanted`)
	require.NotContains(t, err.Error(), "there\"")
}

func TestLoadRefusesAHugeFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, project.FileName), bytes.Repeat([]byte("# x\n"), 1<<19), 0o600))
	_, err := project.Load(dir)
	require.Equal(t, fault.Usage, fault.KindOf(err))
	require.ErrorContains(t, err, "at most")
}

func TestPresetsAreTheStacks(t *testing.T) {
	t.Parallel()
	var names []string
	for _, p := range stack.Presets() {
		names = append(names, p.Name)
	}
	require.Equal(t, names, project.Presets())
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head))
	f.Add([]byte(head + "platforms: [linux/arm64]\nenvironments: {dev: {cluster: {kind: {ports: [{host: 1, node: 2}]}}}}\n"))
	f.Add([]byte(head + full))
	f.Add([]byte(strings.Replace(head, "core}", "core, components: {a: {values: {b: c}}}}", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := project.Parse("kfdev.yaml", data)
		if err != nil {
			require.Equal(t, fault.Usage, fault.KindOf(err))
			return
		}
		require.NotEmpty(t, file.Metadata.Name)
		require.NoError(t, bySchema(t, data))
	})
}
