package provision

import (
	"context"
	"fmt"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/graph"
	"azwi/internal/azure/permission"
	"azwi/internal/finding"
)

// A Reference says which identity is meant: a managed identity, or an application
// by what is known of it.
type Reference struct {
	// Managed is a managed identity's resource ID.
	Managed arm.IdentityID
	// Name, ClientID and ObjectID are an application's. Name is what a new one is
	// called; it is not looked for if one of the others is given.
	Name, ClientID, ObjectID string
	// PrincipalID is the object ID of the identity's service principal, and
	// PrincipalName its display name. Optional; they help where an application
	// can't be read.
	PrincipalID, PrincipalName string
}

// IsManaged tells a managed identity from an application.
func (r Reference) IsManaged() bool { return r.Managed != arm.IdentityID{} }

// String names what is meant in messages.
func (r Reference) String() string {
	switch {
	case r.IsManaged():
		return "managed identity " + r.Managed.String()
	case r.ObjectID != "":
		return "application with object ID " + r.ObjectID
	case r.ClientID != "":
		return "application with client ID " + r.ClientID
	}
	return fmt.Sprintf("application %q", r.Name)
}

// An Identity is one that exists.
type Identity struct {
	// Kind is application or managedIdentity.
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	// ClientID is what pods sign in with, PrincipalID what roles are assigned to.
	ClientID    string `json:"clientId,omitempty"`
	PrincipalID string `json:"principalId,omitempty"`
	// ObjectID is an application's.
	ObjectID string `json:"objectId,omitempty"`
	// ResourceID is a managed identity's.
	ResourceID string `json:"resourceId,omitempty"`
	// TenantID is a managed identity's.
	TenantID string `json:"tenantId,omitempty"`
}

// The kinds of an Identity.
const (
	KindApplication     = "application"
	KindManagedIdentity = "managedIdentity"
)

// MaxApplicationName bounds an application's display name, in characters.
// Source: Graph's answer to a longer one: it names this limit of displayName.
const MaxApplicationName = 120

// Azure has the clients of the steps in Azure. Every field is required.
type Azure struct {
	Graph *graph.Client
	ARM   *arm.Client
}

// An AmbiguousError says that a name is that of several objects.
type AmbiguousError struct {
	Kind, Name string
	// Flag tells them apart with one of IDs.
	Flag string
	IDs  []string
}

func (e *AmbiguousError) Error() string {
	return finding.NameAmbiguous(e.Kind, e.Name, e.Flag, e.IDs).Text()
}

// Find looks the identity up; found is false if there is none. What the
// reference says already is not asked for.
func (a Azure) Find(ctx context.Context, r Reference) (identity Identity, found bool, err error) {
	switch {
	case r.IsManaged():
		identity, err = a.findManaged(ctx, r.Managed)
	case r.ObjectID != "" && r.ClientID != "":
		return Identity{Kind: KindApplication, Name: r.Name, ClientID: r.ClientID, ObjectID: r.ObjectID}, true, nil
	default:
		var app graph.Application
		if app, err = a.application(ctx, r); err == nil && app.ObjectID == "" {
			return Identity{}, false, nil
		}
		identity = Identity{Kind: KindApplication, Name: app.Name, ClientID: app.ClientID, ObjectID: app.ObjectID}
	}
	if azure.NotFound(err) {
		// The group or the subscription may be what is missing.
		if _, code := azure.StatusOf(err); code == "ResourceGroupNotFound" || code == "SubscriptionNotFound" {
			return Identity{}, false, err
		}
		return Identity{}, false, nil
	}
	if err != nil {
		return Identity{}, false, fmt.Errorf("look for %s: %w", r, err)
	}
	return identity, true, nil
}

func (a Azure) findManaged(ctx context.Context, id arm.IdentityID) (Identity, error) {
	found, err := a.ARM.Identity(ctx, id)
	return ManagedIdentity(found), err
}

// ManagedIdentity is what Resource Manager says of one.
func ManagedIdentity(i arm.Identity) Identity {
	return Identity{
		Kind: KindManagedIdentity, Name: i.ID.Name, ClientID: i.ClientID, PrincipalID: i.PrincipalID,
		ResourceID: i.ID.String(), TenantID: i.TenantID,
	}
}

// application is without ObjectID if there is none of that name.
func (a Azure) application(ctx context.Context, r Reference) (graph.Application, error) {
	switch {
	case r.ObjectID != "":
		return a.Graph.ApplicationByObjectID(ctx, r.ObjectID)
	case r.ClientID != "":
		return a.Graph.ApplicationByClientID(ctx, r.ClientID)
	}
	found, err := a.Graph.ApplicationsByName(ctx, r.Name)
	switch {
	case err != nil || len(found) == 0:
		return graph.Application{}, err
	case len(found) > 1:
		ambiguous := &AmbiguousError{Kind: "application", Name: r.Name, Flag: "--aad-application-client-id"}
		for _, app := range found {
			ambiguous.IDs = append(ambiguous.IDs, app.ClientID)
		}
		return graph.Application{}, ambiguous
	}
	return found[0], nil
}

// Needs lists what creating or writing the identity and its federated
// credentials takes. found is what Find said.
func Needs(r Reference, identity Identity, found bool) []permission.Need {
	switch {
	case r.IsManaged():
		var needs []permission.Need
		scope, actions := r.Managed.String(), []string{"read", "federatedIdentityCredentials/read", "federatedIdentityCredentials/write"}
		if !found {
			// There is nothing yet at which permissions could be asked for.
			scope, actions = r.Managed.Group(), append(actions, "write")
		}
		for _, action := range actions {
			needs = append(needs, permission.Need{Action: managedIdentities + action, Scope: scope})
		}
		return needs
	case found:
		return []permission.Need{{Directory: permission.UpdateApplication, Application: identity.ObjectID}}
	}
	return []permission.Need{{Directory: permission.CreateApplication}}
}

// DeletionNeeds lists what deleting the federated credential takes and, with
// whole, deleting the identity.
func DeletionNeeds(r Reference, identity Identity, whole bool) []permission.Need {
	if !r.IsManaged() {
		write := permission.UpdateApplication
		if whole {
			write = permission.DeleteApplication
		}
		return []permission.Need{{Directory: write, Application: identity.ObjectID}}
	}
	actions := []string{"read", "federatedIdentityCredentials/read", "federatedIdentityCredentials/delete"}
	if whole {
		actions = append(actions, "delete")
	}
	var needs []permission.Need
	for _, action := range actions {
		needs = append(needs, permission.Need{Action: managedIdentities + action, Scope: r.Managed.String()})
	}
	return needs
}

const managedIdentities = "Microsoft.ManagedIdentity/userAssignedIdentities/"

// RoleNeeds lists what assigning a role by its name takes, or removing the
// assignment.
func RoleNeeds(scope string, remove bool) []permission.Need {
	actions := []string{"roleDefinitions/read", "roleAssignments/write"}
	if remove {
		actions = []string{"roleAssignments/delete"}
	}
	var needs []permission.Need
	for _, action := range actions {
		needs = append(needs, permission.Need{Action: "Microsoft.Authorization/" + action, Scope: scope})
	}
	return needs
}
