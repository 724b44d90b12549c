//go:build integration

package apply_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// TestIntegrationRandom carries random sets over one another, with others at the
// same objects before a plan and after it. After a Carry there is nothing to do,
// and what is there is what was wanted; a plan that no longer holds is refused.
func TestIntegrationRandom(t *testing.T) {
	t.Parallel()
	client, err := kube.Connect(apiserver.Run(t, false))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	a := apply.New(client, &open{}, progress.Discard)
	configMaps := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("default")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const names = 8
	name := func() string { return fmt.Sprintf("random-%d", random.IntN(names)) }

	// somebody does something to an object, and says whether that makes a difference.
	somebody := func() (string, bool) {
		name := name()
		live, err := configMaps.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			_, err := configMaps.Create(t.Context(), object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: "+name+"}, data: {mine: x}}"), metav1.CreateOptions{FieldManager: "somebody"})
			require.NoError(t, err)
			return name, true
		}
		switch random.IntN(4) {
		case 0:
			require.NoError(t, configMaps.Delete(t.Context(), name, metav1.DeleteOptions{}))
			return name, true
		case 1: // the same value once more: no difference to anybody
			value, _, _ := unstructured.NestedString(live.Object, "data", "k0")
			if value == "" {
				return name, false
			}
			_, err = configMaps.Patch(t.Context(), name, types.MergePatchType, fmt.Appendf(nil, `{"data":{"k0":%q}}`, value), metav1.PatchOptions{FieldManager: "somebody"})
			require.NoError(t, err)
			return name, false
		default:
			_, err = configMaps.Patch(t.Context(), name, types.MergePatchType, fmt.Appendf(nil, `{"data":{"k%d":"theirs %d"}}`, random.IntN(3), random.Int()), metav1.PatchOptions{FieldManager: "somebody"})
			require.NoError(t, err)
			return name, true
		}
	}
	refused, carried := 0, 0
	deadline := time.Now().Add(5 * time.Second)
	for round := 0; round < 400 && time.Now().Before(deadline); round++ {
		set := apply.Set{Name: "random", Namespace: "default", Hash: fmt.Sprint(round)}
		for n := range names {
			if random.IntN(3) == 0 {
				continue
			}
			o := object(t, fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: random-%d}, data: {}}", n))
			for k := range 3 {
				if random.IntN(2) == 0 {
					require.NoError(t, unstructured.SetNestedField(o.Object, fmt.Sprint(random.IntN(2)), "data", fmt.Sprintf("k%d", k)))
				}
			}
			set.Objects = append(set.Objects, o)
		}
		for range random.IntN(3) {
			somebody()
		}
		p := forced(t, a, set)
		touched, differs := "", false
		if random.IntN(2) == 0 {
			touched, differs = somebody()
		}
		_, err := a.Carry(t.Context(), set, p, apply.CarryOptions{})
		if err != nil {
			refused++
			require.NotEmpty(t, touched, "round %d: %v", round, err)
			require.ErrorContains(t, err, "ConfigMap/default/"+touched)
			require.Equal(t, fault.Gate, fault.KindOf(err), "%v", err)
			_, err = a.Carry(t.Context(), set, forced(t, a, set), apply.CarryOptions{})
			require.NoError(t, err)
		} else {
			carried++
			change := planned(p)["ConfigMap/default/"+touched]
			require.False(t, differs && change == apply.Configured, "round %d: %s was changed after the plan, and written", round, touched)
		}
		for _, o := range set.Objects {
			live, err := configMaps.Get(t.Context(), o.GetName(), metav1.GetOptions{})
			require.NoError(t, err)
			want, _, _ := unstructured.NestedStringMap(o.Object, "data")
			have, _, _ := unstructured.NestedStringMap(live.Object, "data")
			for k, v := range want {
				if o.GetName() != touched {
					require.Equal(t, v, have[k], "round %d: %s", round, o.GetName())
				}
			}
		}
		if !differs {
			p, err := a.Propose(t.Context(), set, apply.ProposeOptions{})
			require.NoError(t, err)
			require.False(t, p.Changed(), "round %d: %+v", round, p)
		}
	}
	t.Logf("%d refused, %d carried", refused, carried)
	require.Positive(t, refused)
	require.Positive(t, carried)
}
