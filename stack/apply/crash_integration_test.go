//go:build integration

package apply_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/kfdev/kfdev/internal/apiserver"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/stack/apply"
)

// carrierVariable holds the errand of a child process: this test binary, run
// once more, to carry out a proposal and be stopped or killed on the way.
const carrierVariable = "KFDEV_TEST_CARRIER"

// errand is what a child is to do.
type errand struct {
	Host, Token, CAFile string
	Set                 string
	Generation          int
	Proposal            apply.Proposal
	// At is the write around which the signal comes, counted from 1: before it is
	// sent or, with After, when the server has answered. Path, where set, is what
	// the write's address ends in instead.
	At     int64
	Path   string
	After  bool
	Signal syscall.Signal
}

// around sends the process a signal around one of its writes.
type around struct {
	errand
	next  http.RoundTripper
	count atomic.Int64
}

func (a *around) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet || r.URL.Query().Get("dryRun") != "" {
		return a.next.RoundTrip(r)
	}
	hit := a.count.Add(1) == a.At || a.Path != "" && strings.HasSuffix(r.URL.Path, a.Path)
	if hit && !a.After {
		a.signal()
	}
	response, err := a.next.RoundTrip(r)
	if hit && a.After {
		a.signal()
	}
	return response, err
}

// WrappedRoundTripper leads to the connections that Close of a client drops.
func (a *around) WrappedRoundTripper() http.RoundTripper { return a.next }

// signal returns when the process goes on. A thread runs for a moment after it
// has sent a signal to its own process, so it waits for what comes after it.
func (a *around) signal() {
	on := make(chan os.Signal, 1)
	signal.Notify(on, syscall.SIGCONT)
	defer signal.Stop(on)
	if err := syscall.Kill(os.Getpid(), a.Signal); err != nil {
		panic(err)
	}
	<-on
}

// TestCarrier is the child.
func TestCarrier(t *testing.T) {
	text := os.Getenv(carrierVariable)
	if text == "" {
		t.Skip("it is the child of other tests")
	}
	var e errand
	require.NoError(t, json.Unmarshal([]byte(text), &e))
	config := &rest.Config{Host: e.Host, BearerToken: e.Token, TLSClientConfig: rest.TLSClientConfig{CAFile: e.CAFile}}
	config.Wrap(transport.WrapperFunc(func(next http.RoundTripper) http.RoundTripper { return &around{errand: e, next: next} }))
	client, err := kube.Connect(config)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	_, err = apply.New(client, &open{}, progress.Discard).Carry(t.Context(), thirty(t, e.Set, e.Generation), e.Proposal, apply.CarryOptions{})
	if err != nil {
		fmt.Fprintf(os.Stderr, "carried, kind %d: %v\n", fault.KindOf(err), err)
	} else {
		fmt.Fprintln(os.Stderr, "carried without an error")
	}
}

// send starts the child.
func (e errand) send(t *testing.T, config *rest.Config) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	e.Host, e.Token, e.CAFile = config.Host, config.BearerToken, config.CAFile
	text, err := json.Marshal(e)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCarrier$", "-test.v")
	cmd.Env = append(os.Environ(), carrierVariable+"="+string(text))
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	return cmd, out
}

// killed sends the child and reports whether it was killed; it was not where it
// had done before the write that it was to die around.
func (e errand) killed(t *testing.T, config *rest.Config) bool {
	t.Helper()
	e.Signal = syscall.SIGKILL
	cmd, out := e.send(t, config)
	err := cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	if status.Signaled() {
		require.Equal(t, syscall.SIGKILL, status.Signal())
		return true
	}
	require.NoError(t, err, out.String())
	require.Contains(t, out.String(), "carried without an error")
	return false
}

// snapshot is everything of a namespace that a promotion answers for: specs, and
// who owns what.
func snapshot(t *testing.T, client *kube.Client, namespace string) string {
	t.Helper()
	kinds, err := client.Mapper.Kinds(t.Context())
	require.NoError(t, err)
	var all []any
	for _, m := range kinds {
		if !m.Namespaced || !m.List || m.Kind.Kind == "Event" {
			continue
		}
		list, err := client.Dynamic.Resource(m.Resource).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for _, o := range list.Items {
			managed := o.GetManagedFields()
			for n := range managed {
				managed[n].Time = nil
			}
			o.SetManagedFields(managed)
			for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation"} {
				unstructured.RemoveNestedField(o.Object, "metadata", field)
			}
			unstructured.RemoveNestedField(o.Object, "spec", "clusterIP")
			unstructured.RemoveNestedField(o.Object, "spec", "clusterIPs")
			all = append(all, o.Object)
		}
	}
	data, err := json.MarshalIndent(all, "", " ")
	require.NoError(t, err)
	return strings.NewReplacer(namespace, "NAME", apply.SetID(namespace), "SET").Replace(string(data))
}

// inventoryOf returns what is recorded, without what differs from object to object.
func inventoryOf(t *testing.T, a *apply.Applier, set string) string {
	t.Helper()
	i, err := a.Inventory(t.Context(), set)
	require.NoError(t, err)
	require.NotNil(t, i)
	for n := range i.Members {
		require.NotEmpty(t, i.Members[n].UID, i.Members[n].Object)
		i.Members[n].UID = ""
		i.Members[n].Owned, i.Members[n].Desired = fmt.Sprint(i.Members[n].Owned != ""), fmt.Sprint(i.Members[n].Desired != "")
	}
	data, err := json.Marshal(i)
	require.NoError(t, err)
	return strings.ReplaceAll(string(data), set, "NAME")
}

// forced proposes with every conflict decided in the set's favour.
func forced(t *testing.T, a *apply.Applier, set apply.Set) apply.Proposal {
	t.Helper()
	p, err := a.Propose(t.Context(), set, apply.ProposeOptions{Force: func(apply.Object, apply.Conflict) bool { return true }})
	require.NoError(t, err)
	require.NoError(t, p.Problems())
	return through(t, p)
}

func TestIntegrationKilled(t *testing.T) {
	t.Parallel()
	config := apiserver.Run(t, false)
	client, err := kube.Connect(config)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	a := apply.New(client, &open{}, progress.Discard)
	configMaps := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})

	t.Run("on from one release to the next", func(t *testing.T) {
		const name = "onward"
		first, second := thirty(t, name, 0), thirty(t, name, 1)
		carry := func(set apply.Set) {
			_, err := a.Carry(t.Context(), set, forced(t, a, set), apply.CarryOptions{})
			require.NoError(t, err)
		}
		back := func() { // to the first release, with a field that another manager takes
			carry(first)
			_, err := configMaps.Namespace(name).Patch(t.Context(), "config-3", types.MergePatchType, []byte(`{"data":{"key":"theirs"}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
			require.NoError(t, err)
		}
		back()
		p := forced(t, a, second)
		require.Len(t, line(t, p, "ConfigMap/onward/config-3").Conflicts, 1)
		require.Equal(t, apply.Deleted, line(t, p, "ConfigMap/onward/only-0").Change)
		carry(second)
		want, wantInventory := snapshot(t, client, name), inventoryOf(t, a, name)
		deaths := 0
		for _, after := range []bool{false, true} {
			for n := int64(1); ; n++ {
				back()
				p := forced(t, a, second)
				dead := errand{Set: name, Generation: 1, Proposal: p, At: n, After: after}.killed(t, config)
				_, err := a.Carry(t.Context(), second, p, apply.CarryOptions{})
				require.NoError(t, err, "the same proposal is carried on after a death around write %d", n)
				require.Equal(t, want, snapshot(t, client, name), "write %d", n)
				require.Equal(t, wantInventory, inventoryOf(t, a, name), "write %d", n)
				p, err = a.Propose(t.Context(), second, apply.ProposeOptions{})
				require.NoError(t, err)
				require.False(t, p.Changed(), "write %d: %+v", n, p)
				if !dead {
					break
				}
				deaths++
			}
		}
		require.Greater(t, deaths, 20)
		t.Logf("%d deaths", deaths)
	})

	t.Run("from nothing", func(t *testing.T) {
		set := thirty(t, "nothing", 0)
		_, err := a.Carry(t.Context(), set, propose(t, a, set), apply.CarryOptions{})
		require.NoError(t, err)
		want, wantInventory := snapshot(t, client, "nothing"), inventoryOf(t, a, "nothing")
		for n := int64(1); ; n++ {
			name := fmt.Sprintf("nothing%d", n)
			set := thirty(t, name, 0)
			p := through(t, propose(t, a, set))
			dead := errand{Set: name, Proposal: p, At: n, After: n%2 == 0}.killed(t, config)
			_, err := a.Carry(t.Context(), set, p, apply.CarryOptions{})
			require.NoError(t, err, "write %d", n)
			require.Equal(t, want, snapshot(t, client, name), "write %d", n)
			require.Equal(t, wantInventory, inventoryOf(t, a, name), "write %d", n)
			require.False(t, propose(t, a, set).Changed())
			if !dead {
				require.Greater(t, n, int64(30))
				break
			}
		}
	})
}

func TestIntegrationStopped(t *testing.T) {
	t.Parallel()
	config := apiserver.Run(t, false)
	client, err := kube.Connect(config)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	a := apply.New(client, &open{}, progress.Discard)
	carry := func(set apply.Set) {
		_, err := a.Carry(t.Context(), set, propose(t, a, set), apply.CarryOptions{})
		require.NoError(t, err)
	}
	carry(thirty(t, "sleep", 0))
	old := through(t, propose(t, a, thirty(t, "sleep", 1)))
	cmd, out := errand{Set: "sleep", Generation: 1, Proposal: old, Path: "/configmaps/only-1", Signal: syscall.SIGSTOP}.send(t, config)
	var status syscall.WaitStatus
	_, err = syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped(), "%s", out)

	carry(thirty(t, "sleep", 2))
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	require.NoError(t, cmd.Wait(), "%s", out)
	require.Contains(t, out.String(), fmt.Sprintf("carried, kind %d", fault.Gate))
	require.NotContains(t, out.String(), "carried without an error")

	p := propose(t, a, thirty(t, "sleep", 2))
	require.False(t, p.Changed(), "what the newer promotion wrote stays: %+v", p)
	strays, err := a.Strays(t.Context(), "sleep")
	require.NoError(t, err)
	require.Equal(t, []apply.Object{{APIVersion: "v1", Kind: "ConfigMap", Namespace: "sleep", Name: "only-1"}}, strays,
		"what it could still make is named")
	inventory, err := a.Inventory(t.Context(), "sleep")
	require.NoError(t, err)
	require.Equal(t, "generation 2", inventory.Hash)

	// With a fence, it asks first.
	require.NoError(t, client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("sleep").Delete(t.Context(), "only-1", metav1.DeleteOptions{}))
	next := thirty(t, "sleep", 3)
	wrote := writes(client, "sleep")
	_, err = a.Carry(t.Context(), next, propose(t, a, next), apply.CarryOptions{Fence: func(context.Context) error {
		return &fault.Error{Op: "promoting", Kind: fault.Gate, Err: fmt.Errorf("the lease is another's")}
	}})
	require.ErrorContains(t, err, "the lease is another's")
	require.Equal(t, wrote, writes(client, "sleep"))
}
