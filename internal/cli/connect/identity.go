package connect

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/azure/arm"
	"azwi/internal/cli/command"
	"azwi/internal/identity/provision"
)

// Identity chooses one application or managed identity.
type Identity struct {
	Application   struct{ Name, clientID, objectID string }
	Managed       string
	resourceGroup string
}

// Register adds the flags.
func (o *Identity) Register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.Application.Name, "aad-application-name", "", "name of the application")
	f.StringVar(&o.Application.clientID, "aad-application-client-id", "", "client ID of the application")
	f.StringVar(&o.Application.objectID, "aad-application-object-id", "", "object ID of the application")
	f.StringVar(&o.Managed, "managed-identity", "", "name or resource ID of a managed identity")
	f.StringVar(&o.resourceGroup, "resource-group", "", "resource group of a managed identity given by name")
	command.InGroup(f, command.Identity, "aad-application-name", "managed-identity", "resource-group")
	command.InGroup(f, command.OtherIdentity, "aad-application-client-id", "aad-application-object-id")
}

// Given reports whether an identity is chosen.
func (o *Identity) Given() bool {
	return o.Managed != "" || o.Application.Name != "" || o.Application.clientID != "" || o.Application.objectID != ""
}

// Reference checks the flags together. It is empty if none is given.
func (o *Identity) Reference(session *Session) (provision.Reference, error) {
	a := o.Application
	if o.Managed == "" {
		if o.resourceGroup != "" {
			return provision.Reference{}, errors.New("--resource-group is that of a managed identity: give --managed-identity as well")
		}
		return provision.Reference{Name: a.Name, ClientID: a.clientID, ObjectID: a.objectID}, nil
	}
	if a.Name != "" || a.clientID != "" || a.objectID != "" {
		return provision.Reference{}, errors.New("give either --managed-identity or --aad-application-..., not both")
	}
	if strings.Contains(o.Managed, "/") {
		if o.resourceGroup != "" {
			return provision.Reference{}, errors.New("--managed-identity is a resource ID, which has its resource group: leave --resource-group out")
		}
		id, err := arm.ParseIdentityID(o.Managed)
		return provision.Reference{Managed: id}, err
	}
	switch {
	case o.resourceGroup == "":
		return provision.Reference{}, errors.New("--resource-group is required with the name of a managed identity; or give its resource ID")
	case session.Subscription == "":
		return provision.Reference{}, errors.New("--subscription-id is required with the name of a managed identity; or give its resource ID")
	}
	return provision.Reference{Managed: arm.IdentityID{Subscription: session.Subscription, ResourceGroup: o.resourceGroup, Name: o.Managed}}, nil
}
