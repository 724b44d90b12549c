package difference

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/envs/difference/fieldpath"
)

func TestEveryPlaceMattersForAReason(t *testing.T) {
	t.Parallel()
	for path, why := range map[string]string{
		"apps/Deployment/a:b/spec/replicas":                                           "how much load",
		"apps/Deployment/a:b/spec/template/spec/containers[name=c]/image":             "another program runs",
		"apps/Deployment/a:b/spec/template/spec/containers[name=c]":                   "a container runs in one",
		"apps/Deployment/a:b/spec/template/spec/containers[name=c]/args[0]":           "behaves differently",
		"apps/Deployment/a:b/spec/template/spec/containers[name=c]/env[name=X]/value": "behaves differently",
		"apps/Deployment/a:b/spec/template/spec/containers[name=c]/resources/limits":  "what fits",
		"apps/Deployment/a:b/spec/template/spec/tolerations":                          "on other nodes",
		"apps/Deployment/a:b":                                                            otherwise,
		"core/ConfigMap/a:b/data/[\"x.yaml\"]#/y":                                        "another configuration",
		"core/Secret/a:b/data/token":                                                     "signed in",
		"rbac.authorization.k8s.io/ClusterRole/edit/rules":                               "who may do what",
		"networking.k8s.io/NetworkPolicy/a:b/spec":                                       "who reaches whom",
		"kubeflow.org/Profile/team/spec/owner/name":                                      "a team's people",
		"apiextensions.k8s.io/CustomResourceDefinition/x.y/spec/versions[name=v1]":       "another schema",
		"apps/StatefulSet/a:b/spec/volumeClaimTemplates[0]/spec/storageClassName":        "its data lies",
		"apps/Deployment/a:b/metadata/labels/app":                                        "selectors",
		"batch/CronJob/a:b/spec/schedule":                                                otherwise,
		"core/Service/a:b/spec/type":                                                     "reached under another name",
		"admissionregistration.k8s.io/ValidatingWebhookConfiguration/x/webhooks[name=a]": "objects are changed or refused",
	} {
		p, err := fieldpath.Parse(path)
		require.NoError(t, err, path)
		require.Contains(t, matters(p), why, path)
	}
}
