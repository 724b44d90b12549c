package workflow

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// state is what the test reads of a Workflow's status (argoproj.io/v1alpha1).
type state struct {
	Phase   string          `json:"phase"`
	Message string          `json:"message"`
	Nodes   map[string]node `json:"nodes"`
	Outputs *outputs        `json:"outputs"`
}

// node is one task, or the graph itself.
type node struct {
	Name    string   `json:"displayName"`
	Type    string   `json:"type"`
	Phase   string   `json:"phase"`
	Message string   `json:"message"`
	Outputs *outputs `json:"outputs"`
}

type outputs struct {
	ExitCode   string      `json:"exitCode"`
	Parameters []parameter `json:"parameters"`
}

type parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// read decodes a Workflow's status.
func read(object *unstructured.Unstructured) (state, error) {
	raw, err := json.Marshal(object.Object["status"])
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(raw, &s); err != nil {
		return state{}, fmt.Errorf("the status of workflow %s can't be read: %w", object.GetName(), err)
	}
	return s, nil
}

// over reports whether the workflow has ended.
func (s state) over() bool {
	return s.Phase == "Succeeded" || s.Phase == "Failed" || s.Phase == "Error"
}

// task returns the node of the task called name.
func (s state) task(name string) (node, bool) {
	for _, n := range s.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return node{}, false
}

// value returns an output parameter of a task.
func (s state) value(task, name string) (string, error) {
	n, ok := s.task(task)
	if !ok {
		return "", fmt.Errorf("there is no task %s", task)
	}
	if n.Outputs != nil {
		for _, p := range n.Outputs.Parameters {
			if p.Name == name {
				return p.Value, nil
			}
		}
	}
	return "", fmt.Errorf("task %s (%s) put out no parameter %s: %s", task, n.Phase, name, n.Message)
}

// checkDiamond fails unless every task ran and got what the one before put out.
func checkDiamond(s state) error {
	if s.Phase != "Succeeded" {
		return fmt.Errorf("the workflow is %s, not Succeeded: %s", s.Phase, s.Message)
	}
	for _, want := range []parameter{{"draw", "7"}, {"double", "14"}, {"square", "49"}, {"add", "63"}} {
		got, err := s.value(want.Name, "value")
		if err != nil {
			return err
		}
		if got != want.Value {
			return fmt.Errorf("task %s put out %q, not %q", want.Name, got, want.Value)
		}
	}
	return nil
}

// checkBroken fails unless the workflow failed for the reason it was made to,
// and went no further.
func checkBroken(s state) error {
	if s.Phase != "Failed" {
		return fmt.Errorf("the workflow is %s, not Failed: %s", s.Phase, s.Message)
	}
	failed, ok := s.task("fail")
	switch {
	case !ok:
		return fmt.Errorf("there is no task fail: %s", s.Message)
	case failed.Phase != "Failed":
		return fmt.Errorf("task fail is %s, not Failed: %s", failed.Phase, failed.Message)
	case failed.Outputs == nil || failed.Outputs.ExitCode != "3":
		return fmt.Errorf("task fail does not carry exit code 3: %s", failed.Message)
	}
	if after, ok := s.task("after"); ok && after.Phase != "Omitted" {
		return fmt.Errorf("task after is %s, though the one before it failed", after.Phase)
	}
	return nil
}
