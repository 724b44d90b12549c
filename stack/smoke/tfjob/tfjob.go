// Package tfjob is the smoke test of the training operator: a TFJob of one
// parameter server and two workers trains a real model on a real data set,
// each worker on a shard of its own.
package tfjob

import (
	"context"
	_ "embed" // the job
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kfdev/kfdev/stack/smoke"
)

//go:embed job.yaml
var job string

const (
	jobName     = "digits"
	workers     = 2
	container   = "tensorflow" // the operator insists on this name
	image       = "tensorflow" // the component's name for it
	placeholder = "TENSORFLOW_IMAGE"
	program     = "program" // the ConfigMap with the training program
	programFile = "train.py"
	jobLabel    = "training.kubeflow.org/job-name"
)

func jobs() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kubeflow.org", Version: "v1", Resource: "tfjobs"}
}

// Test is the smoke test.
type Test struct {
	Program []byte // the training program, smoke/train.py of the component's folder
}

// Name returns "tfjob".
func (Test) Name() string { return "tfjob" }

// Run trains, and reads from the workers' logs what they did.
func (t Test) Run(ctx context.Context, env smoke.Env) (smoke.Result, error) {
	record := smoke.Record(t.Name(), env.Sink)
	trial := &trial{env: env, record: record, program: string(t.Program)}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"create a TFJob of 1 parameter server and 2 workers", trial.create},
		{"place", trial.place},
		{"train", trial.train},
		{"read what the workers did", trial.read},
	} {
		if err := record.Step(ctx, step.name, step.do); err != nil {
			return record.Result(), err
		}
	}
	return record.Result(), nil
}

// trial is one run of the test.
type trial struct {
	env     smoke.Env
	record  *smoke.Recorder
	program string
}

func (t *trial) create(ctx context.Context) error {
	object, err := t.manifest()
	if err != nil {
		return err
	}
	source := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: program}, Data: map[string]string{programFile: t.program}}
	if _, err := t.env.Kube.CoreV1().ConfigMaps(t.env.Namespace).Create(ctx, source, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err = t.env.Dynamic.Resource(jobs()).Namespace(t.env.Namespace).Create(ctx, object, metav1.CreateOptions{})
	return err
}

func (t *trial) manifest() (*unstructured.Unstructured, error) {
	if t.program == "" {
		return nil, errors.New("there is no training program")
	}
	ref, err := t.env.Image(image)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(job, placeholder, ref)), &object.Object); err != nil {
		return nil, fmt.Errorf("reading the TFJob of the smoke test: %w", err)
	}
	return object, nil
}

// place waits until every replica has its pod, and checks that all were told
// of the same cluster.
func (t *trial) place(ctx context.Context) error {
	configs := map[string]string{}
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	err := smoke.UntilAny(ctx, t.env.Dynamic, pods, t.env.Namespace, jobLabel+"="+jobName, func(o *unstructured.Unstructured) (bool, error) {
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
			return false, fmt.Errorf("the job failed: %v: %v", c["reason"], c["message"])
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
