package provision

import (
	"slices"
	"time"

	"azwi/contract"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/permission"
	"azwi/internal/identity/federation"
)

// A Phase is a part of a run, by upstream's name.
type Phase string

// The phases, in the order of creation; deletion goes backwards.
const (
	PhaseIdentity   Phase = "aad-application"
	PhaseAccount    Phase = "service-account"
	PhaseCredential Phase = "federated-identity"
	PhaseRole       Phase = "role-assignment"
)

// A Request says what to create or delete for one service account.
type Request struct {
	// Remove deletes what otherwise is created.
	Remove bool
	// Phases are those to run, in the order of the run.
	Phases []Phase
	// Reference is the identity. Without a managed identity, a name and IDs it is the
	// application that is named after the service account and the issuer.
	Reference Reference
	// Namespace and Account name the service account.
	Namespace, Account string
	// TenantID is the caller's; empty takes a managed identity's own.
	TenantID string
	// TokenExpiration is as in Account.
	TokenExpiration time.Duration
	// Issuer and Audience are the credential's. Default: the cluster's issuer, and the
	// audience of its pods' tokens.
	Issuer, Audience string
	// CompareIssuer finds out the cluster's issuer also if Issuer is given.
	CompareIssuer bool
	// Role is the name of the role to assign at Scope.
	Role, Scope string
	// Assignment is the resource ID of the role assignment to delete. Default: the one
	// of Role at Scope.
	Assignment string
	// CreateManaged allows to create a managed identity, at Location (default: the
	// region of its resource group).
	CreateManaged bool
	Location      string
	// DeleteManaged deletes the managed identity too. It may be others' as well.
	DeleteManaged bool
	// Tags are for a service principal that is created.
	Tags []string
}

func (r Request) runs(phase Phase) bool { return slices.Contains(r.Phases, phase) }

// unnamed reports whether the identity is named after the service account.
func (r Request) unnamed() bool {
	i := r.Reference
	return !i.IsManaged() && i.Name == "" && i.ClientID == "" && i.ObjectID == ""
}

// hasPrincipal reports whether the request says itself who gets the role.
func (r Request) hasPrincipal() bool {
	return r.Reference.PrincipalID != "" || r.Reference.PrincipalName != ""
}

// given is what the request says of an application.
func (r Request) given() Identity {
	return Identity{Kind: KindApplication, ClientID: r.Reference.ClientID, ObjectID: r.Reference.ObjectID}
}

// suffices reports whether the phases can do with what the request says of the
// identity, so that the caller need not be allowed to read it.
func (r Request) suffices() bool {
	given := r.given()
	if r.Remove {
		return !r.runs(PhaseIdentity) &&
			(!r.runs(PhaseCredential) || len(r.Phases) == 1 && given.ObjectID != "") &&
			(!r.runs(PhaseRole) || r.Assignment != "" || r.hasPrincipal())
	}
	return !r.runs(PhaseIdentity) &&
		(!r.runs(PhaseAccount) || given.ClientID != "") &&
		(!r.runs(PhaseCredential) || given.ObjectID != "") &&
		(!r.runs(PhaseRole) || given.ClientID != "" || r.hasPrincipal())
}

// removesIdentity reports whether the identity itself goes.
func (r Request) removesIdentity() bool {
	return r.Remove && r.runs(PhaseIdentity) && (!r.Reference.IsManaged() || r.DeleteManaged)
}

// account is the service account as it shall be.
func (r Request) account(identity Identity) Account {
	a := Account{
		Namespace: r.Namespace, Name: r.Account, ClientID: identity.ClientID, TenantID: r.TenantID, TokenExpiration: r.TokenExpiration,
	}
	if a.TenantID == "" {
		a.TenantID = identity.TenantID
	}
	return a
}

// credential is the federated credential that the identity shall have.
func (r Request) credential(s Seen, identity Identity) (federation.Identity, federation.Credential) {
	i := federation.Identity{Name: identity.Name, ApplicationID: identity.ObjectID}
	if i.ApplicationID == "" {
		i.ManagedIdentity = r.Reference.Managed
	}
	return i, i.Credential(r.Namespace, r.Account, s.Issuer, s.Audience, "")
}

// needs are the rights in Azure that the run takes.
func (r Request) needs(s Seen) []permission.Need {
	var needs []permission.Need
	switch writes := r.runs(PhaseIdentity) || r.runs(PhaseCredential); {
	case !r.Remove && writes:
		needs = Needs(s.Reference, s.Identity, s.Found)
	case r.Remove && s.Found && (r.runs(PhaseCredential) || r.removesIdentity()):
		needs = DeletionNeeds(s.Reference, s.Identity, r.removesIdentity())
	}
	scope := r.Scope
	if r.Assignment != "" {
		scope, _, _ = arm.ParseAssignmentID(r.Assignment)
	}
	if r.runs(PhaseRole) && scope != "" {
		needs = append(needs, RoleNeeds(scope, r.Remove)...)
	}
	return needs
}

// newClientID stands for that of an identity that is still to be made.
const newClientID = "00000000-0000-0000-0000-000000000000"

// subject is that of the service account's tokens.
func (r Request) subject() string { return contract.Subject(r.Namespace, r.Account) }
