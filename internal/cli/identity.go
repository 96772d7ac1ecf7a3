package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/azure/arm"
	"azwi/internal/identity/provision"
)

// identityOptions choose one application or managed identity.
type identityOptions struct {
	application   struct{ name, clientID, objectID string }
	managed       string
	resourceGroup string
}

func (o *identityOptions) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.application.name, "aad-application-name", "", "name of the application")
	f.StringVar(&o.application.clientID, "aad-application-client-id", "", "client ID of the application")
	f.StringVar(&o.application.objectID, "aad-application-object-id", "", "object ID of the application")
	f.StringVar(&o.managed, "managed-identity", "", "name or resource ID of a managed identity, instead of an application")
	f.StringVar(&o.resourceGroup, "resource-group", "", "resource group of the managed identity, if that is given by name")
}

// given reports whether an identity is chosen.
func (o *identityOptions) given() bool {
	return o.managed != "" || o.application.name != "" || o.application.clientID != "" || o.application.objectID != ""
}

// reference checks the flags together. It is empty if none is given.
func (o *identityOptions) reference(session *azureSession) (provision.Reference, error) {
	a := o.application
	if o.managed == "" {
		if o.resourceGroup != "" {
			return provision.Reference{}, errors.New("--resource-group is that of a managed identity: give --managed-identity as well")
		}
		return provision.Reference{Name: a.name, ClientID: a.clientID, ObjectID: a.objectID}, nil
	}
	if a.name != "" || a.clientID != "" || a.objectID != "" {
		return provision.Reference{}, errors.New("give either --managed-identity or --aad-application-..., not both")
	}
	if strings.Contains(o.managed, "/") {
		if o.resourceGroup != "" {
			return provision.Reference{}, errors.New("--managed-identity is a resource ID, which has its resource group: leave --resource-group out")
		}
		id, err := arm.ParseIdentityID(o.managed)
		return provision.Reference{Managed: id}, err
	}
	switch {
	case o.resourceGroup == "":
		return provision.Reference{}, errors.New("--resource-group is required with the name of a managed identity; or give its resource ID")
	case session.subscription == "":
		return provision.Reference{}, errors.New("--subscription-id is required with the name of a managed identity; or give its resource ID")
	}
	return provision.Reference{Managed: arm.IdentityID{Subscription: session.subscription, ResourceGroup: o.resourceGroup, Name: o.managed}}, nil
}
