package proxy

import (
	"net/http"
	"strings"

	"azwi/internal/finding"
	"azwi/internal/token/identitymap"
	"azwi/internal/token/imds"
)

// An Identity is what tokens are asked for.
type Identity = identitymap.Identity

// Identities say which identity a request gets.
type Identities struct {
	// Default is for requests that name none. Its ClientID may be empty: then
	// there is none. Its TenantID is required, and that of all identities which
	// are not mapped.
	Default Identity
	// Mapped are identities by what requests name them: object IDs, resource IDs,
	// other client IDs. The keys are in lower case; an empty TenantID is the
	// default one.
	Mapped map[string]Identity
	// Allowed are the only client IDs to serve, in lower case. Empty: any.
	Allowed []string
	// FallBack gives the default identity to object and resource IDs that are not
	// mapped, as the proxy of Azure/azure-workload-identity v1.6 did.
	FallBack bool
}

// ValidID reports whether s may be a client or tenant ID: a GUID, or a domain
// name. The exact form is Entra's business; what must not be is a path.
func ValidID(s string) bool {
	return s != "" && len(s) <= 256 && strings.Trim(s, ".") != "" &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == ""
}

// Resolve finds the identity of a request. It never takes another one than what
// the request names, unless FallBack says so.
func (ids Identities) Resolve(kind imds.IdentityKind, id string) (Identity, *imds.Error) {
	found, ok := Identity{}, false
	if kind != imds.DefaultIdentity {
		found, ok = ids.Mapped[strings.ToLower(id)]
	}
	switch {
	case ok:
	case kind == imds.ClientID:
		if !ValidID(id) {
			return Identity{}, unknownIdentity(finding.NotClientID(id))
		}
		found = Identity{ClientID: strings.ToLower(id)}
	case kind == imds.DefaultIdentity || ids.FallBack:
		if ids.Default.ClientID == "" {
			return Identity{}, unknownIdentity(finding.NoDefaultIdentity())
		}
		found = ids.Default
	default:
		return Identity{}, unknownIdentity(finding.IDNotMapped(id))
	}
	if found.TenantID == "" {
		found.TenantID = ids.Default.TenantID
	}
	if len(ids.Allowed) > 0 && !containsFold(ids.Allowed, found.ClientID) {
		return Identity{}, unknownIdentity(finding.ClientIDNotAllowed(found.ClientID))
	}
	return found, nil
}

func containsFold(list []string, s string) bool {
	for _, item := range list {
		if strings.EqualFold(item, s) {
			return true
		}
	}
	return false
}

// unknownIdentity begins as the answer of IMDS does: clients look for that.
func unknownIdentity(f finding.Finding) *imds.Error {
	return &imds.Error{Status: http.StatusBadRequest, Name: "invalid_request", Description: "Identity not found: " + f.Text()}
}
