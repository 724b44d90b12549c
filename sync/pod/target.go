// Package pod gets a session into a container: it finds the pod that a target
// names, notices when that pod is replaced, brings the helper program in, and
// opens the stream on which the two speak.
package pod

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kfdev/kfdev/internal/fault"
)

// Kind is what a target names.
type Kind string

// The kinds of targets.
const (
	KindPod         Kind = "pod"
	KindJupyterHub  Kind = "jupyterhub"  // a user's server: jupyterhub/USER[/SERVER]
	KindNotebook    Kind = "notebook"    // a Kubeflow Notebook
	KindStatefulSet Kind = "statefulset" // statefulset/NAME[/ORDINAL]
	KindDeployment  Kind = "deployment"
	KindJob         Kind = "job"
	KindTFJob       Kind = "tfjob" // a training job: tfjob/NAME[/REPLICA-INDEX]
	KindPyTorchJob  Kind = "pytorchjob"
	KindMPIJob      Kind = "mpijob"
	KindXGBoostJob  Kind = "xgboostjob"
	KindPaddleJob   Kind = "paddlejob"
	KindJAXJob      Kind = "jaxjob"
	KindTrainJob    Kind = "trainjob" // of Kubeflow Trainer: trainjob/NAME[/STEP-INDEX]
)

// Target names a pod, and a container of it.
type Target struct {
	Kind Kind
	Name string
	// Part is the server of a hub's user, the ordinal in a StatefulSet, or the
	// replica of a training job ("worker-0"). Empty: the one there is, or the
	// one that leads.
	Part string
	// Namespace is where it is looked for. Empty: everywhere.
	Namespace string
	// Container is the one meant. Empty: the pod's main one.
	Container string
}

// String returns the form that ParseTarget reads.
func (t Target) String() string {
	text := string(t.Kind) + "/" + t.Name
	if t.Part != "" {
		text += "/" + t.Part
	}
	if t.Namespace != "" {
		text += " -n " + t.Namespace
	}
	if t.Container != "" {
		text += " -c " + t.Container
	}
	return text
}

// word returns the kind that a person's word means.
func word(s string) (Kind, bool) {
	switch s {
	case "po", "pods":
		return KindPod, true
	case "hub", "user":
		return KindJupyterHub, true
	case "nb", "notebooks":
		return KindNotebook, true
	case "sts", "statefulsets":
		return KindStatefulSet, true
	case "deploy", "deployments":
		return KindDeployment, true
	case "jobs":
		return KindJob, true
	}
	return Kind(s), slices.Contains(kinds(), Kind(s))
}

func kinds() []Kind {
	return []Kind{
		KindPod, KindJupyterHub, KindNotebook, KindStatefulSet, KindDeployment, KindJob,
		KindTFJob, KindPyTorchJob, KindMPIJob, KindXGBoostJob, KindPaddleJob, KindJAXJob, KindTrainJob,
	}
}

// parted reports whether targets of the kind may name a part.
func (k Kind) parted() bool {
	switch k {
	case KindPod, KindNotebook, KindDeployment, KindJob:
		return false
	default:
		return true
	}
}

// ParseTarget reads "KIND/NAME[/PART] [-n NAMESPACE] [-c CONTAINER]". An error
// is a fault of kind Usage.
func ParseTarget(text string) (Target, error) {
	fail := func(format string, args ...any) (Target, error) {
		return Target{}, &fault.Error{
			Op: "reading the target", Subject: text, Kind: fault.Usage, Err: fmt.Errorf(format, args...),
			Hint: "a target is KIND/NAME, like jupyterhub/ann, notebook/fraud, statefulset/web or pod/web-0, with -n NAMESPACE and -c CONTAINER behind it where they are needed",
		}
	}
	words := strings.Fields(text)
	if !utf8.ValidString(text) || len(words) == 0 {
		return fail("there is none")
	}
	parts := strings.Split(words[0], "/")
	if len(parts) < 2 || len(parts) > 3 {
		return fail("it is not KIND/NAME")
	}
	kind, known := word(strings.ToLower(parts[0]))
	if !known {
		return fail("%q is no kind of target; there are %s", parts[0], kindList())
	}
	t := Target{Kind: kind, Name: parts[1]}
	if len(parts) == 3 {
		t.Part = parts[2]
		if !kind.parted() || t.Part == "" {
			return fail("a %s has no parts", kind)
		}
	}
	for rest := words[1:]; len(rest) > 0; rest = rest[2:] {
		into := map[string]*string{"-n": &t.Namespace, "-c": &t.Container}[rest[0]]
		if into == nil || *into != "" || len(rest) < 2 {
			return fail("%q is not understood", strings.Join(rest, " "))
		}
		*into = rest[1]
	}
	if err := t.check(); err != nil {
		return fail("%w", err)
	}
	return t, nil
}

// subdomain is what names of Kubernetes objects are (RFC 1123).
var subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// check reports what can't be the name of anything.
func (t Target) check() error {
	if t.Kind == KindJupyterHub {
		// A hub's users are called whatever its authenticator likes.
		if t.Name == "" || strings.ContainsFunc(t.Name+t.Part, unicode.IsControl) {
			return errors.New("it names no user")
		}
	} else if !subdomain.MatchString(t.Name) || t.Part != "" && !subdomain.MatchString(t.Part) {
		return errors.New("names are of small letters, digits, dots and dashes")
	}
	for _, name := range []string{t.Namespace, t.Container} {
		if name != "" && !subdomain.MatchString(name) {
			return fmt.Errorf("%q is no name", name)
		}
	}
	return nil
}

func kindList() string {
	var names []string
	for _, k := range kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}
