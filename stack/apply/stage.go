package apply

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const rbacGroup = "rbac.authorization.k8s.io"

// stage is when an object goes in: every stage only after those before it.
type stage int

const (
	foundations stage = iota // namespaces and the kinds that others are of
	classes                  // what other objects name and are refused or stuck without
	basics                   // accounts, rights, configuration, volumes, services
	workloads                // everything else
	hooks                    // what is asked about every request from then on
	stages
)

func (s stage) String() string {
	return [...]string{"namespaces and kinds", "classes", "configuration", "workloads", "webhooks"}[s]
}

// stageOf returns the stage of an object.
func stageOf(o *unstructured.Unstructured) stage {
	kind := o.GroupVersionKind().GroupKind()
	switch kind.Group {
	case "":
		switch kind.Kind {
		case "Namespace":
			return foundations
		case "ServiceAccount", "Secret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim", "Service", "ResourceQuota", "LimitRange", "Endpoints":
			return basics
		}
	case "apiextensions.k8s.io":
		return foundations
	case "storage.k8s.io", "scheduling.k8s.io", "node.k8s.io":
		return classes
	case "networking.k8s.io", "gateway.networking.k8s.io", "resource.k8s.io":
		if kind.Kind == "IngressClass" || kind.Kind == "GatewayClass" || kind.Kind == "DeviceClass" {
			return classes
		}
		return basics
	case rbacGroup:
		// Who may not escalate may bind only to a role that is there.
		if kind.Kind == "Role" || kind.Kind == "ClusterRole" {
			return classes
		}
		return basics
	case "admissionregistration.k8s.io", "apiregistration.k8s.io":
		return hooks
	}
	return workloads
}

// isCRD reports whether o is a CustomResourceDefinition.
func isCRD(o *unstructured.Unstructured) bool {
	return o.GetKind() == "CustomResourceDefinition" && o.GroupVersionKind().Group == "apiextensions.k8s.io"
}

// isNamespace reports whether o is a Namespace.
func isNamespace(kind, apiVersion string) bool { return kind == "Namespace" && apiVersion == "v1" }

// kept says why an object of this kind is never pruned; empty where it may be.
func kept(o Object) string {
	switch o.Kind {
	case "Namespace":
		return "a namespace goes with everything in it"
	case "PersistentVolumeClaim", "PersistentVolume":
		return "it holds data"
	case "CustomResourceDefinition":
		return "it goes with every object of its kind"
	}
	return ""
}
