package drift

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kfdev/kfdev/stack/noise"
)

// record is what an object was when it was looked at whole and found to be
// what the release says.
type record struct {
	UID        types.UID `json:"u"`
	Version    string    `json:"v"`           // resourceVersion
	Generation int64     `json:"g,omitempty"` // 0: the kind has none
	Owners     string    `json:"o"`           // hash of who owns what, and of all other metadata; of a Secret empty
	Content    string    `json:"c"`           // hash of what noise.Strip leaves; of a Secret empty
}

// recordOf is what an object is. Of a Secret there are no hashes: who may read
// the record, and not the Secret, would try values against them. Annotations are
// no better than data, for kubectl notes there all that it sent. A Secret that was
// written to is compared with the release again.
func recordOf(k key, o *unstructured.Unstructured, rules noise.Rules) record {
	r := record{UID: o.GetUID(), Version: o.GetResourceVersion(), Generation: o.GetGeneration()}
	if k.group != "" || k.kind != "Secret" {
		r.Owners, r.Content = ownership(o), noise.Hash(rules.Strip(o))
	}
	return r
}

// baseline is what the environment was when it had settled.
type baseline struct {
	Release string // digest
	Rules   string // digest of the rules of noise
	Objects map[key]record
}

// proves reports whether an object is known to be what it was when it was
// compared with the release, without reading it.
//
// Equal uid and equal resourceVersion prove it: the version is that of the
// object's last write to etcd, each write gives a new one, and the uid tells an
// object apart from a later one of the same name. All that is stored is
// therefore what it was, what admission wrote into it included, for that was
// there when the object was compared. (Kubernetes promises equality of versions
// and no more: API conventions, "Concurrency Control and Consistency".)
//
// Equal uid, generation and metadata prove it for kinds whose generation counts
// every change of all but metadata and status: then only the status was
// written. The metadata is held against the baseline itself, with what every
// manager owns, so that a field that changed hands shows though its value is
// what it was.
//
// Neither proves what the server does on reading: a kind's schema may give
// other defaults today than then. Such a schema is an object of the release, or
// the fingerprint tells of it. And a baseline is as good as the rights to write
// kfdev-system: a full scan does not ask it.
func (b *baseline) proves(k key, m *meta, generation bool) bool {
	if b == nil {
		return false
	}
	r, ok := b.Objects[k]
	if !ok || r.UID == "" || r.UID != m.UID || m.DeletionTimestamp != nil {
		return false
	}
	if r.Version != "" && r.Version == m.ResourceVersion {
		return true
	}
	return generation && r.Generation > 0 && r.Owners != "" && r.Generation == m.Generation && r.Owners == ownership(m)
}

// has reports whether an object was what the release says when the environment
// settled; nothing is said of today.
func (b *baseline) has(k key) bool {
	if b == nil {
		return false
	}
	r, ok := b.Objects[k]
	return ok && r.UID != ""
}

// ownership hashes who owns what of an object, and its other metadata, but for
// what changes with every write and with every status.
func ownership(o metav1.Object) string {
	var b strings.Builder
	field := func(v any) {
		data, _ := json.Marshal(v) // maps of texts, and what came as JSON
		b.Write(data)
		b.WriteByte('\n')
	}
	field(o.GetLabels())
	field(o.GetAnnotations())
	field(o.GetFinalizers())
	field(o.GetOwnerReferences())
	var entries []string
	for _, e := range o.GetManagedFields() {
		if e.Subresource == "status" || e.FieldsV1 == nil {
			continue
		}
		entries = append(entries, fmt.Sprintf("%q %s %q %q %s", e.Manager, e.Operation, e.APIVersion, e.Subresource, canonical(e.FieldsV1.GetRawBytes())))
	}
	slices.Sort(entries)
	field(entries)
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}

// canonical puts the keys of JSON in order: the same fields come in another
// order from another request.
func canonical(raw []byte) []byte {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return raw
	}
	out, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return out
}

// The form in which a baseline lies in the cluster, in parts.
type part struct {
	Version int     `json:"version"`
	Release string  `json:"release"`
	Rules   string  `json:"rules"`
	ID      string  `json:"id"` // of the whole: parts of two baselines make none
	Part    int     `json:"part"`
	Of      int     `json:"of"`
	Objects []entry `json:"objects"`
}

type entry struct {
	Group     string `json:"k,omitempty"` // GROUP/Kind
	Namespace string `json:"n,omitempty"`
	Name      string `json:"a"`
	record
}

const (
	// baselineVersion: up to 1, a baseline had hashes of Secrets.
	baselineVersion = 2
	// perPart bounds a part: an object of etcd has 1.5 MB at most, and a
	// ConfigMap 1 MiB; an entry has some 300 bytes.
	perPart  = 2000
	maxParts = 100
)

// encode cuts a baseline into parts.
func (b baseline) encode() ([]part, error) {
	entries := make([]entry, 0, len(b.Objects))
	for k, r := range b.Objects {
		entries = append(entries, entry{Group: k.group + "/" + k.kind, Namespace: k.namespace, Name: k.name, record: r})
	}
	slices.SortFunc(entries, func(x, y entry) int {
		return strings.Compare(x.Group+"\x00"+x.Namespace+"\x00"+x.Name, y.Group+"\x00"+y.Namespace+"\x00"+y.Name)
	})
	whole, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte(b.Release+"\n"+b.Rules+"\n"), whole...))
	parts := slices.Collect(slices.Chunk(entries, perPart))
	if len(parts) == 0 {
		parts = [][]entry{nil}
	}
	if len(parts) > maxParts {
		return nil, fmt.Errorf("%d objects are more than a baseline holds (%d)", len(entries), maxParts*perPart)
	}
	out := make([]part, len(parts))
	for i, each := range parts {
		out[i] = part{Version: baselineVersion, Release: b.Release, Rules: b.Rules, ID: hex.EncodeToString(sum[:16]), Part: i, Of: len(parts), Objects: each}
	}
	return out, nil
}

// decode puts parts together. What does not fit together is an error, and no
// baseline.
func decode(texts []string) (*baseline, error) {
	var parts []part
	for _, text := range texts {
		var p part
		decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&p); err != nil {
			return nil, err
		}
		if decoder.More() {
			return nil, errors.New("there is more behind its end")
		}
		if p.Version != baselineVersion {
			return nil, fmt.Errorf("it has the version %d; this kfdev reads %d", p.Version, baselineVersion)
		}
		parts = append(parts, p)
	}
	if len(parts) == 0 {
		return nil, errors.New("there is none")
	}
	slices.SortFunc(parts, func(a, b part) int { return a.Part - b.Part })
	out := &baseline{Release: parts[0].Release, Rules: parts[0].Rules, Objects: map[key]record{}}
	for i, p := range parts {
		if p.ID != parts[0].ID || p.Part != i || p.Of != len(parts) || p.Release != out.Release || p.Rules != out.Rules {
			return nil, errors.New("its parts are not of one baseline")
		}
		for _, e := range p.Objects {
			group, kind, ok := strings.Cut(e.Group, "/")
			k := key{group, kind, e.Namespace, e.Name}
			if _, twice := out.Objects[k]; !ok || kind == "" || e.Name == "" || twice {
				return nil, fmt.Errorf("an entry names no object, or one twice: %q", e.Group+" "+e.Namespace+"/"+e.Name)
			}
			out.Objects[k] = e.record
		}
	}
	return out, nil
}
