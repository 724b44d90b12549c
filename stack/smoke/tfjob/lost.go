package tfjob

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
)

// LostWorker shows that the training is one: when a worker is taken away in
// the midst of it, the job does not go on to a result, but fails.
type LostWorker struct {
	Program []byte // as Test's
}

// Name returns "tfjob-lost-worker".
func (LostWorker) Name() string { return "tfjob-lost-worker" }

// Needs are the rights to train, and to take a worker away.
func (l LostWorker) Needs(string) []apply.Missing {
	why := "for the smoke test " + l.Name()
	return append(needs(why), apply.Need(why, "delete", "pods", "")...)
}

// Run trains for longer than it waits, deletes worker 1 after its first epoch,
// and sees the job fail.
func (l LostWorker) Run(ctx context.Context, env smoke.Env) (smoke.Result, error) {
	record := smoke.Record(l.Name(), env.Sink)
	trial := &trial{env: env, record: record, program: string(l.Program)}
	return record.Steps(ctx, []smoke.Do{
		{Name: "create a TFJob of many epochs", Func: trial.createLong},
		{Name: "train an epoch", Func: trial.trainEpoch},
		{Name: "take worker 1 away", Func: trial.takeWorker},
		{Name: "fail", Func: trial.fail},
	})
}

// createLong creates the job with more epochs than there is time for, and
// little patience with a worker that does not do its part.
func (t *trial) createLong(ctx context.Context) error {
	object, err := t.manifest(job)
	if err != nil {
		return err
	}
	for _, kind := range []string{"PS", "Worker"} {
		path := []string{"spec", "tfReplicaSpecs", kind, "template", "spec", "containers"}
		containers, found, err := unstructured.NestedSlice(object.Object, path...)
		if err != nil || !found || len(containers) != 1 {
			return errors.Join(errors.New("the job has not one container"), err)
		}
		c, ok := containers[0].(map[string]any)
		if !ok {
			return errors.New("the job's container is none")
		}
		c["env"] = []any{
			map[string]any{"name": "EPOCHS", "value": "100000"},
			map[string]any{"name": "STEP_SECONDS", "value": "20"},
		}
		if err := unstructured.SetNestedSlice(object.Object, containers, path...); err != nil {
			return err
		}
	}
	return t.submit(ctx, object)
}

// trainEpoch waits until worker 1 runs, and then reads its log up to the end
// of its first epoch.
func (t *trial) trainEpoch(ctx context.Context) error {
	name := pod(jobName, "worker", 1)
	err := smoke.Until(ctx, t.env.Dynamic, pods(), t.env.Namespace, name, func(o *unstructured.Unstructured) (bool, error) {
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
			return false, err
		}
		return p.Status.Phase == corev1.PodRunning, failedPod(&p)
	})
	if err != nil {
		return err
	}
	log, err := t.env.Kube.CoreV1().Pods(t.env.Namespace).GetLogs(name, &corev1.PodLogOptions{Container: container, Follow: true}).Stream(ctx)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, lineLimit)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Event == "epoch" {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%s ended before its first epoch did", name), lines.Err())
}

func (t *trial) takeWorker(ctx context.Context) error {
	now := int64(0)
	return t.env.Kube.CoreV1().Pods(t.env.Namespace).Delete(ctx, pod(jobName, "worker", 1), metav1.DeleteOptions{GracePeriodSeconds: &now})
}

func (t *trial) fail(ctx context.Context) error {
	err := smoke.Until(ctx, t.env.Dynamic, jobs(), t.env.Namespace, jobName, finished)
	var failed *failedError
	switch {
	case errors.As(err, &failed):
		t.record.Fact("the job without its worker", failed)
		return nil
	case err == nil:
		return errors.New("the job succeeded without its second worker")
	}
	return err
}
