// The gosdk command is an application that uses Azure's Go SDK: it takes a
// credential from its environment, reads a secret, and with -arm manages an
// identity with a federated credential and a role assignment.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/uuid"
)

type options struct {
	credential, certificate string
	direct                  bool
	vault, arm              string
	subscription, group     string
}

func main() {
	var o options
	flag.StringVar(&o.credential, "credential", "workload", "workload, secret, certificate or managed")
	flag.StringVar(&o.certificate, "certificate", "", "PEM file of the client certificate and its key")
	flag.BoolVar(&o.direct, "direct", false, "AZURE_AUTHORITY_HOST is no host of Microsoft")
	flag.StringVar(&o.vault, "vault", "", "URL of the vault")
	flag.StringVar(&o.arm, "arm", "", "manage an identity through Resource Manager at this URL")
	flag.StringVar(&o.subscription, "subscription", "", "subscription ID")
	flag.StringVar(&o.group, "group", "", "resource group")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) //nolint:forbidigo // this is main
	defer cancel()
	out, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		os.Exit(1)
	}
}

func (o options) token() (azcore.TokenCredential, error) {
	tenant, client := os.Getenv("AZURE_TENANT_ID"), os.Getenv("AZURE_CLIENT_ID")
	switch o.credential {
	case "workload":
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{DisableInstanceDiscovery: o.direct})
	case "secret":
		return azidentity.NewClientSecretCredential(tenant, client, os.Getenv("AZURE_CLIENT_SECRET"),
			&azidentity.ClientSecretCredentialOptions{DisableInstanceDiscovery: o.direct})
	case "certificate":
		pem, err := os.ReadFile(o.certificate)
		if err != nil {
			return nil, err
		}
		certs, key, err := azidentity.ParseCertificates(pem, nil)
		if err != nil {
			return nil, err
		}
		return azidentity.NewClientCertificateCredential(tenant, client, certs, key,
			&azidentity.ClientCertificateCredentialOptions{DisableInstanceDiscovery: o.direct})
	case "managed":
		return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(client)})
	}
	return nil, fmt.Errorf("unknown credential %q", o.credential)
}

func run(ctx context.Context, o options) (map[string]any, error) {
	credential, err := o.token()
	if err != nil {
		return nil, err
	}
	secrets, err := azsecrets.NewClient(o.vault, credential, &azsecrets.ClientOptions{DisableChallengeResourceVerification: o.direct})
	if err != nil {
		return nil, err
	}
	secret, err := secrets.GetSecret(ctx, "greeting", "", nil)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"secret": *secret.Value}
	names := 0
	for pager := secrets.NewListSecretPropertiesPager(nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		names += len(page.Value)
	}
	out["secrets"] = names
	if o.arm != "" {
		return out, o.manage(ctx, credential, out)
	}
	return out, nil
}

// manage makes an identity, federates it, gives it a role and deletes all again.
func (o options) manage(ctx context.Context, credential azcore.TokenCredential, out map[string]any) error {
	options := &arm.ClientOptions{DisableRPRegistration: true}
	if o.direct {
		options.Cloud = cloud.Configuration{
			ActiveDirectoryAuthorityHost: os.Getenv("AZURE_AUTHORITY_HOST"),
			Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: {Audience: "https://management.azure.com", Endpoint: o.arm}},
		}
	}
	identities, err := armmsi.NewUserAssignedIdentitiesClient(o.subscription, credential, options)
	if err != nil {
		return err
	}
	credentials, err := armmsi.NewFederatedIdentityCredentialsClient(o.subscription, credential, options)
	if err != nil {
		return err
	}
	assignments, err := armauthorization.NewRoleAssignmentsClient(o.subscription, credential, options)
	if err != nil {
		return err
	}
	identity, err := identities.CreateOrUpdate(ctx, o.group, "gosdk", armmsi.Identity{Location: new("westeurope")}, nil)
	if err != nil {
		return err
	}
	for i := range 5 {
		_, err := credentials.CreateOrUpdate(ctx, o.group, "gosdk", fmt.Sprintf("fic-%d", i), armmsi.FederatedIdentityCredential{
			Properties: &armmsi.FederatedIdentityCredentialProperties{
				Issuer: new("https://cluster.example"), Subject: new(fmt.Sprintf("system:serviceaccount:ns:sa-%d", i)),
				Audiences: []*string{new("api://AzureADTokenExchange")},
			},
		}, nil)
		if err != nil {
			return err
		}
	}
	listed := 0
	for pager := credentials.NewListPager(o.group, "gosdk", nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return err
		}
		listed += len(page.Value)
	}
	out["credentials"] = listed
	scope := "/subscriptions/" + o.subscription
	assignment, err := assignments.Create(ctx, scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			RoleDefinitionID: new(scope + "/providers/Microsoft.Authorization/roleDefinitions/4633458b-17de-408a-b874-0445c86b69e6"),
			PrincipalID:      identity.Properties.PrincipalID, PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal),
		},
	}, nil)
	if err != nil {
		return err
	}
	if _, err := assignments.DeleteByID(ctx, *assignment.ID, nil); err != nil {
		return err
	}
	if _, err := credentials.Delete(ctx, o.group, "gosdk", "fic-0", nil); err != nil {
		return err
	}
	_, err = identities.Delete(ctx, o.group, "gosdk", nil)
	return err
}
