package doctor

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"azwi/internal/kube"
)

// A rule of a Role or ClusterRole.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-v1/
type rule struct {
	Verbs, APIGroups, Resources, ResourceNames []string
}

// allows reports whether the rule has a verb on a resource of a group: of any name if name
// is empty.
func (r rule) allows(verb, group, resource, name string) bool {
	has := func(list []string, value string) bool {
		return slices.Contains(list, value) || slices.Contains(list, "*")
	}
	resources := has(r.Resources, resource)
	if parent, sub, ok := strings.Cut(resource, "/"); ok && parent != "" {
		resources = resources || slices.Contains(r.Resources, "*/"+sub)
	}
	return resources && has(r.Verbs, verb) && has(r.APIGroups, group) &&
		(len(r.ResourceNames) == 0 || name != "" && slices.Contains(r.ResourceNames, name))
}

// A granted set of rules: who has them, and where. An empty namespace is all of them.
type granted struct {
	subject, namespace string
	rules              []rule
}

// readRBAC reads who has which rules. The same is said by other authorizers too, which the
// API server does not list.
func readRBAC(ctx context.Context, api *kube.Client) ([]granted, error) {
	const version = "rbac.authorization.k8s.io/v1"
	roles := map[string][]rule{}
	for _, kind := range []string{"ClusterRole", "Role"} {
		err := api.List(ctx, kube.Ref{APIVersion: version, Kind: kind}, "", func(raw json.RawMessage) error {
			var o struct {
				Metadata struct{ Name, Namespace string }
				Rules    []rule
			}
			err := json.Unmarshal(raw, &o)
			roles[kind+"/"+o.Metadata.Namespace+"/"+o.Metadata.Name] = o.Rules
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var all []granted
	for _, kind := range []string{"ClusterRoleBinding", "RoleBinding"} {
		err := api.List(ctx, kube.Ref{APIVersion: version, Kind: kind}, "", func(raw json.RawMessage) error {
			var o struct {
				Metadata struct{ Name, Namespace string }
				RoleRef  struct{ Kind, Name string }
				Subjects []struct{ Kind, Namespace, Name string }
			}
			if err := json.Unmarshal(raw, &o); err != nil {
				return err
			}
			// Kubernetes' own controllers create pods by their nature.
			if kind == "ClusterRoleBinding" && strings.HasPrefix(o.Metadata.Name, "system:controller:") {
				return nil
			}
			of := ""
			if o.RoleRef.Kind == "Role" {
				of = o.Metadata.Namespace
			}
			rules := roles[o.RoleRef.Kind+"/"+of+"/"+o.RoleRef.Name]
			for _, s := range o.Subjects {
				name := strings.ToLower(s.Kind) + " " + s.Name
				if s.Kind == "ServiceAccount" {
					name = "service account " + s.Namespace + "/" + s.Name
				}
				all = append(all, granted{name, o.Metadata.Namespace, rules})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// may reports whether the grant has a verb on a resource in a namespace.
func (g granted) may(verb, group, resource, namespace, name string) bool {
	if g.namespace != "" && g.namespace != namespace {
		return false
	}
	return slices.ContainsFunc(g.rules, func(r rule) bool { return r.allows(verb, group, resource, name) })
}

// A way is how somebody acts as a service account.
type way struct {
	text                  string
	verbs                 []string
	group                 string
	resources             []string
	named, cluster, inPod bool
}

// ways are all that RBAC can allow. named: by the account's name. cluster: the right must be
// one of the whole cluster. inPod: only where a pod runs as the account.
// Source: https://kubernetes.io/docs/concepts/security/rbac-good-practices/
func ways() []way {
	change := []string{"create", "update", "patch"}
	return []way{
		{text: "create pods", verbs: []string{"create"}, resources: []string{"pods"}},
		{text: "create or change workloads", verbs: change, group: "apps", resources: []string{"deployments", "statefulsets", "daemonsets", "replicasets"}},
		{text: "create or change jobs", verbs: change, group: "batch", resources: []string{"jobs", "cronjobs"}},
		{text: "create or change replication controllers", verbs: change, resources: []string{"replicationcontrollers"}},
		{text: "request tokens", verbs: []string{"create"}, resources: []string{"serviceaccounts/token"}, named: true},
		{text: "impersonate", verbs: []string{"impersonate"}, resources: []string{"serviceaccounts"}, named: true},
		{text: "exec into pods", verbs: []string{"create", "get"}, resources: []string{"pods/exec", "pods/attach"}, inPod: true},
		{text: "add ephemeral containers", verbs: []string{"update", "patch"}, resources: []string{"pods/ephemeralcontainers"}, inPod: true},
		{text: "reach kubelets (nodes/proxy)", verbs: []string{"create", "get"}, resources: []string{"nodes/proxy"}, cluster: true, inPod: true},
		{text: "impersonate users or groups", verbs: []string{"impersonate"}, resources: []string{"users", "groups"}, cluster: true},
		{text: "extend roles (escalate)", verbs: []string{"escalate"}, group: "rbac.authorization.k8s.io", resources: []string{"roles", "clusterroles"}},
		{text: "bind roles (bind)", verbs: []string{"bind"}, group: "rbac.authorization.k8s.io", resources: []string{"roles", "clusterroles"}},
	}
}

// leads reports whether the grant opens the way to an account.
func (g granted) leads(w way, namespace, account string, runs bool) bool {
	if w.inPod && !runs || w.cluster && g.namespace != "" {
		return false
	}
	name := ""
	if w.named {
		name = account
	}
	for _, verb := range w.verbs {
		for _, resource := range w.resources {
			if g.may(verb, w.group, resource, namespace, name) {
				return true
			}
		}
	}
	return false
}

// all reports whether the grant allows everything in the whole cluster.
func (g granted) all() bool { return g.namespace == "" && g.may("*", "*", "*", "", "") }
