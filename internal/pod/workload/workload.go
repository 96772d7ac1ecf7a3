package workload

import (
	"encoding/json"
	"maps"
	"strings"
)

// A Kind is a kind of workload.
type Kind struct {
	// Group of the API, empty for the core one.
	Group string
	// Kind as objects have it.
	Kind string
	// Template is where objects keep the pod template, as names of members. Empty
	// for a pod, which is its own.
	Template []string
}

// Kinds are all that make pods without the help of others' controllers.
// https://kubernetes.io/docs/concepts/workloads/
func Kinds() []Kind {
	template := []string{"spec", "template"}
	return []Kind{
		{"", "Pod", nil},
		{"", "ReplicationController", template},
		{"", "PodTemplate", []string{"template"}},
		{"apps", "Deployment", template},
		{"apps", "StatefulSet", template},
		{"apps", "DaemonSet", template},
		{"apps", "ReplicaSet", template},
		{"batch", "Job", template},
		{"batch", "CronJob", []string{"spec", "jobTemplate", "spec", "template"}},
	}
}

// Find returns the kind of an object. Any version of its group will do: none has
// moved the template.
func Find(apiVersion, kind string) (Kind, bool) {
	group := Group(apiVersion)
	for _, k := range Kinds() {
		if k.Group == group && k.Kind == kind {
			return k, true
		}
	}
	return Kind{}, false
}

// Group is that of an apiVersion, empty for the core group.
func Group(apiVersion string) string {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}

// APIVersion is the stable one of the kind's group.
func (k Kind) APIVersion() string {
	if k.Group == "" {
		return "v1"
	}
	return k.Group + "/v1"
}

// Pointer is the JSON pointer (RFC 6901) of the pod template, empty for a pod.
func (k Kind) Pointer() string {
	if len(k.Template) == 0 {
		return ""
	}
	return "/" + strings.Join(k.Template, "/")
}

// Pod returns the pod that a workload of this kind makes, in JSON. The object is
// decoded JSON. It reports false where there is no template.
func (k Kind) Pod(object map[string]any) ([]byte, bool) {
	for _, name := range k.Template {
		object, _ = object[name].(map[string]any)
	}
	return Pod(object)
}

// Pod returns the pod that is made of a pod template, in JSON: it has the same
// metadata and spec. The template is decoded JSON. As the API server does, it takes
// the old member serviceAccount for serviceAccountName. It reports false where there
// is no spec.
func Pod(template map[string]any) ([]byte, bool) {
	spec, ok := template["spec"].(map[string]any)
	if !ok {
		return nil, false
	}
	if old, ok := spec["serviceAccount"].(string); ok && (spec["serviceAccountName"] == nil || spec["serviceAccountName"] == "") {
		spec = maps.Clone(spec)
		spec["serviceAccountName"] = old
	}
	raw, err := json.Marshal(map[string]any{"metadata": template["metadata"], "spec": spec})
	return raw, err == nil
}
