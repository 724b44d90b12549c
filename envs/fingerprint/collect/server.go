package collect

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/kfdev/kfdev/envs/fingerprint"
)

// versions reads what the server is, and what it acts as.
func versions(ctx context.Context, r *reader) dimensions {
	raw, err := r.rest.Get().AbsPath("/version").DoRaw(ctx)
	var info version.Info
	if err == nil {
		err = json.Unmarshal(raw, &info)
	}
	if err == nil && info.GitVersion == "" {
		err = errors.New("it names no version")
	}
	if err != nil {
		return unknowns(reason(err, "ask for the server's version"), fingerprint.Server, fingerprint.Emulation)
	}
	acts := info.Major + "." + strings.TrimRight(info.Minor, "+")
	if info.EmulationMajor != "" {
		acts = info.EmulationMajor + "." + info.EmulationMinor
	}
	return dimensions{fingerprint.Server: is(value(info.GitVersion)), fingerprint.Emulation: is(value(acts))}
}

// gates reads the feature gates out of the server's metrics.
func gates(ctx context.Context, r *reader) dimensions {
	stream, err := r.rest.Get().AbsPath("/metrics").Stream(ctx)
	if err != nil {
		return unknowns(reason(err, "get /metrics"), fingerprint.FeatureGates)
	}
	defer stream.Close() //nolint:errcheck // it was only read
	found, err := parseGates(stream)
	if err != nil {
		return unknowns(reason(err, "read /metrics"), fingerprint.FeatureGates)
	}
	return dimensions{fingerprint.FeatureGates: items(found)}
}

// What is read of metrics.
const (
	maxMetrics = 256 << 20
	maxLine    = 1 << 20
)

// parseGates returns the gates that are not as their stage has them. Metrics
// say whether a gate is on, and not what its default is: of alpha and deprecated
// gates that is off, of general ones on. A beta gate may have either, so all of
// these count.
func parseGates(metrics io.Reader) (map[string]fingerprint.Value, error) {
	const metric = "kubernetes_feature_enabled{"
	form := regexp.MustCompile(`^kubernetes_feature_enabled\{name="([A-Za-z0-9_]+)",stage="([A-Z]*)"\} ([01])$`)
	found := map[string]fingerprint.Value{}
	seen := false
	lines := bufio.NewScanner(io.LimitReader(metrics, maxMetrics))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), metric) {
			continue
		}
		m := form.FindStringSubmatch(lines.Text())
		if m == nil {
			return nil, errors.New("a feature gate is not written as it should be")
		}
		seen = true
		on := m[3] == "1"
		switch stage := m[2]; {
		case stage == "BETA", stage == "" && !on, stage != "" && stage != "BETA" && on:
			found[m[1]] = value(map[string]any{"on": on, "stage": strings.ToLower(stage)})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if !seen {
		return nil, errors.New("they name no feature gates")
	}
	return found, nil
}

// apis reads which resources the server has, in every version. Those of custom
// resources count with their definitions, not here too.
func apis(ctx context.Context, r *reader) dimensions {
	if r.why != "" {
		return unknowns(r.why, fingerprint.APIs)
	}
	custom := map[string]bool{}
	crds := schema.GroupVersionResource{Group: apiextensions, Version: "v1", Resource: "customresourcedefinitions"}
	if list, err := r.client.Metadata.Resource(crds).List(ctx, metav1.ListOptions{}); err == nil { // else all count
		for i := range list.Items {
			custom[list.Items[i].Name] = true // plural.group
		}
	}
	found := map[string]fingerprint.Value{}
	for _, group := range r.groups {
		name := group.Name
		if name == "" {
			name = "core"
		}
		for _, version := range group.Versions {
			if version.Freshness == apidiscovery.DiscoveryFreshnessStale {
				found[named(name, version.Version)] = fingerprint.Value{Unknown: "the server behind it does not answer"}
				continue
			}
			for _, resource := range version.Resources {
				if !custom[resource.Resource+"."+group.Name] {
					found[named(name, version.Version, resource.Resource)] = value(true)
				}
			}
		}
	}
	return dimensions{fingerprint.APIs: items(found)}
}
