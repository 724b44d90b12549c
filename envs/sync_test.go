package envs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/project"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/sync/pod"
	"github.com/kfdev/kfdev/sync/reconcile"
)

// syncedProject has two entries and three environments.
const syncedProject = bothComponents + `sync:
  - {name: nb, local: src, remote: /home/jovyan/src, target: {jupyterhub: ann}, mode: one-way, onChange: [make], maxDelete: 25%}
  - {name: web, local: web, remote: /srv, target: pod/web-0, ephemeral: false}
environments:
  staging: {cluster: {context: staging}, sync: {allow: true}}
  prod: {cluster: {context: prod}, after: [staging]}
`

func TestASessionIsWorkedOut(t *testing.T) {
	t.Parallel()
	b := newBench(t, syncedProject)
	for _, name := range []string{"src", "web"} {
		require.NoError(t, os.Mkdir(filepath.Join(b.dir, name), 0o700))
	}
	e := b.engine(t)
	nb, err := e.Sync(SyncOptions{What: "nb"})
	require.NoError(t, err)
	require.Equal(t, "nb", nb.Name)
	require.Equal(t, filepath.Join(b.dir, "src"), nb.Local)
	require.Equal(t, "/home/jovyan/src", nb.Remote)
	require.Equal(t, pod.Target{Kind: pod.KindJupyterHub, Name: "ann"}, nb.Target)
	require.Equal(t, filepath.Join(b.dirs.State, "projects", "demo", "sync", "nb"), nb.Dir)
	require.Equal(t, reconcile.OneWay, nb.config.Mode)
	require.Equal(t, reconcile.Limits{Percent: 25}, nb.config.Limits)
	require.Equal(t, []string{"make"}, nb.config.OnChange)
	require.EqualValues(t, project.DefaultMaxFile, nb.maxFile)
	require.True(t, nb.ephemeral)

	nb, err = e.Sync(SyncOptions{
		What: "nb", Env: "staging", Container: "c", Namespace: "n", Mode: "pull", MaxDelete: "off", OnChange: []string{"sh"}, Prefer: "remote",
	})
	require.NoError(t, err)
	require.Equal(t, "nb.staging", nb.Name)
	require.Equal(t, pod.Target{Kind: pod.KindJupyterHub, Name: "ann", Namespace: "n", Container: "c"}, nb.Target)
	require.Equal(t, reconcile.Pull, nb.config.Mode)
	require.Equal(t, reconcile.Limits{Off: true}, nb.config.Limits)
	require.Equal(t, []string{"sh"}, nb.config.OnChange)
	require.Equal(t, reconcile.PreferRemote, nb.config.Prefer)

	web, err := e.Sync(SyncOptions{What: "web"})
	require.NoError(t, err)
	require.False(t, web.ephemeral)
}

func TestWhatCanNotBeSyncedIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, syncedProject)
	require.NoError(t, os.Mkdir(filepath.Join(b.dir, "src"), 0o700))
	file := filepath.Join(b.dir, "kfdev.yaml")
	for name, tc := range map[string]struct {
		o    SyncOptions
		code int
		want string
	}{
		"no name":        {SyncOptions{}, 2, "kfdev.yaml has the entries nb, web"},
		"an unknown one": {SyncOptions{What: "x"}, 5, "none of that name"},
		"no folder":      {SyncOptions{What: "web"}, 5, "it is not there"},
		"a file":         {SyncOptions{What: file + ":pod/a:/b"}, 2, "it is no folder"},
		"an environment": {SyncOptions{What: "nb", Env: "x"}, 5, "none of that name"},
		"production":     {SyncOptions{What: "nb", Env: "prod"}, 8, "does not allow it"},
		"a mode":         {SyncOptions{What: "nb", Mode: "x"}, 2, "is no mode"},
		"a limit":        {SyncOptions{What: "nb", MaxDelete: "0"}, 2, "--max-delete 0"},
		"a side":         {SyncOptions{What: "nb", Prefer: "x"}, 2, "is no side"},
		"a container":    {SyncOptions{What: "nb", Container: "A"}, 2, "is no name"},
	} {
		_, err := b.engine(t).Sync(tc.o)
		require.ErrorContains(t, err, tc.want, name)
		require.Equal(t, tc.code, fault.ExitCode(err), name)
	}
	_, err := newBench(t, bothComponents).engine(t).Sync(SyncOptions{})
	require.ErrorContains(t, err, "kfdev.yaml has no sync entry")
	require.Equal(t, 2, fault.ExitCode(err))
}

func TestTheOnlyEntryNeedsNoName(t *testing.T) {
	t.Parallel()
	b := newBench(t, bothComponents+"sync: [{name: nb, local: ., remote: /srv, target: pod/a}]\n")
	s, err := b.engine(t).Sync(SyncOptions{})
	require.NoError(t, err)
	require.Equal(t, "nb", s.Name)
}

func TestASessionWithoutAnEntry(t *testing.T) {
	t.Parallel()
	here := t.TempDir()
	colons := filepath.Join(here, "a:b")
	for text, want := range map[string]struct{ local, target, remote, name string }{
		here + ":pod/web-0:/srv/app":                              {here, "pod/web-0", "/srv/app", "001-web-0-"},
		colons + ":jupyterhub/Ann:~/src/":                         {colons, "jupyterhub/Ann", "~/src", "a-b-ann-"},
		here + ":tfjob/train/worker-0:~":                          {here, "tfjob/train/worker-0", "~", "001-train-"},
		colons + "/" + strings.Repeat("x", 50) + ":pod/a:/b/../c": {colons + "/" + strings.Repeat("x", 50), "pod/a", "/c", strings.Repeat("x", 24) + "-a-"},
	} {
		got, err := adHoc(text)
		require.NoError(t, err, text)
		require.Equal(t, want.local, got.Local)
		require.Equal(t, want.target, string(got.Target))
		require.Equal(t, want.remote, got.Remote)
		require.Regexp(t, "^"+want.name+"[0-9a-f]{6}$", got.Name)
		again, err := adHoc(text)
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	one, err := adHoc(here + ":pod/a:/b")
	require.NoError(t, err)
	other, err := adHoc(here + ":pod/a:/c")
	require.NoError(t, err)
	require.NotEqual(t, one.Name, other.Name)
	for text, want := range map[string]string{
		"src:pod/a:b":      "is to begin with / or ~",
		"pod/a:/b":         "names no local folder or no target",
		":pod/a:/b":        "names no local folder or no target",
		"src:pot/a:/b":     `"pot" is no kind of target`,
		"src:pod/a:/":      "root folder can't be synced",
		"src:pod/a:~ann/b": "other users' are not known",
	} {
		_, err := adHoc(text)
		require.ErrorContains(t, err, want, text)
		require.Equal(t, 2, fault.ExitCode(err), text)
	}
}

func FuzzAdHoc(f *testing.F) {
	f.Add("src:pod/a:/b")
	f.Add("a:b:jupyterhub/x:~/c")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := adHoc(text)
		if err != nil {
			require.Equal(t, fault.Usage, fault.KindOf(err))
			return
		}
		require.True(t, filepath.IsAbs(s.Local))
		require.Regexp(t, "^(/.|~$|~/)", s.Remote)
		require.Regexp(t, `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, s.Name)
		_, err = s.PodTarget()
		require.NoError(t, err)
	})
}
