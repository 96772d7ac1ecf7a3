package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	"azwi/internal/kube"
)

// object is a live object, decoded, so that what we do not know stays.
type object = map[string]any

const (
	// typeManaged is a user-assigned managed identity; other types are service
	// principals.
	// https://azure.github.io/aad-pod-identity/docs/concepts/azureidentity/
	typeManaged  = 0
	behaviorKey  = "aadpodidentity.k8s.io/Behavior"
	bindingLabel = "aadpodidbinding"
	identityAPI  = "aadpodidentity.k8s.io/v1"
)

// An azureIdentity is an AzureIdentity or an AzureIdentityBinding. Members are read
// whatever their case: early releases wrote them with capitals.
type azureIdentity struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Type       int    `json:"type"`
		ResourceID string `json:"resourceID"`
		ClientID   string `json:"clientID"`
		TenantID   string `json:"tenantID"`

		AzureIdentity string `json:"azureIdentity"`
		Selector      string `json:"selector"`
	} `json:"spec"`
}

func (i azureIdentity) name() string { return i.Metadata.Namespace + "/" + i.Metadata.Name }

// list reads all objects of a kind whose names are such.
func list(ctx context.Context, api *kube.Client, all kube.Ref, selector string, each func(json.RawMessage) error) error {
	return api.List(ctx, all, selector, func(raw json.RawMessage) error {
		if err := checkNames(raw); err != nil {
			return err
		}
		return each(raw)
	})
}

// checkNames checks the names of a live object, which become part of paths, file
// names and comments in what is written.
func checkNames(raw json.RawMessage) error {
	var o struct {
		Metadata struct{ Name, Namespace string }
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	return checkName(o.Metadata.Namespace, o.Metadata.Name)
}

// checkName fails on what Kubernetes takes for no namespace and name.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
func checkName(namespace, name string) error {
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return fmt.Errorf("the API server answered the name %q in namespace %q, which Kubernetes does not allow", name, namespace)
	}
	return nil
}

// identities are the bindings and what they bind.
type identities struct {
	bindings   []azureIdentity
	identities map[string]azureIdentity // by namespace/name
}

func readIdentities(ctx context.Context, api *kube.Client, namespace string) (identities, error) {
	all := identities{identities: map[string]azureIdentity{}}
	decode := func(into func(azureIdentity)) func(json.RawMessage) error {
		return func(raw json.RawMessage) error {
			var i azureIdentity
			if err := json.Unmarshal(raw, &i); err != nil {
				return err
			}
			into(i)
			return nil
		}
	}
	err := list(ctx, api, kube.Ref{APIVersion: identityAPI, Kind: "AzureIdentity", Namespace: namespace}, "", decode(func(i azureIdentity) { all.identities[i.name()] = i }))
	if err == nil {
		err = list(ctx, api, kube.Ref{APIVersion: identityAPI, Kind: "AzureIdentityBinding", Namespace: namespace}, "", decode(func(b azureIdentity) { all.bindings = append(all.bindings, b) }))
	}
	slices.SortFunc(all.bindings, func(a, b azureIdentity) int { return cmp.Compare(a.name(), b.name()) })
	return all, err
}

// of returns the identities that a pod with the label gets, in the order of their
// bindings' names. Those of its own namespace come first; others count unless they
// say that they are for their namespace only.
// https://azure.github.io/aad-pod-identity/docs/configure/match_pods_in_namespace/
func (all identities) of(namespace, selector string) []azureIdentity {
	var own, foreign []azureIdentity
	for _, b := range all.bindings {
		i, ok := all.identities[b.Metadata.Namespace+"/"+b.Spec.AzureIdentity]
		if b.Spec.Selector != selector || selector == "" || !ok || i.Spec.ClientID == "" {
			continue
		}
		switch {
		case b.Metadata.Namespace == namespace:
			own = append(own, i)
		case i.Metadata.Annotations[behaviorKey] != "namespaced":
			foreign = append(foreign, i)
		}
	}
	return slices.CompactFunc(append(own, foreign...), func(a, b azureIdentity) bool { return a.name() == b.name() })
}
