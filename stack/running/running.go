// Package running compares what really runs in a cluster with what may run
// there: the image of every container of every pod, as the container runtime
// reports it, against the digests of a lock. It is a pure function over a list
// of pods.
package running

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
)

// Allowed is the set of digests that may run, each with the name of what it
// is, for reports. A runtime names an image by the digest it was pulled by (an
// index or a manifest) or, where it was loaded, by that of its configuration,
// so an image is allowed with all of them.
type Allowed map[v1.Hash]string

// Add allows all the digests of one image.
func (a Allowed) Add(name string, digests ...v1.Hash) {
	for _, d := range digests {
		if d != (v1.Hash{}) {
			a[d] = name
		}
	}
}

// Role is what a container is in its pod.
type Role string

// The roles.
const (
	Container Role = "container"
	Init      Role = "init container"
	Sidecar   Role = "sidecar" // an init container that is restarted always, and so runs beside
	Ephemeral Role = "ephemeral container"
	Volume    Role = "image volume"
)

// Foreigner is a container whose image is not allowed, or cannot be told.
type Foreigner struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"` // or the name of the volume
	Role      Role   `json:"role"`
	Image     string `json:"image"`             // as the pod asks for it
	ImageID   string `json:"imageID,omitempty"` // as the runtime reports it; empty where it has not started
	Why       string `json:"why"`
}

// String names the container and says why it is foreign, on one line.
func (f Foreigner) String() string {
	return fmt.Sprintf("%s %s of pod %s/%s: %s", f.Role, f.Container, f.Namespace, f.Pod, f.Why)
}

// Report is the outcome of a comparison.
type Report struct {
	Pods       int         `json:"pods"`
	Containers int         `json:"containers"` // and image volumes
	Waiting    int         `json:"waiting"`    // not started yet, but asking for what is allowed
	Foreigners []Foreigner `json:"foreigners,omitempty"`
}

// Compare returns what of the pods is not allowed, in a fixed order. A
// container that has not started is judged by what it asks for: only a digest
// that is allowed will do, since any tag may turn out to be anything.
func Compare(pods []corev1.Pod, allowed Allowed) Report {
	report := Report{Pods: len(pods)}
	for i := range pods {
		for _, c := range containersOf(&pods[i]) {
			report.Containers++
			why, waiting := judge(c, allowed)
			if waiting {
				report.Waiting++
			}
			if why == "" {
				continue
			}
			report.Foreigners = append(report.Foreigners, Foreigner{
				Namespace: pods[i].Namespace, Pod: pods[i].Name, Container: c.name, Role: c.role,
				Image: c.image, ImageID: c.imageID, Why: why,
			})
		}
	}
	slices.SortFunc(report.Foreigners, func(a, b Foreigner) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod),
			cmp.Compare(a.Role, b.Role), cmp.Compare(a.Container, b.Container))
	})
	return report
}

type container struct {
	name, image, imageID string
	role                 Role
}

// judge returns why a container is foreign; empty where it is not.
func judge(c container, allowed Allowed) (why string, waiting bool) {
	if c.imageID == "" {
		digest, ok := asked(c.image)
		switch {
		case !ok:
			return fmt.Sprintf("asks for %s, which is not pinned to a digest", c.image), false
		case allowed[digest] == "":
			return fmt.Sprintf("asks for %s, which is not in the lock", c.image), false
		}
		return "", true
	}
	digest, ok := Digest(c.imageID)
	switch {
	case !ok:
		return fmt.Sprintf("its runtime reports %q, which names no digest", c.imageID), false
	case allowed[digest] == "":
		return fmt.Sprintf("runs %s (from %s), which is not in the lock", digest, c.image), false
	}
	return "", false
}

// Digest returns the digest in an image ID as container runtimes report it:
// "docker.io/library/x@sha256:…", "sha256:…", with a scheme before it
// ("docker-pullable://", "docker://"), or the bare 64 digits.
func Digest(imageID string) (v1.Hash, bool) {
	id := imageID
	if _, rest, ok := strings.Cut(id, "://"); ok {
		id = rest
	}
	if i := strings.LastIndexByte(id, '@'); i >= 0 {
		id = id[i+1:]
	}
	if len(id) == 64 && !strings.Contains(id, ":") {
		id = "sha256:" + id
	}
	hash, err := v1.NewHash(id)
	return hash, err == nil && hash.Algorithm == "sha256"
}

// asked returns the digest that a pod's image field pins.
func asked(image string) (v1.Hash, bool) {
	if !strings.Contains(image, "@") {
		return v1.Hash{}, false
	}
	return Digest(image)
}

// containersOf returns every container of a pod, also those that only the
// status knows, and the images that are mounted as volumes.
func containersOf(pod *corev1.Pod) []container {
	var all []container
	seen := map[string]int{}
	add := func(name, image string, role Role) {
		seen[string(role)+"/"+name] = len(all)
		all = append(all, container{name: name, image: image, role: role})
	}
	for _, c := range pod.Spec.InitContainers {
		role := Init
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			role = Sidecar
		}
		add(c.Name, c.Image, role)
	}
	for _, c := range pod.Spec.Containers {
		add(c.Name, c.Image, Container)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		add(c.Name, c.Image, Ephemeral)
	}
	status := func(statuses []corev1.ContainerStatus, roles ...Role) {
		for _, s := range statuses {
			at := -1
			for _, role := range roles {
				if i, ok := seen[string(role)+"/"+s.Name]; ok {
					at = i
				}
			}
			if at < 0 {
				add(s.Name, s.Image, roles[0])
				at = len(all) - 1
			}
			all[at].imageID = s.ImageID
		}
	}
	status(pod.Status.InitContainerStatuses, Init, Sidecar)
	status(pod.Status.ContainerStatuses, Container)
	status(pod.Status.EphemeralContainerStatuses, Ephemeral)
	for _, v := range pod.Spec.Volumes {
		if v.Image != nil && v.Image.Reference != "" {
			add(v.Name, v.Image.Reference, Volume)
		}
	}
	return all
}
