//go:build integration

package envs

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/seed"
)

// withSecrets is a project whose environment needs a Secret of each sort.
const withSecrets = `apiVersion: kfdev.dev/v1alpha1
kind: Project
metadata: {name: demo}
origin: source
stack: {preset: tiny, components: {ours: {folder: ours}}}
environments:
  dev: {secrets: [{namespace: ours, name: given, keys: {from-variable: {env: DEV_OURS}}}, {namespace: elsewhere, name: theirs}]}
  staging:
    cluster: {context: staging}
    registry: registry.staging.example/kfdev
    secrets:
      - {namespace: ours, name: given, keys: {from-variable: {env: OURS}, from-file: {file: ours.secret}}}
      - {namespace: elsewhere, name: theirs}
`

// marks are values that must never be seen outside of a Secret.
type marks map[string]string

func (m marks) in(data []byte) string {
	for name, value := range m {
		sum := sha256.Sum256([]byte(value))
		for form, text := range map[string]string{
			"as it is": value, "as base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(value)), "="), "as a hash without a key": hex.EncodeToString(sum[:]), "in hexadecimal": hex.EncodeToString([]byte(value)),
		} {
			if bytes.Contains(data, []byte(text)) {
				return name + " " + form
			}
		}
	}
	return ""
}

// A value goes from where it is given into the Secret, and nowhere else: not
// into anything that kfdev writes, says or records, and not where it fails.
func TestIntegrationSecretsAreSeenNowhere(t *testing.T) {
	p := newPlacesOf(t, withSecrets, "staging")
	planted := marks{"variable": "marked-variable-5b1e", "file": "marked-file-77aa", "theirs": "marked-theirs-c0de"}
	guess := newGuessing(planted)
	p.env = map[string]string{"OURS": planted["variable"]}
	p.ours(t, planted["file"])
	var said bytes.Buffer // everything that a command would print
	say := func(v any, err error) {
		data, jsonErr := json.Marshal(v)
		require.NoError(t, jsonErr)
		fmt.Fprintf(&said, "%s\n%v\n", data, err)
	}
	plan := func() SitePlan {
		plan, err := p.engine(t).PlanSite(t.Context(), "staging", PlanOptions{})
		say(plan, err)
		guess.look(t, p)
		if p.env["OURS"] != "" {
			guess.values(t, map[string][]byte{"from-variable": []byte(p.env["OURS"]), "from-file": []byte(planted["file"])})
		}
		return plan
	}
	promote := func(o PromoteOptions) (Promoted, error) {
		r, err := p.engine(t).Promote(t.Context(), "staging", o)
		say(r, err)
		return r, err
	}
	locked, err := p.lock(t, LockOptions{})
	say(locked, err)
	require.NoError(t, err)
	r, err := p.engine(t).Render(t.Context(), "staging")
	say(r, err)
	require.NoError(t, err)

	// What has to be there is asked for before anything is written.
	_, err = promote(PromoteOptions{})
	require.ErrorContains(t, err, "Secret/elsewhere/theirs: it is not there, and nothing gives its values")
	typed, err := kubernetes.NewForConfig(p.clients["staging"].Config)
	require.NoError(t, err)
	create := func(namespace, name, key, value string) {
		_, err := typed.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{key: value}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	_, err = typed.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	create("elsewhere", "theirs", "k", planted["theirs"])
	p.env = nil
	require.Equal(t, "no values are given here", plan().Secrets[0].Unchecked)
	_, err = promote(PromoteOptions{})
	require.ErrorContains(t, err, "ours/given, key from-variable: the variable OURS is not set")
	require.Equal(t, fault.Preflight, fault.KindOf(err))
	p.env = map[string]string{"OURS": planted["variable"]}

	before := plan()
	require.Equal(t, apply.Created, before.Secrets[0].Change)
	require.Equal(t, apply.Unchanged, before.Secrets[1].Change)
	_, err = promote(PromoteOptions{})
	require.NoError(t, err)
	got, err := typed.CoreV1().Secrets("ours").Get(t.Context(), "given", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"from-variable": []byte(planted["variable"]), "from-file": []byte(planted["file"])}, got.Data)
	require.False(t, plan().Changed())

	// Another value is another hash, and a plan holds to what it saw.
	planted["rotated"] = "marked-rotated-9e9e"
	p.env["OURS"] = planted["rotated"]
	rotation := plan()
	require.True(t, rotation.Changed())
	require.NotEqual(t, rotation.Secrets[0].Before, rotation.Secrets[0].After)
	planted["again"] = "marked-again-1234"
	p.env["OURS"] = planted["again"]
	_, err = promote(PromoteOptions{Plan: throughAFile(t, rotation)})
	require.Equal(t, fault.Gate, fault.KindOf(err))
	require.ErrorContains(t, err, "Secret/ours/given: its values, or those that are given, are not any more what the plan saw")
	p.env["OURS"] = planted["rotated"]
	_, err = promote(PromoteOptions{Plan: throughAFile(t, rotation)})
	require.NoError(t, err)

	// One that somebody else made is not taken over, and one by hand is drift.
	require.NoError(t, typed.CoreV1().Secrets("ours").Delete(t.Context(), "given", metav1.DeleteOptions{}))
	planted["by hand"] = "marked-hand-4242"
	create("ours", "given", "from-variable", planted["by hand"])
	_, err = promote(PromoteOptions{})
	require.ErrorContains(t, err, "it is there, and kfdev did not make it")
	found, err := p.engine(t).Drift(t.Context(), "staging", DriftOptions{Full: true})
	say(found, err)
	require.NoError(t, err)
	require.True(t, found.Drifted())

	made, err := typed.CoreV1().Secrets("ours").Get(t.Context(), "made", metav1.GetOptions{})
	require.NoError(t, err)
	planted["made"] = string(made.Data["token"])
	key, err := typed.CoreV1().Secrets("kfdev-system").Get(t.Context(), seed.HashKeyName, metav1.GetOptions{})
	require.NoError(t, err)
	planted["key of hashes"] = string(key.Data["key"])

	// Whoever tries values finds none by the hashes, whatever that was published
	// he takes for their key.
	guess.look(t, p)
	guess.read(t, p, said.Bytes())
	require.Contains(t, guess.keys, rotation.Cluster)
	guess.try(t)
	rotated := hmac.New(sha256.New, []byte(rotation.Cluster))
	rotated.Write([]byte(`"` + base64.StdEncoding.EncodeToString([]byte(planted["rotated"])) + `"`))
	require.NotEmpty(t, guess.in([]byte("hmac-sha256:"+hex.EncodeToString(rotated.Sum(nil)))), "it would be found")
	require.Empty(t, guess.in(said.Bytes()), "what is printed")
	events, err := json.Marshal(p.events.Events())
	require.NoError(t, err)
	require.Empty(t, guess.in(events), "progress")
	p.searchFiles(t, guess)
	p.searchCluster(t, guess)
	p.searchRegistry(t, guess)
}

// ours writes the component of withSecrets, and the file that a value is in.
func (p *places) ours(t *testing.T, secret string) {
	t.Helper()
	p.write(t, map[string]string{
		"ours.secret": secret,
		"ours/component.yaml": `apiVersion: kfdev.dev/v1alpha1
kind: Component
name: ours
version: v1
title: for tests
namespace: ours
secrets: [{name: made, keys: [{name: token, bytes: 16}]}]
`,
		"ours/kustomization.yaml": "resources: [all.yaml]\n",
		"ours/all.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: ours}\n",
	})
}

// searchFiles looks at everything on disk but where the value was given.
func (p *places) searchFiles(t *testing.T, guess *guessing) {
	t.Helper()
	for _, root := range []string{p.dir, p.dirs.Cache, p.dirs.State, p.dirs.Config} {
		files := 0
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || d.Name() == "ours.secret" {
				return nil //nolint:nilerr // a folder that is not there holds nothing
			}
			files++
			data, err := os.ReadFile(path)
			require.Empty(t, guess.in(data), path)
			return err
		})
		require.NoError(t, err)
		t.Logf("%d files in %s", files, filepath.Base(root))
	}
}

// searchCluster looks at every object but Secrets, and at their metadata.
func (p *places) searchCluster(t *testing.T, guess *guessing) {
	t.Helper()
	client := p.clients["staging"]
	kinds, err := client.Mapper.Kinds(t.Context())
	require.NoError(t, err)
	objects := 0
	for _, m := range kinds {
		if !m.List {
			continue
		}
		list, err := client.Dynamic.Resource(m.Resource).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for i := range list.Items {
			o := &list.Items[i]
			if m.Kind.Group == "" && m.Kind.Kind == "Secret" {
				delete(o.Object, "data")
			}
			data, err := json.Marshal(o.Object)
			require.NoError(t, err)
			require.Empty(t, guess.in(data), "%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
			objects++
		}
	}
	require.Greater(t, objects, 30)
}

// searchRegistry looks at every manifest and blob of the release.
func (p *places) searchRegistry(t *testing.T, guess *guessing) {
	t.Helper()
	get := func(path string) []byte {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+p.host+path, nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close() //nolint:errcheck // it was read
		require.Equal(t, http.StatusOK, response.StatusCode, path)
		data, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Empty(t, guess.in(data), path)
		return data
	}
	repository := "/v2/staging/kfdev/kfdev.internal/releases/demo"
	var manifest struct {
		Layers []struct{ Digest string }
	}
	require.NoError(t, json.Unmarshal(get(repository+"/manifests/"+p.ledger(t, "staging").InForce.Release), &manifest))
	require.NotEmpty(t, manifest.Layers)
	for _, l := range manifest.Layers {
		get(repository + "/blobs/" + l.Digest)
	}
}
