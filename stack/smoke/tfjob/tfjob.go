// Package tfjob is the smoke test of the training operator: a TFJob of one
// parameter server and two workers trains a real model on a real data set,
// each worker on a shard of its own.
package tfjob

import (
	"context"
	_ "embed" // the jobs
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/stack/apply"
	"github.com/kfdev/kfdev/stack/smoke"
)

//go:embed job.yaml
var job string

//go:embed refused.yaml
var refused string

//go:embed held.yaml
var held string

const (
	jobName     = "digits"
	workers     = 2
	container   = "tensorflow" // the operator insists on this name
	program     = "program"    // the ConfigMap with the training program
	programFile = "train.py"
	jobLabel    = "training.kubeflow.org/job-name"
)

// placeholders are the component's images in the jobs' texts.
func placeholders() map[string]string {
	return map[string]string{"TENSORFLOW_IMAGE": "tensorflow", "INIT_IMAGE": "pytorch-init"}
}

func jobs() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kubeflow.org", Version: "v1", Resource: "tfjobs"}
}

func pytorchJobs() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kubeflow.org", Version: "v1", Resource: "pytorchjobs"}
}

func pods() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "pods"}
}

// Test is the smoke test.
type Test struct {
	Program []byte // the training program, smoke/train.py of the component's folder
}

// Name returns "tfjob".
func (Test) Name() string { return "tfjob" }

// Needs are the rights to train, and to read what the workers say.
func (Test) Needs(string) []apply.Missing { return needs("for the smoke test tfjob") }

func needs(why string) []apply.Missing {
	needs := apply.Need(why, "create list watch", jobs().GroupResource().String(), "")
	needs = append(needs, apply.Need(why, "create", pytorchJobs().GroupResource().String(), "")...)
	needs = append(needs, apply.Need(why, "create", "configmaps", "")...)
	needs = append(needs, apply.Need(why, "list watch", "pods", "")...)
	return append(needs, apply.Need(why, "get", "pods/log", "")...)
}

// Run trains, and reads from the workers' logs what they did.
func (t Test) Run(ctx context.Context, env smoke.Env) (smoke.Result, error) {
	record := smoke.Record(t.Name(), env.Sink)
	trial := &trial{env: env, record: record, program: string(t.Program)}
	return record.Steps(ctx, []smoke.Do{
		{Name: "refuse a TFJob that can't run", Func: trial.refuse},
		{Name: "hold a PyTorchJob's worker until its master is there", Func: trial.hold},
		{Name: "create a TFJob of 1 parameter server and 2 workers", Func: trial.create},
		{Name: "place", Func: trial.place},
		{Name: "train", Func: trial.train},
		{Name: "read what the workers did", Func: trial.read},
	})
}

// trial is one run of the test.
type trial struct {
	env     smoke.Env
	record  *smoke.Recorder
	program string
}

// refuse checks that the operator's webhook is asked, and refuses.
func (t *trial) refuse(ctx context.Context) error {
	object, err := t.manifest(refused)
	if err != nil {
		return err
	}
	_, err = t.env.Dynamic.Resource(jobs()).Namespace(t.env.Namespace).Create(ctx, object, metav1.CreateOptions{})
	switch {
	case err == nil:
		return errors.New("a TFJob without a container named tensorflow was let in: the webhook is not asked")
	case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "validator.tfjob"):
		return fmt.Errorf("it was not the webhook that refused: %w", err)
	}
	t.record.Fact("TFJob without a container named tensorflow", "refused by the webhook")
	return nil
}

// hold checks that the container which the operator puts before a PyTorchJob's
// worker has an image, and lets the worker go when there is a master.
func (t *trial) hold(ctx context.Context) error {
	object, err := t.manifest(held)
	if err != nil {
		return err
	}
	if _, err := t.env.Dynamic.Resource(pytorchJobs()).Namespace(t.env.Namespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return err
	}
	err = smoke.UntilAny(ctx, t.env.Dynamic, pods(), t.env.Namespace, jobLabel+"="+object.GetName(), func(o *unstructured.Unstructured) (bool, error) {
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
			return false, err
		}
		return p.Name == pod(object.GetName(), "worker", 0) && p.Status.Phase == corev1.PodSucceeded, failedPod(&p)
	})
	if err == nil {
		t.record.Fact("PyTorchJob", "its worker started once its master was there")
	}
	return err
}

// failedPod says why a pod failed, or nothing.
func failedPod(p *corev1.Pod) error {
	if p.Status.Phase == corev1.PodFailed {
		return fmt.Errorf("pod %s failed", p.Name)
	}
	return nil
}

func (t *trial) create(ctx context.Context) error {
	object, err := t.manifest(job)
	if err != nil {
		return err
	}
	return t.submit(ctx, object)
}

// submit creates a TFJob with the program that it runs.
func (t *trial) submit(ctx context.Context, object *unstructured.Unstructured) error {
	if t.program == "" {
		return errors.New("there is no training program")
	}
	source := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: program}, Data: map[string]string{programFile: t.program}}
	if _, err := t.env.Kube.CoreV1().ConfigMaps(t.env.Namespace).Create(ctx, source, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := t.env.Dynamic.Resource(jobs()).Namespace(t.env.Namespace).Create(ctx, object, metav1.CreateOptions{})
	return err
}

// manifest puts the component's images into a job's text.
func (t *trial) manifest(text string) (*unstructured.Unstructured, error) {
	for placeholder, name := range placeholders() {
		if !strings.Contains(text, placeholder) {
			continue
		}
		ref, err := t.env.Image(name)
		if err != nil {
			return nil, err
		}
		text = strings.ReplaceAll(text, placeholder, ref)
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		return nil, fmt.Errorf("reading a job of the smoke test: %w", err)
	}
	return object, nil
}

// place waits until every replica has its pod, and checks that all were told
// of the same cluster.
func (t *trial) place(ctx context.Context) error {
	configs := map[string]string{}
	err := smoke.UntilAny(ctx, t.env.Dynamic, pods(), t.env.Namespace, jobLabel+"="+jobName, func(o *unstructured.Unstructured) (bool, error) {
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
			return false, err
		}
		if text, ok := configOf(&p); ok {
			configs[p.Name] = text
		}
		return len(configs) == workers+1, nil
	})
	if err != nil {
		return err
	}
	if err := checkConfigs(configs, jobName, t.env.Namespace, workers); err != nil {
		return err
	}
	t.record.Fact("TF_CONFIG", "the same cluster of 1 parameter server and 2 workers in every pod")
	return nil
}

// configOf returns the pod's TF_CONFIG.
func configOf(p *corev1.Pod) (string, bool) {
	for _, c := range p.Spec.Containers {
		for _, e := range c.Env {
			if c.Name == container && e.Name == "TF_CONFIG" {
				return e.Value, true
			}
		}
	}
	return "", false
}

func (t *trial) train(ctx context.Context) error {
	return smoke.Until(ctx, t.env.Dynamic, jobs(), t.env.Namespace, jobName, finished)
}

// failedError is a job's own failure.
type failedError struct{ reason, message string }

func (e *failedError) Error() string {
	return fmt.Sprintf("the job failed: %s: %s", e.reason, e.message)
}

// finished reports whether the job has succeeded; that it failed is an error.
func finished(o *unstructured.Unstructured) (bool, error) {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return false, fmt.Errorf("the status of TFJob %s can't be read: %w", o.GetName(), err)
	}
	for _, each := range conditions {
		c, ok := each.(map[string]any)
		if !ok || c["status"] != "True" {
			continue
		}
		switch c["type"] {
		case "Succeeded":
			return true, nil
		case "Failed":
			return false, &failedError{reason: fmt.Sprint(c["reason"]), message: fmt.Sprint(c["message"])}
		}
	}
	return false, nil
}

// read takes the workers' reports from their logs and checks them.
func (t *trial) read(ctx context.Context) error {
	reports := make([]report, workers)
	for i := range reports {
		log, err := t.env.Kube.CoreV1().Pods(t.env.Namespace).GetLogs(pod(jobName, "worker", i), &corev1.PodLogOptions{Container: container}).Stream(ctx)
		if err != nil {
			return fmt.Errorf("reading the log of worker %d: %w", i, err)
		}
		reports[i], err = parse(log)
		if err = errors.Join(err, log.Close()); err != nil {
			return fmt.Errorf("reading the log of worker %d: %w", i, err)
		}
	}
	if err := checkReports(reports); err != nil {
		return err
	}
	for i, r := range reports {
		first, last := r.losses()
		t.record.Fact(fmt.Sprintf("worker %d", i), fmt.Sprintf("%d rows of the digits %s, loss %.3f to %.3f in %d epochs",
			r.shard.Size, strings.Join(slices.Sorted(maps.Keys(r.shard.Labels)), " "), first, last, len(r.epochs)))
	}
	result := reports[0].result
	t.record.Fact("accuracy", fmt.Sprintf("%.3f on %d rows that nobody trained on", result.Accuracy, result.HeldOut))
	t.record.Fact("weights", result.Weights)
	return nil
}
