package tfjob

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// tfConfig is TensorFlow's description of a cluster and of the process's place
// in it, as the operator puts it into TF_CONFIG.
type tfConfig struct {
	Cluster map[string][]string `json:"cluster"`
	Task    struct {
		Type  string `json:"type"`
		Index int    `json:"index"`
	} `json:"task"`
}

// checkConfigs fails unless the TF_CONFIG of every pod, by pod name, describes
// the same cluster of one parameter server and the given number of workers,
// each pod in its own place, at the address of its own Service.
func checkConfigs(configs map[string]string, job, namespace string, workers int) error {
	want := map[string][]string{"ps": {address(job, "ps", 0, namespace)}}
	places := map[string]string{pod(job, "ps", 0): "ps 0"}
	for i := range workers {
		want["worker"] = append(want["worker"], address(job, "worker", i, namespace))
		places[pod(job, "worker", i)] = fmt.Sprintf("worker %d", i)
	}
	if len(configs) != len(places) {
		return fmt.Errorf("%d pods have a TF_CONFIG, not %d", len(configs), len(places))
	}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		var got tfConfig
		if err := json.Unmarshal([]byte(configs[name]), &got); err != nil {
			return fmt.Errorf("TF_CONFIG of pod %s: %w", name, err)
		}
		place := fmt.Sprintf("%s %d", strings.ToLower(got.Task.Type), got.Task.Index)
		switch {
		case places[name] == "":
			return fmt.Errorf("pod %s is none of the job's", name)
		case place != places[name]:
			return fmt.Errorf("TF_CONFIG of pod %s says it is %s", name, place)
		case !reflect.DeepEqual(got.Cluster, want):
			return fmt.Errorf("TF_CONFIG of pod %s has the cluster %v, not %v", name, got.Cluster, want)
		}
	}
	return nil
}

func pod(job, kind string, index int) string { return fmt.Sprintf("%s-%s-%d", job, kind, index) }

func address(job, kind string, index int, namespace string) string {
	return fmt.Sprintf("%s.%s.svc:2222", pod(job, kind, index), namespace)
}
