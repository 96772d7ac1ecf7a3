package install

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"azwi/contract"
	"azwi/internal/kube"
)

// foreign lists the objects of an installation that is not azwi's: those that
// upstream's and our chart have, as far as they are there.
func (c *cluster) foreign(ctx context.Context, found *Installation) ([]kube.Ref, error) {
	n := found.Namespace
	const rbac = "rbac.authorization.k8s.io/v1"
	ref := func(apiVersion, kind, namespace, name string) kube.Ref {
		return kube.Ref{APIVersion: apiVersion, Kind: kind, Namespace: namespace, Name: name}
	}
	known := []kube.Ref{
		ref("v1", "ServiceAccount", n, "azure-wi-webhook-admin"),
		ref(rbac, "ClusterRole", "", "azure-wi-webhook-manager-role"),
		ref(rbac, "Role", n, "azure-wi-webhook-manager-role"),
		ref(rbac, "ClusterRoleBinding", "", "azure-wi-webhook-manager-rolebinding"),
		ref(rbac, "RoleBinding", n, "azure-wi-webhook-manager-rolebinding"),
		// deploy/ names them otherwise, so that the rights of upstream's pods stay.
		ref(rbac, "ClusterRole", "", "azure-wi-webhook"),
		ref(rbac, "Role", n, "azure-wi-webhook"),
		ref(rbac, "ClusterRoleBinding", "", "azure-wi-webhook"),
		ref(rbac, "RoleBinding", n, "azure-wi-webhook"),
		ref("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "", "azure-wi-webhook"),
		ref("networking.k8s.io/v1", "NetworkPolicy", n, "azure-wi-webhook"),
		ref("v1", "ConfigMap", n, "azure-wi-webhook-config"),
		ref("v1", "Secret", n, "azure-wi-webhook-server-cert"),
		ref("v1", "Service", n, serviceName),
		ref("policy/v1", "PodDisruptionBudget", n, deploymentName),
		deploymentRef(n),
		ref(admissionVersion, "ValidatingAdmissionPolicy", "", policyName),
		ref(admissionVersion, "ValidatingAdmissionPolicyBinding", "", policyName),
		ref(admissionVersion, "ValidatingAdmissionPolicy", "", policyName+"-warnings"),
		ref(admissionVersion, "ValidatingAdmissionPolicyBinding", "", policyName+"-warnings"),
		ref(admissionVersion, "ValidatingAdmissionPolicy", "", policyName+"-accounts"),
		ref(admissionVersion, "ValidatingAdmissionPolicyBinding", "", policyName+"-accounts"),
		mutatingPolicyRef(),
		ref(admissionVersion, "MutatingAdmissionPolicyBinding", "", policyName),
		webhookConfigurationRef(contract.WebhookConfiguration),
	}
	var there []kube.Ref
	for found := range c.Walk(ctx, wanted(known)) {
		switch {
		case found.Err != nil:
			return nil, found.Err
		case found.State != kube.Missing:
			there = append(there, found.Ref)
		}
	}
	return there, nil
}

// wanted asks whether objects are there, however they are.
func wanted(refs []kube.Ref) []kube.Wanted {
	all := make([]kube.Wanted, len(refs))
	for i, ref := range refs {
		all[i].Ref = ref
	}
	return all
}

// takeOver takes over an installation made with Helm or kubectl.
func (c *cluster) takeOver(ctx context.Context, r *record) error {
	for _, ref := range r.TakeOver.Objects {
		if err := c.adopt(ctx, ref); err != nil && !kube.IsNotFound(err) {
			return fmt.Errorf("take over %s: %w", ref, err)
		}
	}
	return nil
}

// forgetRelease removes Helm's record of what was taken over. Else a later helm
// uninstall, or upgrade, would undo all.
func (c *cluster) forgetRelease(ctx context.Context, r *record) error {
	if r.TakeOver == nil || r.TakeOver.Owner != OwnerHelm {
		return nil
	}
	_, err := c.Do(ctx, kube.Request{
		Method: http.MethodDelete, Ref: kube.Ref{APIVersion: "v1", Kind: "Secret", Namespace: r.namespace}, Selector: "owner=helm,name=" + r.Release,
	}, nil)
	if err != nil {
		return fmt.Errorf("remove Helm's record of release %s: %w", r.Release, err)
	}
	return nil
}

// adopt moves the fields that others applied to azwi, so that applying removes
// those that are no longer wanted, and takes Helm's marks off.
func (c *cluster) adopt(ctx context.Context, ref kube.Ref) error {
	var o struct {
		Metadata struct {
			ResourceVersion string
			Annotations     map[string]string
			ManagedFields   []map[string]any
		}
	}
	if err := c.Read(ctx, ref, &o); err != nil {
		return err
	}
	metadata := map[string]any{"resourceVersion": o.Metadata.ResourceVersion, "annotations": map[string]any{helmName: nil, helmNamespace: nil}}
	// Of the others all fields are either ours to set, or to be kept: what a Secret
	// holds, caBundle, a Service's address.
	if adoptsFields(ref.Kind) {
		fields, err := adoptedFields(o.Metadata.ManagedFields, ref.APIVersion)
		if err != nil {
			return err
		}
		metadata["managedFields"] = fields
	}
	_, err := c.Do(ctx, kube.Request{
		Method: http.MethodPatch, Ref: ref, Manager: manager + "-take-over", ContentType: "application/merge-patch+json", Body: map[string]any{"metadata": metadata},
	}, nil)
	return err
}

// adoptsFields reports whether all fields of a kind become azwi's.
func adoptsFields(kind string) bool {
	return kind == "Deployment" || kind == "ConfigMap" || kind == "PodDisruptionBudget"
}

// adoptedFields joins what all managers have, but for those of the status, into
// what azwi applied.
func adoptedFields(entries []map[string]any, apiVersion string) ([]map[string]any, error) {
	all := fieldpath.NewSet()
	var kept []map[string]any
	for _, entry := range entries {
		if sub, _ := entry["subresource"].(string); sub != "" {
			kept = append(kept, entry)
			continue
		}
		raw, err := json.Marshal(entry["fieldsV1"])
		if err != nil {
			return nil, err
		}
		set := fieldpath.NewSet()
		if err := set.FromJSON(bytes.NewReader(raw)); err != nil {
			return nil, fmt.Errorf("read the managed fields: %w", err)
		}
		all = all.Union(set)
	}
	raw, err := all.ToJSON()
	if err != nil {
		return nil, err
	}
	return append(kept, map[string]any{
		"manager": manager, "operation": "Apply", "apiVersion": apiVersion, "fieldsType": "FieldsV1", "fieldsV1": json.RawMessage(raw),
	}), nil
}
