package kube

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A Ref names an object. Without a name it is all objects of the kind in the namespace,
// without a namespace those of the whole cluster.
type Ref struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// AccountRef names a service account.
func AccountRef(namespace, name string) Ref { return Ref{"v1", "ServiceAccount", namespace, name} }

func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// A resource is how the API server serves a kind.
type resource struct {
	group, kind string
	plural      string // in paths
	namespaced  bool
}

// resources are all kinds that azwi reads or writes.
func resources() []resource {
	const (
		admission  = "admissionregistration.k8s.io"
		rbac       = "rbac.authorization.k8s.io"
		monitoring = "monitoring.coreos.com"
		identity   = "aadpodidentity.k8s.io"
	)
	return []resource{
		{"", "Namespace", "namespaces", false},
		{"", "ServiceAccount", "serviceaccounts", true},
		{"", "ConfigMap", "configmaps", true},
		{"", "Secret", "secrets", true},
		{"", "Service", "services", true},
		{"", "Pod", "pods", true},
		{"", "Event", "events", true},
		{"", "PodTemplate", "podtemplates", true},
		{"", "ReplicationController", "replicationcontrollers", true},
		{"apps", "Deployment", "deployments", true},
		{"apps", "StatefulSet", "statefulsets", true},
		{"apps", "DaemonSet", "daemonsets", true},
		{"apps", "ReplicaSet", "replicasets", true},
		{"batch", "Job", "jobs", true},
		{"batch", "CronJob", "cronjobs", true},
		{"policy", "PodDisruptionBudget", "poddisruptionbudgets", true},
		{"networking.k8s.io", "NetworkPolicy", "networkpolicies", true},
		{"flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas", false},
		{rbac, "ClusterRole", "clusterroles", false},
		{rbac, "ClusterRoleBinding", "clusterrolebindings", false},
		{rbac, "Role", "roles", true},
		{rbac, "RoleBinding", "rolebindings", true},
		{admission, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", false},
		{admission, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false},
		{admission, "MutatingAdmissionPolicy", "mutatingadmissionpolicies", false},
		{admission, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", false},
		{admission, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", false},
		{"authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", false},
		{"cert-manager.io", "Issuer", "issuers", true},
		{"cert-manager.io", "Certificate", "certificates", true},
		{monitoring, "ServiceMonitor", "servicemonitors", true},
		{monitoring, "PodMonitor", "podmonitors", true},
		{monitoring, "PrometheusRule", "prometheusrules", true},
		{identity, "AzureIdentity", "azureidentities", true},
		{identity, "AzureIdentityBinding", "azureidentitybindings", true},
	}
}

func (r Ref) resource() (resource, error) {
	group, _, named := strings.Cut(r.APIVersion, "/")
	if !named {
		group = ""
	}
	all := resources()
	i := slices.IndexFunc(all, func(known resource) bool { return known.group == group && known.kind == r.Kind })
	switch {
	case i < 0:
		return resource{}, fmt.Errorf("%s: azwi knows no kind %s of %s", r, r.Kind, r.APIVersion)
	case r.Namespace != "" && !all[i].namespaced:
		return resource{}, fmt.Errorf("%s: objects of this kind have no namespace", r)
	case r.Namespace == "" && r.Name != "" && all[i].namespaced:
		return resource{}, fmt.Errorf("%s: objects of this kind have a namespace", r)
	}
	return all[i], nil
}

// Plural is the kind's name in paths, as in what RBAC calls resources.
func (r Ref) Plural() string {
	known, err := r.resource()
	if err != nil {
		return r.Kind
	}
	return known.plural
}

// Path is the object's, or that of all, in the API server's URL.
func (r Ref) Path() (string, error) {
	known, err := r.resource()
	if err != nil {
		return "", err
	}
	path := "/apis/" + r.APIVersion
	if known.group == "" {
		path = "/api/" + r.APIVersion
	}
	if r.Namespace != "" {
		path += "/namespaces/" + url.PathEscape(r.Namespace)
	}
	path += "/" + known.plural
	if r.Name != "" {
		path += "/" + url.PathEscape(r.Name)
	}
	return path, nil
}
