//go:build integration

package envs

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kfdev/kfdev/stack/noise"
)

// guessing is who has all that kfdev ever published, and tries values: what is
// hashed of a Secret, and what a hash may be keyed with.
type guessing struct {
	marks
	messages map[string][]byte // what is hashed, by what it is
	keys     map[string]bool
	hashes   map[string]string // the beginnings of hashes, and what they are of
}

// How much of a hash is enough to try values against, in each form.
const (
	hexDigits = 16
	digits64  = 20
)

var (
	inHex   = regexp.MustCompile(`[0-9a-f]{16,}`)
	in64    = regexp.MustCompile(`[A-Za-z0-9+/_-]{20,}`)
	inWords = regexp.MustCompile(`[^\s",:{}\[\]]+`)
)

func newGuessing(m marks) *guessing {
	return &guessing{marks: m, messages: map[string][]byte{}, keys: map[string]bool{"": true}}
}

// values notes every form in which values of a Secret are hashed.
func (g *guessing) values(t *testing.T, values map[string][]byte) {
	t.Helper()
	var all bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		text := base64.StdEncoding.EncodeToString(value)
		quoted, err := json.Marshal(text)
		require.NoError(t, err)
		for form, message := range map[string][]byte{"": value, "in base64": []byte(text), "in JSON": quoted, "as a field": append([]byte("data/"+name+"\x00"), quoted...)} {
			g.messages[fmt.Sprintf("%s %q %s", name, value, form)] = message
		}
		fmt.Fprintf(&all, "%d:%s%d:%s", len(name), name, len(value), value)
	}
	g.messages["all of "+all.String()] = all.Bytes()
	data, err := json.Marshal(values)
	require.NoError(t, err)
	g.messages["JSON of "+all.String()] = data
}

// look notes every Secret that is in the cluster now.
func (g *guessing) look(t *testing.T, p *places) {
	t.Helper()
	list, err := p.clients["staging"].Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for i := range list.Items {
		o := &list.Items[i]
		texts, _, err := unstructured.NestedStringMap(o.Object, "data")
		require.NoError(t, err)
		values := map[string][]byte{}
		for key, text := range texts {
			values[key], err = base64.StdEncoding.DecodeString(text)
			require.NoError(t, err)
		}
		g.values(t, values)
		for form, object := range map[string]*unstructured.Unstructured{"as it is": o, "without noise": noise.Default().Strip(o)} {
			data, err := json.Marshal(object.Object)
			require.NoError(t, err)
			g.messages[fmt.Sprintf("%s at %s %s", o.GetName(), o.GetResourceVersion(), form)] = data
		}
	}
}

// read notes what may be a key of all that is said.
func (g *guessing) read(t *testing.T, p *places, said []byte) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(p.dir, "kfdev.yaml"))
	require.NoError(t, err)
	for _, word := range inWords.FindAll(append(file, said...), -1) {
		g.keys[string(word)] = true
		if raw, err := hex.DecodeString(string(word)); err == nil {
			g.keys[string(raw)] = true
		}
	}
}

// try makes every hash.
func (g *guessing) try(t *testing.T) {
	t.Helper()
	g.hashes = map[string]string{}
	note := func(sum []byte, what string) {
		g.hashes[hex.EncodeToString(sum)[:hexDigits]] = what
		g.hashes[base64.StdEncoding.EncodeToString(sum)[:digits64]] = what
		g.hashes[base64.URLEncoding.EncodeToString(sum)[:digits64]] = what
	}
	for what, message := range g.messages {
		sum := sha256.Sum256(message)
		note(sum[:], what+" without a key")
		for key := range g.keys {
			h := hmac.New(sha256.New, []byte(key))
			h.Write(message)
			note(h.Sum(nil), fmt.Sprintf("%s with the key %q", what, key))
		}
	}
	t.Logf("%d messages, %d keys", len(g.messages), len(g.keys))
}

// in says which value, or which hash of one, is in data.
func (g *guessing) in(data []byte) string {
	if found := g.marks.in(data); found != "" {
		return found
	}
	for _, token := range inHex.FindAll(data, -1) {
		if what := g.hashes[string(token[:hexDigits])]; what != "" {
			return "a hash of " + what
		}
	}
	for _, token := range in64.FindAll(data, -1) {
		if what := g.hashes[string(token[:digits64])]; what != "" {
			return "a hash of " + what
		}
	}
	return ""
}
