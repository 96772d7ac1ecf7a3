package finding

import (
	"net/http"
	"slices"
)

// An AzureRefusal is what an error of Resource Manager or Microsoft Graph means.
type AzureRefusal struct {
	// Codes of the error's body; if there are none, Status alone decides.
	Codes  []string
	Status int
	// Advice is one line that says what to do next.
	Advice string
}

// Source is the public page that has the codes.
func (r AzureRefusal) Source() string {
	if slices.Contains(r.Codes, "Authorization_RequestDenied") { // Graph's only one
		return "https://learn.microsoft.com/graph/errors"
	}
	return "https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors"
}

// AzureRefusals returns all that is known. Source: that of each, and public issue threads.
func AzureRefusals() []AzureRefusal {
	return []AzureRefusal{
		{[]string{"AuthorizationFailed", "LinkedAuthorizationFailed"}, 0, "the signed-in caller lacks a role at this scope: azwi permissions check names the roles that grant it; a role that was just granted takes some minutes"},
		{[]string{"Authorization_RequestDenied"}, 0, "the signed-in caller may not write this application: azwi permissions check names what is missing"},
		{[]string{"SubscriptionNotFound"}, 0, "check --subscription-id and --azure-env; a subscription without a role for the caller is not found either"},
		{[]string{"ResourceGroupNotFound"}, 0, "check --resource-group, or create it: az group create --name GROUP --location LOCATION"},
		{[]string{"InvalidAuthenticationTokenTenant"}, 0, "the subscription belongs to a different tenant from the one that the caller signed in to: give its --tenant-id"},
		{[]string{"InvalidAuthenticationTokenAudience"}, 0, "the token is for another cloud: check --azure-env and --resource-manager-audience"},
		{[]string{"RoleAssignmentLimitExceeded"}, 0, "the subscription has no room for another role assignment: remove some, or assign to a group"},
		{nil, http.StatusMethodNotAllowed, "if this is about federated credentials: the managed identity's region does not support them; create it in another"},
		{nil, http.StatusTooManyRequests, "Azure throttles these requests: run this command again in a few minutes; it does not repeat completed steps"},
	}
}

// AzureAdvice is one line that says what to do about a refusal; empty if nothing is
// known.
func AzureAdvice(status int, code string) string { return ExplainAzure(status, code).Advice }

// ExplainAzure returns what is known of a refusal; without advice if that is nothing.
func ExplainAzure(status int, code string) AzureRefusal {
	for _, r := range AzureRefusals() {
		if slices.Contains(r.Codes, code) || len(r.Codes) == 0 && r.Status == status {
			return r
		}
	}
	return AzureRefusal{}
}
