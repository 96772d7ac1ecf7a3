package install

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
)

// An Object is one Kubernetes object, as JSON has it.
type Object map[string]any

func (o Object) text(keys ...any) string {
	s, _ := lookup(map[string]any(o), keys...).(string)
	return s
}

func (o Object) metadata() map[string]any { m, _ := o["metadata"].(map[string]any); return m }

// Kind is the object's kind.
func (o Object) Kind() string { return o.text("kind") }

// Name is the object's name.
func (o Object) Name() string { s, _ := o.metadata()["name"].(string); return s }

// Namespace is the object's namespace; empty for those that have none.
func (o Object) Namespace() string { s, _ := o.metadata()["namespace"].(string); return s }

// Ref names the object.
func (o Object) Ref() Ref {
	return Ref{APIVersion: o.text("apiVersion"), Kind: o.Kind(), Namespace: o.Namespace(), Name: o.Name()}
}

// A Ref names an object.
type Ref struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// A resource is how the API serves a kind.
type resource struct {
	plural string
	// order is its place among the objects to apply: what others need comes first,
	// what the API server calls comes last. Removal goes the other way.
	order int
}

// resources are the kinds that the chart has.
func resources() map[string]resource {
	return map[string]resource{
		"Namespace":           {"namespaces", 0},
		"ServiceAccount":      {"serviceaccounts", 1},
		"ClusterRole":         {"clusterroles", 2},
		"ClusterRoleBinding":  {"clusterrolebindings", 3},
		"Role":                {"roles", 2},
		"RoleBinding":         {"rolebindings", 3},
		"FlowSchema":          {"flowschemas", 4},
		"NetworkPolicy":       {"networkpolicies", 4},
		"Issuer":              {"issuers", 5},
		"Certificate":         {"certificates", 6},
		"Secret":              {"secrets", 5},
		"ConfigMap":           {"configmaps", 5},
		"Service":             {"services", 6},
		"PodDisruptionBudget": {"poddisruptionbudgets", 6},
		"ServiceMonitor":      {"servicemonitors", 6},
		"PodMonitor":          {"podmonitors", 6},
		"PrometheusRule":      {"prometheusrules", 6},
		"Deployment":          {"deployments", 7},
		// These keep the chart's order, in which package policy made them.
		"ValidatingAdmissionPolicy":        {"validatingadmissionpolicies", 8},
		"ValidatingAdmissionPolicyBinding": {"validatingadmissionpolicybindings", 8},
		"MutatingAdmissionPolicy":          {"mutatingadmissionpolicies", 8},
		"MutatingAdmissionPolicyBinding":   {"mutatingadmissionpolicybindings", 8},
		"MutatingWebhookConfiguration":     {"mutatingwebhookconfigurations", 9},
	}
}

// Path is the object's in the API server's URL.
func (r Ref) Path() (string, error) {
	known, ok := resources()[r.Kind]
	if !ok {
		return "", fmt.Errorf("%s: azwi does not install such objects", r)
	}
	path := "/apis/" + r.APIVersion
	if r.APIVersion == "v1" {
		path = "/api/v1"
	}
	if r.Namespace != "" {
		path += "/namespaces/" + url.PathEscape(r.Namespace)
	}
	return path + "/" + known.plural + "/" + url.PathEscape(r.Name), nil
}

// sortForApply puts the objects in the order in which to apply them.
func sortForApply(objects []Object) {
	known := resources()
	slices.SortStableFunc(objects, func(a, b Object) int {
		return cmp.Compare(known[a.Kind()].order, known[b.Kind()].order)
	})
}
