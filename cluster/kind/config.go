package kind

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/internal/docker"
)

// config is the cluster in kind's words.
func (p *Provider) config(spec cluster.Spec, server docker.Server) *v1alpha4.Cluster {
	config := &v1alpha4.Cluster{
		TypeMeta: v1alpha4.TypeMeta{APIVersion: "kind.x-k8s.io/v1alpha4", Kind: "Cluster"},
		Name:     cluster.ContextName(spec.Name),
		Networking: v1alpha4.Networking{
			IPFamily:          v1alpha4.IPv4Family,
			APIServerAddress:  "127.0.0.1",
			APIServerPort:     int32(spec.APIPort), //nolint:gosec // Validate has seen it
			PodSubnet:         "10.244.0.0/16",     // the fixed pod network of the node image from source is in it
			DisableDefaultCNI: spec.Image.FromSource,
		},
		KubeadmConfigPatches: patches(spec.Image, server),
	}
	for i := range max(spec.Nodes, 1) {
		node := v1alpha4.Node{
			Role:  v1alpha4.WorkerRole,
			Image: spec.Image.Ref,
			ExtraMounts: []v1alpha4.Mount{
				{HostPath: p.certsDir(), ContainerPath: "/etc/containerd/certs.d", Readonly: true},
			},
		}
		if i == 0 {
			node.Role = v1alpha4.ControlPlaneRole
			for _, port := range spec.Ports {
				node.ExtraPortMappings = append(node.ExtraPortMappings, v1alpha4.PortMapping{
					ListenAddress: "127.0.0.1", HostPort: int32(port.Host), ContainerPort: int32(port.Node), //nolint:gosec // Validate has seen them
					Protocol: v1alpha4.PortMappingProtocolTCP,
				})
			}
			node.ExtraMounts = append(node.ExtraMounts, v1alpha4.Mount{
				HostPath: p.storageFile(), ContainerPath: "/kind/manifests/default-storage.yaml", Readonly: true,
			})
		}
		config.Nodes = append(config.Nodes, node)
	}
	v1alpha4.SetDefaultsCluster(config)
	return config
}

// patches are kubeadm's configuration where it differs from kind's.
func patches(image cluster.NodeImage, server docker.Server) []string {
	// Several images at once: the layers come from beside the node.
	kubelet := "kind: KubeletConfiguration\nserializeImagePulls: false\nmaxParallelImagePulls: 4\n"
	if server.CgroupVersion == 1 {
		// The kubelet refuses cgroup v1 unless it is told not to.
		kubelet += "failCgroupV1: false\n"
	}
	out := []string{kubelet}
	if image.FromSource {
		out = append(out, fmt.Sprintf("kind: ClusterConfiguration\nimageRepository: %s\n", image.Repository))
	}
	return out
}

// kubeconfig is the administrator's, as it reaches the API from this machine,
// under the cluster's name.
func kubeconfig(admin []byte, control docker.Container, name, server string) ([]byte, error) {
	inside, err := clientcmd.Load(admin)
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", adminConfig, control.Name, err)
	}
	current, ok := inside.Contexts[inside.CurrentContext]
	if !ok || inside.Clusters[current.Cluster] == nil || inside.AuthInfos[current.AuthInfo] == nil {
		return nil, fmt.Errorf("%s in %s has no whole current context", adminConfig, control.Name)
	}
	reach := inside.Clusters[current.Cluster]
	reach.Server = server
	return render(cluster.ContextName(name), reach, inside.AuthInfos[current.AuthInfo])
}
