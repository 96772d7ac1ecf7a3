package provision

import (
	"context"
	"fmt"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/graph"
	"azwi/internal/identity/federation"
)

// Resolved is whose a client ID is.
type Resolved struct {
	// Identity has no PrincipalID if the application has no service principal.
	Identity Identity
	Found    bool
	// ByObjectID says that the GUID is an object ID; Identity is whose.
	ByObjectID bool
}

// Resolve finds the identity of a client ID, whatever its kind. It asks Microsoft Graph
// alone: a managed identity's service principal names its resource.
// Source: https://learn.microsoft.com/graph/api/resources/serviceprincipal (alternativeNames)
func (a Azure) Resolve(ctx context.Context, clientID string) (Resolved, error) {
	principal, err := a.Graph.ServicePrincipalByClientID(ctx, clientID)
	if err == nil {
		return a.resolved(ctx, principal)
	}
	if !azure.NotFound(err) {
		return Resolved{}, fmt.Errorf("look for the service principal of %s: %w", clientID, err)
	}
	app, err := a.Graph.ApplicationByClientID(ctx, clientID)
	if err == nil {
		return Resolved{Identity: ofApplication(app), Found: true}, nil
	}
	if !azure.NotFound(err) {
		return Resolved{}, fmt.Errorf("look for the application of %s: %w", clientID, err)
	}
	if principal, err = a.Graph.ServicePrincipalByObjectID(ctx, clientID); err == nil {
		found, err := a.resolved(ctx, principal)
		found.ByObjectID = true
		return found, err
	}
	if app, err = a.Graph.ApplicationByObjectID(ctx, clientID); err == nil {
		return Resolved{Identity: ofApplication(app), Found: true, ByObjectID: true}, nil
	}
	if !azure.NotFound(err) {
		return Resolved{}, fmt.Errorf("look for the object %s: %w", clientID, err)
	}
	return Resolved{}, nil
}

func (a Azure) resolved(ctx context.Context, principal graph.ServicePrincipal) (Resolved, error) {
	if principal.Type == "ManagedIdentity" {
		identity := Identity{Kind: KindManagedIdentity, Name: principal.Name, ClientID: principal.ClientID, PrincipalID: principal.ObjectID}
		for _, name := range principal.AlternativeNames {
			if id, err := arm.ParseIdentityID(name); err == nil {
				identity.Name, identity.ResourceID = id.Name, id.String()
			}
		}
		return Resolved{Identity: identity, Found: true}, nil
	}
	identity := Identity{Kind: KindApplication, Name: principal.Name, ClientID: principal.ClientID}
	app, err := a.Graph.ApplicationByClientID(ctx, principal.ClientID)
	switch {
	case err == nil:
		identity = ofApplication(app)
	case !azure.NotFound(err): // an application of another tenant has its principal alone here
		return Resolved{}, fmt.Errorf("look for the application of %s: %w", principal.ClientID, err)
	}
	identity.PrincipalID = principal.ObjectID
	return Resolved{Identity: identity, Found: true}, nil
}

func ofApplication(app graph.Application) Identity {
	return Identity{Kind: KindApplication, Name: app.Name, ClientID: app.ClientID, ObjectID: app.ObjectID}
}

// Federated is the identity as package federation names it; ok is false if it has no
// credentials that can be read: an application of another tenant, or an identity that the
// cloud assigns.
func (i Identity) Federated() (identity federation.Identity, ok bool) {
	if i.Kind == KindApplication {
		return federation.Identity{Name: i.Name, ApplicationID: i.ObjectID}, i.ObjectID != ""
	}
	id, err := arm.ParseIdentityID(i.ResourceID)
	return federation.Identity{Name: i.Name, ManagedIdentity: id}, err == nil
}
