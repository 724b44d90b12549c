package smoke

import (
	"context"
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// keepAlive says in the test's namespace from time to time that the test runs,
// until the function that it returns is called: also after the context has
// ended, for cleaning up may take a while. When it cannot be said for longer
// than silence, another run may take the namespace for one that was left behind.
func keepAlive(ctx context.Context, env Env) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticks := time.NewTicker(sign)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				_ = putOff(ctx, env) // the next one may succeed
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func putOff(ctx context.Context, env Env) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{ExpiresAnnotation: expiry()}}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sign)
	defer cancel()
	_, err = env.Kube.CoreV1().Namespaces().Patch(ctx, env.Namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
