package install

import (
	"cmp"
	"slices"

	"azwi/internal/kube"
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
func (o Object) Ref() kube.Ref {
	return kube.Ref{APIVersion: o.text("apiVersion"), Kind: o.Kind(), Namespace: o.Namespace(), Name: o.Name()}
}

// applyOrder groups kinds in the order in which to apply them: what others need comes
// first, what the API server calls comes last. Removal goes the other way. Within a group
// objects keep the chart's order, in which package policy made those of the last but one.
func applyOrder() [][]string {
	return [][]string{
		{"Namespace"}, {"ServiceAccount"},
		{"ClusterRole", "Role"}, {"ClusterRoleBinding", "RoleBinding"},
		{"FlowSchema", "NetworkPolicy"},
		{"Issuer", "Secret", "ConfigMap"},
		{"Certificate", "Service", "PodDisruptionBudget", "ServiceMonitor", "PodMonitor", "PrometheusRule"},
		{"Deployment"},
		{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"},
		{"MutatingWebhookConfiguration"},
	}
}

// sortForApply puts the objects in the order in which to apply them.
func sortForApply(objects []Object) {
	order := applyOrder()
	place := func(o Object) int {
		return slices.IndexFunc(order, func(kinds []string) bool { return slices.Contains(kinds, o.Kind()) })
	}
	slices.SortStableFunc(objects, func(a, b Object) int { return cmp.Compare(place(a), place(b)) })
}
