package kind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/kfdev/kfdev/internal/fault"
)

// apiEvery is how often an API server that does not answer is asked again:
// before it listens there is nothing to watch.
const apiEvery = 100 * time.Millisecond

// render writes a kubeconfig of one context.
func render(name string, reach *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters[name], config.AuthInfos[name] = reach, user
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return clientcmd.Write(*config)
}

// waitReady waits until the API is ready, every node of since has said that it
// is ready after that time, and pods can be made in the default namespace.
func waitReady(ctx context.Context, kubeconfig []byte, since map[string]time.Time) error {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "kfdev"
	web, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	// client-go keeps the transport, and with it the connections, for good.
	defer utilnet.CloseIdleConnectionsFor(web.Transport)
	client, err := kubernetes.NewForConfigAndClient(config, web)
	if err != nil {
		return err
	}
	if err := waitAPI(ctx, client); err != nil {
		return late(ctx, "waiting for the API server", config.Host, err)
	}
	nodes := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "nodes", metav1.NamespaceNone, fields.Everything())
	tracker := newTracker(since)
	if _, err := watchtools.UntilWithSync(ctx, nodes, &corev1.Node{}, nil, tracker.see); err != nil {
		return late(ctx, "waiting for the nodes", tracker.missing(), err)
	}
	accounts := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "serviceaccounts", metav1.NamespaceDefault,
		fields.OneTermEqualSelector("metadata.name", "default"))
	if _, err := watchtools.UntilWithSync(ctx, accounts, &corev1.ServiceAccount{}, nil, func(e watch.Event) (bool, error) {
		return e.Type == watch.Added || e.Type == watch.Modified, nil
	}); err != nil {
		return late(ctx, "waiting for the service account", "default/default", err)
	}
	return nil
}

// late says that the time was up where it was, and that the person stopped it
// where they did.
func late(ctx context.Context, op, subject string, err error) error {
	if ctx.Err() == nil {
		return &fault.Error{Op: op, Subject: subject, Err: err}
	}
	return &fault.Error{Op: op, Subject: subject, Err: fmt.Errorf("%w (%w)", ctx.Err(), err)}
}

func waitAPI(ctx context.Context, client kubernetes.Interface) error {
	tick := time.NewTicker(apiEvery)
	defer tick.Stop()
	for {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Raw()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// tracker keeps which nodes are still awaited, and why.
type tracker struct {
	since map[string]time.Time
	why   map[string]string
}

func newTracker(since map[string]time.Time) *tracker {
	t := &tracker{since: since, why: map[string]string{}}
	for name := range since {
		t.why[name] = "not registered"
	}
	return t
}

// see takes a node's event; true when no node is awaited any more.
func (t *tracker) see(event watch.Event) (bool, error) {
	node, ok := event.Object.(*corev1.Node)
	if !ok {
		return false, nil
	}
	since, ours := t.since[node.Name]
	if !ours {
		return false, nil
	}
	if why := unready(node, since); why == "" {
		delete(t.why, node.Name)
	} else {
		t.why[node.Name] = why
	}
	return len(t.why) == 0, nil
}

// missing names the nodes that are awaited.
func (t *tracker) missing() string {
	var out []string
	for name, why := range t.why {
		out = append(out, name+" ("+why+")")
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// unready says why the node is not ready; empty when it is. Heartbeats are
// kept to the second.
func unready(node *corev1.Node, since time.Time) string {
	for _, condition := range node.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		switch {
		case condition.LastHeartbeatTime.Time.Before(since.Truncate(time.Second)):
			return "has not reported since it was started"
		case condition.Status != corev1.ConditionTrue:
			return condition.Message
		}
		return ""
	}
	return "has not reported"
}
