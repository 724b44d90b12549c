package difference

import (
	"regexp"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

// reason says why a difference matters where its place is of a kind and a field;
// what is left empty fits any.
type reason struct {
	group, kind string // group "*" fits any; of kinds, a pattern
	field       string // a pattern, of the path below the object
	why         string
}

// reasons are in the order in which they are asked: the first that fits counts.
func reasons() []reason {
	return []reason{
		{"*", `Secret`, ``, "what is signed in with or by differs, and with it who gets in"},
		{"*", `CustomResourceDefinition`, ``, "another schema prunes or refuses fields, or serves other versions"},
		{"rbac.authorization.k8s.io", ``, ``, "who may do what is not the same"},
		{"*", `ServiceAccount`, ``, "programs run as somebody else, or pull with other rights"},
		{"networking.k8s.io", `NetworkPolicy`, ``, "who reaches whom is not the same: what was proven in one may be cut off in the other"},
		{"*", `Ingress|Gateway|HTTPRoute|VirtualService|Service|Mapping|Host`, ``, "it is reached under another name, by another way, or by somebody else"},
		{"*", `ValidatingWebhookConfiguration|MutatingWebhookConfiguration|ValidatingAdmissionPolicy.*`, ``, "objects are changed or refused in one that are not in the other"},
		{"*", `ResourceQuota|LimitRange`, ``, "what fits in one may be refused in the other"},
		{"*", `Profile|PodDefault`, ``, "a team's people, quota or pods are not the same"},
		{"*", `HorizontalPodAutoscaler|PodDisruptionBudget`, ``, "load, and nodes that go, are answered differently"},
		{"*", `PersistentVolumeClaim|StorageClass`, ``, "data lies on another disk: speed, access modes and what outlives a node differ"},
		{"*", `ConfigMap`, ``, "programs read another configuration"},
		{"*", ``, `/image$`, "another program runs"},
		{"*", ``, `(^|/)(containers|initContainers)\[[^\]]*\]$`, "a container runs in one that does not run in the other"},
		{"*", ``, `/(command|args|env|envFrom)([/\[]|$)`, "the same program behaves differently"},
		{"*", ``, `/resources(/|$)`, "what fits, how fast it is and who is evicted first differ"},
		{"*", ``, `(^|/)(replicas|minReplicas|maxReplicas|strategy|updateStrategy)(/|$)`, "how much load and loss it bears, and how it is rolled out, differ"},
		{"*", ``, `/(livenessProbe|readinessProbe|startupProbe|lifecycle)(/|$)`, "it counts as ready, or is killed, at another time"},
		{"*", ``, `/(securityContext|hostNetwork|hostPID|hostIPC|runtimeClassName)(/|$)`, "it has other rights on its node"},
		{"*", ``, `/(nodeSelector|affinity|tolerations|topologySpreadConstraints|priorityClassName)([/\[]|$)`, "it runs on other nodes, or waits for ones that are not there"},
		{"*", ``, `/(volumes|volumeMounts|volumeClaimTemplates|storageClassName)([/\[]|$)`, "its data lies somewhere else, or is not there"},
		{"*", ``, `^metadata/(labels|annotations)`, "selectors and controllers that read them act differently"},
	}
}

// otherwise is why any other difference matters.
const otherwise = "what was proven in one environment is not what runs in the other"

// matters says why it matters that a place differs.
func matters(p fieldpath.Path) string {
	field := p.Field()
	if p.Whole() {
		field = ""
	}
	for _, r := range reasons() {
		if r.group != "*" && r.group != p.Group {
			continue
		}
		if fits("^(?:"+orAny(r.kind)+")$", p.Kind) && (r.field == "" || fits(r.field, field)) {
			return r.why
		}
	}
	return otherwise
}

func orAny(pattern string) string {
	if pattern == "" {
		return ".*"
	}
	return pattern
}

func fits(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }
