package arm

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/wire"
)

// resources are subscriptions, tenants, resource groups and the registration of
// providers.
func (h *Handler) resources(r *request) (answer, error) {
	s := r.segments
	first, second := strings.ToLower(s[0]), ""
	if len(s) > 2 {
		second = strings.ToLower(s[2])
	}
	switch {
	case first == "tenants" && len(s) == 1:
		return h.tenants(r)
	case first == "subscriptions" && len(s) == 1:
		return h.subscriptions(r)
	case r.subscription == nil:
	case len(s) == 2:
		if err := h.allow(r, "Microsoft.Resources/subscriptions/read", r.scope); err != nil {
			return answer{}, err
		}
		return ok(subscriptionBody(r.subscription))
	case second == "resourcegroups" && len(s) == 3:
		return h.listGroups(r)
	case second == "resourcegroups" && len(s) == 4:
		return h.oneGroup(r, s[3])
	case second == "providers" && len(s) == 4:
		return ok(map[string]any{
			"id": "/subscriptions/" + r.subscription.ID + "/providers/" + s[3], "namespace": s[3],
			"registrationState": "Registered", "registrationPolicy": "RegistrationRequired", "resourceTypes": []any{},
		})
	case second == "locations" && len(s) == 3:
		return ok(map[string]any{"value": []any{map[string]any{
			"id": "/subscriptions/" + r.subscription.ID + "/locations/westeurope", "name": "westeurope", "displayName": "West Europe", "type": "Region",
			"regionalDisplayName": "(Europe) West Europe",
		}}})
	}
	return answer{}, fail(http.StatusNotFound, "ResourceNotFound", "azwi-emulator: Resource Manager has nothing at '%s'.", r.target.Path)
}

func (h *Handler) tenants(r *request) (answer, error) {
	var t *directory.Tenant
	h.Directory.View(func(s *directory.State) { t, _ = s.Tenant(r.caller.TenantID) })
	if t == nil {
		return ok(map[string]any{"value": []any{}})
	}
	return ok(map[string]any{"value": []any{map[string]any{
		"id": "/tenants/" + t.ID, "tenantId": t.ID, "displayName": t.Name, "defaultDomain": t.Domain, "tenantCategory": "Home", "domains": []string{t.Domain},
	}}})
}

func subscriptionBody(s *directory.Subscription) any {
	return map[string]any{
		"id": "/subscriptions/" + s.ID, "subscriptionId": s.ID, "displayName": s.Name, "tenantId": s.TenantID, "state": "Enabled",
		"authorizationSource": "RoleBased", "managedByTenants": []any{},
		"subscriptionPolicies": map[string]any{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
	}
}

// subscriptions lists those in which the caller has any role.
func (h *Handler) subscriptions(r *request) (answer, error) {
	var found []*directory.Subscription
	h.Directory.View(func(s *directory.State) {
		for _, sub := range directory.Sorted(s.Subscriptions) {
			if sub.TenantID == r.caller.TenantID && s.HasRoleIn(r.caller.ObjectID, "/subscriptions/"+sub.ID) {
				found = append(found, sub)
			}
		}
	})
	return page(r, found, func(s *directory.Subscription) any { return subscriptionBody(s) })
}

func groupBody(g *directory.ResourceGroup) any {
	tags := g.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return map[string]any{
		"id": g.ID(), "name": g.Name, "type": "Microsoft.Resources/resourceGroups", "location": g.Location, "tags": tags,
		"properties": map[string]any{"provisioningState": "Succeeded"},
	}
}

func (h *Handler) listGroups(r *request) (answer, error) {
	if r.Method != http.MethodGet {
		return answer{}, notAllowed(r)
	}
	if err := h.allow(r, "Microsoft.Resources/subscriptions/resourceGroups/read", "/subscriptions/"+r.subscription.ID); err != nil {
		return answer{}, err
	}
	var found []*directory.ResourceGroup
	h.Directory.View(func(s *directory.State) {
		for _, g := range directory.Sorted(s.Groups) {
			if g.SubscriptionID == r.subscription.ID {
				found = append(found, g)
			}
		}
	})
	return page(r, found, func(g *directory.ResourceGroup) any { return groupBody(g) })
}

func (h *Handler) oneGroup(r *request, name string) (answer, error) {
	actions := map[string]string{http.MethodGet: "read", http.MethodHead: "read", http.MethodPut: "write", http.MethodDelete: "delete"}
	action, known := actions[r.Method]
	if !known {
		return answer{}, notAllowed(r)
	}
	if err := h.allow(r, "Microsoft.Resources/subscriptions/resourceGroups/"+action, r.scope); err != nil {
		return answer{}, err
	}
	wanted := &directory.ResourceGroup{SubscriptionID: r.subscription.ID, Name: name}
	key := directory.Key(wanted.ID())
	if r.Method == http.MethodPut {
		return h.putGroup(r, wanted, key)
	}
	var found *directory.ResourceGroup
	h.Directory.View(func(s *directory.State) { found = s.Groups[key] })
	switch {
	case found == nil:
		return answer{}, fail(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
	case r.Method == http.MethodHead:
		return answer{status: http.StatusNoContent}, nil
	case r.Method == http.MethodGet:
		return ok(groupBody(found))
	}
	return answer{status: http.StatusOK}, h.Directory.Update(func(s *directory.State) error {
		for _, i := range slices.Collect(maps.Values(s.Identities)) {
			if directory.Within(i.ID(), found.ID()) {
				s.DeleteIdentity(i)
			}
		}
		for _, v := range slices.Collect(maps.Values(s.Vaults)) {
			if directory.Within(v.ID(), found.ID()) {
				s.DeleteVault(v)
			}
		}
		delete(s.Groups, key)
		return nil
	})
}

func (h *Handler) putGroup(r *request, wanted *directory.ResourceGroup, key string) (answer, error) {
	var body struct {
		Location string            `json:"location"`
		Tags     map[string]string `json:"tags"`
	}
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	if body.Location == "" {
		return answer{}, fail(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	}
	status := http.StatusCreated
	wanted.Location, wanted.Tags = location(body.Location), body.Tags
	err := h.Directory.Update(func(s *directory.State) error {
		if old, exists := s.Groups[key]; exists {
			status = http.StatusOK
			wanted.Name, wanted.Location = old.Name, old.Location
		}
		s.Groups[key] = wanted
		return nil
	})
	return answer{status, groupBody(wanted)}, err
}

const vaultType = "Microsoft.KeyVault/vaults"

// keyVault reads vaults; their secrets are in package vault.
func (h *Handler) keyVault(r *request) (answer, error) {
	s := r.segments
	if r.subscription == nil || !strings.EqualFold(s[0], "vaults") || len(s) > 2 {
		return answer{}, fail(http.StatusNotFound, "InvalidResourceType", "The resource type could not be found in the namespace 'Microsoft.KeyVault'.")
	}
	if r.Method != http.MethodGet {
		return answer{}, notAllowed(r)
	}
	if err := h.allow(r, vaultType+"/read", r.scope); err != nil {
		return answer{}, err
	}
	if len(s) == 2 {
		var v *directory.Vault
		h.Directory.View(func(st *directory.State) {
			v, _ = st.VaultByID(directory.Vault{SubscriptionID: r.subscription.ID, ResourceGroup: r.group, Name: s[1]}.ID())
		})
		if v == nil {
			return answer{}, noResource(r, vaultType+"/"+s[1])
		}
		return ok(vaultBody(r, v))
	}
	var found []*directory.Vault
	h.Directory.View(func(st *directory.State) {
		for _, v := range directory.Sorted(st.Vaults) {
			if directory.Within(v.ID(), r.scope) {
				found = append(found, v)
			}
		}
	})
	return page(r, found, func(v *directory.Vault) any { return vaultBody(r, v) })
}

func vaultBody(r *request, v *directory.Vault) any {
	uri := "https://" + strings.ToLower(v.Name) + "." + r.target.Cloud.VaultSuffix + "/"
	if r.target.Base != r.target.Cloud.ResourceManager { // direct mode
		uri = r.target.Base + "/vaults/" + v.Name + "/"
	}
	return map[string]any{
		"id": v.ID(), "name": v.Name, "type": vaultType, "location": v.Location, "tags": map[string]string{},
		"properties": map[string]any{
			"tenantId": v.TenantID, "vaultUri": uri, "enableRbacAuthorization": true, "accessPolicies": []any{},
			"sku": map[string]string{"family": "A", "name": "standard"}, "provisioningState": "Succeeded",
		},
	}
}
