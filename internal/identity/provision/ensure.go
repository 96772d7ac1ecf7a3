package provision

import (
	"context"
	"fmt"
	"net/http"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/graph"
)

// CreateApplication creates an application of that name. It does not look for
// one: Find does.
func (a Azure) CreateApplication(ctx context.Context, name string) (Identity, error) {
	app, err := a.Graph.CreateApplication(ctx, name)
	if err != nil {
		return Identity{}, fmt.Errorf("create application %q: %w", name, err)
	}
	return Identity{Kind: KindApplication, Name: app.Name, ClientID: app.ClientID, ObjectID: app.ObjectID}, nil
}

// Tags mark a service principal as upstream's azwi does.
func Tags(namespace, account, version string) []string {
	return []string{fmt.Sprintf("serviceAccount: %s-%s", namespace, account), "azwi version: " + version}
}

// EnsurePrincipal finds the application's service principal or creates it, and
// returns its object ID.
func (a Azure) EnsurePrincipal(ctx context.Context, identity Identity, tags []string) (objectID string, created bool, err error) {
	found, err := a.Graph.ServicePrincipalByClientID(ctx, identity.ClientID)
	if err == nil {
		return found.ObjectID, false, nil
	}
	if !azure.NotFound(err) {
		return "", false, fmt.Errorf("look for the service principal of application %s: %w", identity.ClientID, err)
	}
	var principal graph.ServicePrincipal
	// An application that was just created is not known everywhere yet.
	err = azure.Retry{New: http.StatusBadRequest}.Do(ctx, func(ctx context.Context) (err error) {
		principal, err = a.Graph.CreateServicePrincipal(ctx, identity.ClientID, tags...)
		return err
	})
	if status, _ := azure.StatusOf(err); status == http.StatusConflict {
		// Somebody else was as quick.
		if found, findErr := a.Graph.ServicePrincipalByClientID(ctx, identity.ClientID); findErr == nil {
			return found.ObjectID, false, nil
		}
	}
	if err != nil {
		return "", false, fmt.Errorf("create the service principal of application %s: %w", identity.ClientID, err)
	}
	return principal.ObjectID, true, nil
}

// FindPrincipal returns the object ID of the identity's service principal, or of
// the one that the reference names; empty if there is none.
func (a Azure) FindPrincipal(ctx context.Context, r Reference, identity Identity) (objectID string, err error) {
	switch {
	case r.PrincipalID != "":
		return r.PrincipalID, nil
	case identity.PrincipalID != "":
		return identity.PrincipalID, nil
	case r.PrincipalName != "":
		found, err := a.Graph.ServicePrincipalsByName(ctx, r.PrincipalName)
		if err != nil || len(found) == 0 {
			return "", err
		}
		if len(found) > 1 {
			ambiguous := &AmbiguousError{Kind: "service principal", Name: r.PrincipalName, Flag: "--service-principal-object-id"}
			for _, p := range found {
				ambiguous.IDs = append(ambiguous.IDs, p.ObjectID)
			}
			return "", ambiguous
		}
		return found[0].ObjectID, nil
	case identity.ClientID == "":
		return "", nil
	}
	found, err := a.Graph.ServicePrincipalByClientID(ctx, identity.ClientID)
	if azure.NotFound(err) {
		return "", nil
	}
	return found.ObjectID, err
}

// CreateManaged creates a managed identity, in its resource group's location
// unless another is given.
func (a Azure) CreateManaged(ctx context.Context, id arm.IdentityID, location string) (Identity, error) {
	if location == "" {
		var err error
		if location, err = a.ARM.GroupLocation(ctx, id.Subscription, id.ResourceGroup); err != nil {
			return Identity{}, fmt.Errorf("find out where to create the managed identity: %w; or give --location", err)
		}
	}
	created, err := a.ARM.CreateIdentity(ctx, id, location)
	return ManagedIdentity(created), err
}

// Delete deletes the identity; an application's service principal goes with it.
// One that is gone is no error.
func (a Azure) Delete(ctx context.Context, r Reference, identity Identity) error {
	if r.IsManaged() {
		return a.ARM.DeleteIdentity(ctx, r.Managed)
	}
	if err := a.Graph.DeleteApplication(ctx, identity.ObjectID); err != nil && !azure.NotFound(err) {
		return fmt.Errorf("delete %s: %w", r, err)
	}
	return nil
}
