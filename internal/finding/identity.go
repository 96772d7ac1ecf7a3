package finding

import (
	"fmt"
	"strings"
)

// What keeps identities and their federated credentials from being found or written.

// ApplicationMissing is an application ID that the tenant does not know.
func ApplicationMissing(id string) Finding {
	return found(CodeApplicationMissing, Subject{}, "there is no application %s in this tenant: correct the ID, or sign in to its tenant", id)
}

// ApplicationGone is an application that was there when its ID was looked up.
func ApplicationGone() Finding {
	return found(CodeApplicationMissing, Subject{}, "there is no such application in this tenant: correct its ID, or sign in to its tenant")
}

// ApplicationUnnamed is an application name that the tenant does not know.
func ApplicationUnnamed(name string) Finding {
	return found(CodeApplicationMissing, Subject{}, "there is no application named %q in this tenant: create it, or correct the name", name)
}

// ApplicationToCreate is an application (with its ID) that can't be made, since an ID is
// Entra's to give.
func ApplicationToCreate(application fmt.Stringer) Finding {
	return found(CodeApplicationMissing, Subject{}, "there is no %s in this tenant: check the ID and --tenant-id, or give --aad-application-name to create one", application)
}

// ApplicationAmbiguous is a name of several applications; by is what tells them apart.
func ApplicationAmbiguous(count int, name, by string) Finding {
	return found(CodeApplicationAmbiguous, Subject{}, "%d applications are named %q: say which one by its %s", count, name, by)
}

// NameAmbiguous is a name of several objects of a kind; the flag tells them apart by one of
// the IDs.
func NameAmbiguous(kind, name, flag string, ids []string) Finding {
	return found(CodeApplicationAmbiguous, Subject{}, "%d %ss are named %q: say which one by %s: %s", len(ids), kind, name, flag, strings.Join(ids, ", "))
}

// RoleMissing is a role that is not there at a scope; nearest is the one that may be meant,
// or empty.
func RoleMissing(role, scope, nearest string) Finding {
	advice := "az role definition list --query '[].roleName' shows all names"
	if nearest != "" {
		advice = fmt.Sprintf("did you mean %q?", nearest)
	}
	return found(CodeRoleMissing, Subject{}, "there is no role named %q at %s: %s", role, scope, advice)
}

// SubscriptionUnknown is a subscription whose tenant can't be found out.
func SubscriptionUnknown(subscription string) Finding {
	return found(CodeTenantUnknown, Subject{}, "find the tenant of subscription %s: there is no such subscription in this cloud", subscription)
}

// ApplicationNameTooLong is a default name that Entra does not take.
func ApplicationNameTooLong(length, most int) Finding {
	return found(CodeApplicationName, Subject{},
		"the application's default name (namespace, service account and a hash of the issuer) has %d characters, and Entra takes at most %d: give a shorter one with --aad-application-name",
		length, most)
}

// ManagedIdentityMissing is a managed identity that is not there.
func ManagedIdentityMissing() Finding {
	return found(CodeManagedIdentityMissing, Subject{}, "there is no such managed identity: correct its resource ID, or create it (az identity create)")
}

// ManagedIdentityToCreate is the same for a command that can make it.
func ManagedIdentityToCreate(identity fmt.Stringer) Finding {
	return found(CodeManagedIdentityMissing, Subject{}, "there is no %s: create it with --create-managed-identity, or az identity create", identity)
}

// IdentityNotMade is an identity that another phase of the command makes.
func IdentityNotMade(identity fmt.Stringer, phase string) Finding {
	return found(CodeIdentityNotMade, Subject{}, "there is no %s: create it with azwi serviceaccount create phase %s", identity, phase)
}

// PrincipalNotMade is an identity without a service principal, which that phase makes too.
func PrincipalNotMade(identity fmt.Stringer, phase string) Finding {
	return found(CodeIdentityNotMade, Subject{}, "%s has no service principal: create it with azwi serviceaccount create phase %s", identity, phase)
}

// TenantUnknown is a command that needs the tenant's ID.
func TenantUnknown() Finding {
	return found(CodeTenantUnknown, Subject{}, "the tenant is not known: give --tenant-id, or --subscription-id to find it out")
}

// CredentialLimit is an identity that can't hold what is wanted.
func CredentialLimit(identity fmt.Stringer, have, adding, removing, most int) Finding {
	and := ""
	if removing > 0 {
		and = fmt.Sprintf(", %d to remove", removing)
	}
	return found(CodeCredentialLimit, Subject{}, "%s can't hold that: it has %d federated credentials, %d to add%s, and %d is Azure's limit; "+
		"remove unused ones (azwi federation apply --prune; azwi federation prune for clusters that are gone), spread the service accounts over more identities, or, on AKS, use an identity binding",
		identity, have, adding, and, most)
}

// CredentialsNotGranted is a caller who may not write an identity's credentials.
func CredentialsNotGranted(application bool) Finding {
	advice := "ask for the role Managed Identity Contributor on it"
	if application {
		advice = "ask to become the application's owner, or for the role Cloud Application Administrator or the permission Application.ReadWrite.OwnedBy"
	}
	return found(CodeCredentialsNotGranted, Subject{}, "not permitted: %s", advice)
}

// RegionWithoutCredentials is a managed identity where Azure has no federated credentials.
func RegionWithoutCredentials() Finding {
	return found(CodeRegion, Subject{}, "its region has no federated credentials: create an identity in another region")
}

const runLater = "run the command again later"

// CredentialsContested is an identity that others write all the time.
func CredentialsContested() Finding {
	return found(CodeAzureBusy, Subject{}, "another caller keeps changing its federated credentials: %s", runLater)
}

// AzureThrottles is an Azure that refused every try.
func AzureThrottles() Finding {
	return found(CodeAzureBusy, Subject{}, "Azure keeps refusing because of too many requests: %s", runLater)
}

// OfIdentity is a finding about an identity of several.
func OfIdentity(identity fmt.Stringer, f Finding) Finding {
	f.text = identity.String() + ": " + f.text
	return f
}

// CredentialOfFile is a credential that stays, since another federation file made it.
func CredentialOfFile(file string) Finding {
	return found(CodeCredentialKept, Subject{}, "federation %s made it", file)
}

// CredentialOfOthers is one that stays, whoever made it.
func CredentialOfOthers() Finding {
	return found(CodeCredentialKept, Subject{}, "azwi did not make it")
}

// CredentialOfOtherCluster is one that stays until it is pruned by its own command.
func CredentialOfOtherCluster() Finding {
	return found(CodeCredentialKept, Subject{}, "its cluster is not in the file; azwi federation prune removes it")
}

// CredentialNotInFile is one that stays until it is pruned.
func CredentialNotInFile() Finding {
	return found(CodeCredentialKept, Subject{}, "it is not in the file; --prune removes it")
}

// CredentialWithExpression is one that can't be moved to another issuer.
func CredentialWithExpression() Finding {
	return found(CodeCredentialKept, Subject{}, "it has an expression in place of a subject; move it by hand")
}

// NewIssuerMissing is a subject whose credential of the old issuer can't go yet.
func NewIssuerMissing(subject string) Finding {
	return found(CodeIssuerNotMoved, Subject{}, "%s of the new issuer is not there yet; run the command without --drop-old first", subject)
}

// IssuerNotFound are two issuers that no credential has; the suggestion names the one that
// may be meant.
func IssuerNotFound(from, to, suggestion string) Finding {
	return found(CodeIssuerNotFound, Subject{}, "no credential has the issuer %s, or %s%s", from, to, suggestion)
}

// IssuerSpelledOtherwise is an issuer that credentials have with or without a slash.
func IssuerSpelledOtherwise(issuer, other string, credentials int) Finding {
	return found(CodeIssuerNotFound, Subject{}, "no credential has the issuer %s, but %d have %s: issuers are compared byte for byte", issuer, credentials, other)
}

// OtherCluster is a context of the kubeconfig (empty: its current one) that is not the
// cluster of the file.
func OtherCluster(context, issuer string) Finding {
	which := "the kubeconfig's current context"
	if context != "" {
		which = "context " + context
	}
	return found(CodeOtherCluster, Subject{}, "%s is a cluster whose issuer is %s; name the right one in the file, as context", which, issuer)
}
