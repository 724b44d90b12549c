package project_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/pod"
	"github.com/kfdev/kfdev/sync/reconcile"
)

// full says everything that sync and environments may say.
const full = `sync:
  - {name: nb, local: ./src/, remote: /home/jovyan/src, target: {jupyterhub: dev}}
  - {name: train, local: ., remote: /work, target: tfjob/train/worker-0, container: tensorflow, namespace: ml,
     mode: one-way, onChange: [python, -m, pytest], maxDelete: 25%, maxFile: 20Gi, ephemeral: false}
  - {name: web, local: web, remote: /srv, target: statefulset/web -n web -c app, onChange: "make && ./run", maxDelete: 200, maxFile: 1000}
environments:
  dev: {cluster: {kind: {}}}
  staging:
    cluster: {context: staging}
    registry: registry.staging.example.com/kfdev
    after: [dev]
    sync: {allow: true}
  prod:
    cluster: {context: prod}
    registry: {push: "push.example.com:5000", pull: registry.example.com/kfdev, ca: certs/ca.pem, pullSecret: {namespace: kfdev, name: pull}}
    after: [staging]
    sync: {allow: true, changesRunningProductionCode: true}
`

func TestSyncIsRead(t *testing.T) {
	t.Parallel()
	f, err := project.Parse("kfdev.yaml", []byte(head+full))
	require.NoError(t, err)
	f.Dir = filepath.FromSlash("/p")

	nb, ok := f.SyncNamed("nb")
	require.True(t, ok)
	require.Equal(t, "src", nb.Local)
	require.Equal(t, filepath.FromSlash("/p/src"), f.LocalPath(nb))
	require.Equal(t, reconcile.TwoWaySafe, nb.Mode)
	require.True(t, nb.MayBeEphemeral())
	require.Empty(t, nb.OnChange)
	require.Equal(t, reconcile.Limits{}, nb.Limits())
	require.EqualValues(t, project.DefaultMaxFile, nb.MaxFileBytes())
	target, err := nb.PodTarget()
	require.NoError(t, err)
	require.Equal(t, pod.Target{Kind: pod.KindJupyterHub, Name: "dev"}, target)

	train, _ := f.SyncNamed("train")
	require.Equal(t, project.Command{"python", "-m", "pytest"}, train.OnChange)
	require.Equal(t, reconcile.Limits{Percent: 25}, train.Limits())
	require.EqualValues(t, 20<<30, train.MaxFileBytes())
	require.Equal(t, reconcile.OneWay, train.Mode)
	require.False(t, train.MayBeEphemeral())
	target, err = train.PodTarget()
	require.NoError(t, err)
	require.Equal(t, pod.Target{Kind: pod.KindTFJob, Name: "train", Part: "worker-0", Namespace: "ml", Container: "tensorflow"}, target)

	web, _ := f.SyncNamed("web")
	require.Equal(t, project.Command{"sh", "-c", "make && ./run"}, web.OnChange)
	require.Equal(t, reconcile.Limits{Count: 200}, web.Limits())
	target, err = web.PodTarget()
	require.NoError(t, err)
	require.Equal(t, pod.Target{Kind: pod.KindStatefulSet, Name: "web", Namespace: "web", Container: "app"}, target)

	_, ok = f.SyncNamed("nothing")
	require.False(t, ok)
}

func TestBadSyncIsRefusedWithEveryPlace(t *testing.T) {
	t.Parallel()
	entry := func(changed, to string) string {
		return head + "sync: [" + strings.Replace("{name: a, local: b, remote: /c, target: pod/d}", changed, to, 1) + "]\n"
	}
	for name, tc := range map[string]struct {
		in          string
		want        []string
		schemaTakes bool
	}{
		"nothing said": {head + "sync: [{}]\n", []string{
			`kfdev.yaml:5:8: "sync.0.name" is missing: it is required`, `kfdev.yaml:5:8: "sync.0.local" is missing: it is required`,
			`kfdev.yaml:5:8: "sync.0.remote" is missing: it is required`, `kfdev.yaml:5:8: "sync.0.target" is missing: it is required`,
		}, false},
		"null":                      {head + "sync: [null]\n", []string{`kfdev.yaml:5:8: sync[0]: nothing is there: write an item, or take its place out`}, false},
		"an unknown key":            {entry("name: a", "name: a, onChanged: x"), []string{`kfdev.yaml:5:18: unknown key "sync[0].onChanged": did you mean "onChange"?`}, false},
		"a name":                    {entry("name: a", "name: A_b"), []string{`kfdev.yaml:5:15: "A_b" cannot be a sync entry's name: lower-case letters, digits and hyphens, at most 63`}, false},
		"a command's name":          {entry("name: a", "name: status"), []string{`kfdev.yaml:5:15: kfdev sync status is a command: give the entry another name`}, true},
		"a name twice":              {head + "sync: [{name: a, local: b, remote: /c, target: pod/d}, {name: a, local: b, remote: /c, target: pod/e}]\n", []string{`kfdev.yaml:5:63: "a" comes twice: kfdev sync a must mean one entry`}, true},
		"a folder that leaves":      {entry("local: b", "local: .."), []string{`kfdev.yaml:5:25: the folder ".." leaves the project: name one below kfdev.yaml`}, true},
		"an absolute folder":        {entry("local: b", "local: /b"), []string{`kfdev.yaml:5:25: the folder "/b" is one of this machine: name one relative to kfdev.yaml, which colleagues have too; kfdev sync LOCAL:TARGET:REMOTE takes any`}, true},
		"a home":                    {entry("local: b", "local: ~/b"), []string{`kfdev.yaml:5:25: the folder "~/b" is one of this machine: name one relative to kfdev.yaml, which colleagues have too; kfdev sync LOCAL:TARGET:REMOTE takes any`}, true},
		"an empty folder":           {entry("local: b", "local: ''"), []string{`kfdev.yaml:5:25: no folder is named: name one below kfdev.yaml, or . for all of the project`}, false},
		"a relative remote":         {entry("remote: /c", "remote: c"), []string{`kfdev.yaml:5:36: "c" is no folder of the pod: write it from the root, /home/jovyan/src`}, false},
		"a remote not clean":        {entry("remote: /c", "remote: /c/../d/"), []string{`kfdev.yaml:5:36: write "/c/../d/" as /d`}, true},
		"the root":                  {entry("remote: /c", "remote: /"), []string{`kfdev.yaml:5:36: / is not a folder for files: name one below it, like /home/jovyan/src`}, false},
		"the kernel's":              {entry("remote: /c", "remote: /proc/1"), []string{`kfdev.yaml:5:36: /proc/1 is not a folder for files: name one below it, like /home/jovyan/src`}, true},
		"a kind unknown":            {entry("pod/d", "pot/d"), []string{`kfdev.yaml:5:48: reading the target: pot/d: "pot" is no kind of target; there are pod, jupyterhub, notebook, statefulset, deployment, job, tfjob, pytorchjob, mpijob, xgboostjob, paddlejob, jaxjob, trainjob; a target is KIND/NAME, like jupyterhub/dev, notebook/fraud or pod/web-0`}, true},
		"two targets":               {entry("pod/d", "{pod: d, job: e}"), []string{`kfdev.yaml:5:48: write one target, KIND/NAME or {KIND: NAME}, like jupyterhub/dev`}, false},
		"no target":                 {entry("pod/d", "{}"), []string{`kfdev.yaml:5:48: write one target, KIND/NAME or {KIND: NAME}, like jupyterhub/dev`}, false},
		"a list for a target":       {entry("pod/d", "[pod, d]"), []string{`kfdev.yaml:5:48: sync[0].target: a string or a mapping is wanted, not a list`}, false},
		"a number for a target":     {entry("pod/d", "{pod: 5}"), []string{`kfdev.yaml:5:54: sync[0].target.pod: a string is wanted; write "5"`}, false},
		"a container":               {entry("pod/d", "pod/d, container: A"), []string{`kfdev.yaml:5:66: "A" cannot be a container's name: lower-case letters, digits and hyphens, at most 63`}, true},
		"a namespace":               {entry("pod/d", "pod/d, namespace: A"), []string{`kfdev.yaml:5:66: "A" cannot be a namespace's name: lower-case letters, digits and hyphens, at most 63`}, true},
		"a namespace said twice":    {entry("pod/d", "pod/d -n x, namespace: x"), []string{`kfdev.yaml:5:48: the target names a namespace already: say it once`}, true},
		"a mode":                    {entry("pod/d", "pod/d, mode: pul"), []string{`kfdev.yaml:5:61: sync.0.mode: "pul" is not known: did you mean "pull"?`}, false},
		"no command":                {entry("pod/d", "pod/d, onChange: []"), []string{`kfdev.yaml:5:65: no command is named: write its words, or one text for sh -c, or take the key out`}, false},
		"an empty command":          {entry("pod/d", "pod/d, onChange: ''"), []string{`kfdev.yaml:5:65: no command is named: write its words, or one text for sh -c, or take the key out`}, false},
		"a word that is nothing":    {entry("pod/d", "pod/d, onChange: [a, null]"), []string{`kfdev.yaml:5:69: sync[0].onChange[1]: nothing is there: write an item, or take its place out`}, false},
		"a command's mapping":       {entry("pod/d", "pod/d, onChange: {a: b}"), []string{`kfdev.yaml:5:65: sync[0].onChange: a string or a list is wanted, not a mapping`}, false},
		"a limit":                   {entry("pod/d", "pod/d, maxDelete: 101%"), []string{`kfdev.yaml:5:66: "101%" is no limit: write a count of paths (200), a percentage (25%), or off`}, false},
		"a limit of none":           {entry("pod/d", "pod/d, maxDelete: 0"), []string{`kfdev.yaml:5:66: "0" is no limit: write a count of paths (200), a percentage (25%), or off`}, false},
		"a size":                    {entry("pod/d", "pod/d, maxFile: 5GB"), []string{`kfdev.yaml:5:64: "5GB" is no size: write 500Mi, 20Gi, a count of bytes, or off`}, false},
		"a size of none":            {entry("pod/d", "pod/d, maxFile: 0"), []string{`kfdev.yaml:5:64: "0" is no size: write 500Mi, 20Gi, a count of bytes, or off`}, false},
		"too large a size":          {entry("pod/d", "pod/d, maxFile: 9000000Ti"), []string{`kfdev.yaml:5:64: "9000000Ti" is no size: write 500Mi, 20Gi, a count of bytes, or off`}, true},
		"a folder of one pod twice": {head + "sync: [{name: a, local: b, remote: /c, target: pod/d}, {name: b, local: b, remote: /c/d, target: {pod: d}}]\n", []string{`kfdev.yaml:5:84: /c/d is in the same pod as /c of the entry "a": sync one of them`}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, tc.in, tc.want, tc.schemaTakes)
		})
	}
}

// refused holds a bad file against the problems it is to have.
func refused(t *testing.T, in string, want []string, schemaTakes bool) {
	t.Helper()
	_, err := project.Parse("kfdev.yaml", []byte(in))
	require.Equal(t, fault.Usage, fault.KindOf(err))
	require.Equal(t, "reading the project: "+strings.Join(want, "\n"), err.Error())
	require.Equal(t, schemaTakes, bySchema(t, []byte(in)) == nil, "what the schema says")
}
