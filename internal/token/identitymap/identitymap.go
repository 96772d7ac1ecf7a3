package identitymap

import (
	"fmt"
	"strings"

	"azwi/internal/guid"
)

// An Identity is what tokens are asked for.
type Identity struct {
	// ClientID of an application or managed identity.
	ClientID string
	// TenantID is where it lives: an ID or a domain.
	TenantID string
}

// Limits, in bytes.
const (
	// MaxID bounds an object, resource or client ID. Azure's resource IDs of
	// managed identities stay below 400.
	MaxID = 1000
	// maxTenant is that of a domain name.
	maxTenant = 253
)

// Pattern matches every pair that ParsePair takes and nothing else, in RE2 syntax:
// for admission policies, which can't call it.
//
// The characters of an ID are those of Azure's IDs. Kubernetes expands $(NAME) in
// arguments, and commas and semicolons separate pairs.
const Pattern = `^[A-Za-z0-9._~()/:@+-]{1,1000}=` +
	`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}` +
	`(@[A-Za-z0-9][A-Za-z0-9.-]{0,252})?$`

// An Error says which pair is wrong, and why.
type Error struct {
	// Pair is as written, and foreign text.
	Pair string
	// Problem says what is wrong and what to write instead. It quotes nothing of
	// the pair.
	Problem string
}

func (e *Error) Error() string { return fmt.Sprintf("identity %q: %s", e.Pair, e.Problem) }

// Parse reads pairs. The keys of the result are in lower case, as requests may
// write IDs in any case. Two pairs may name the same ID if they agree. The error is
// an *Error.
func Parse(pairs []string) (map[string]Identity, error) {
	ids := make(map[string]Identity, len(pairs))
	for _, pair := range pairs {
		id, identity, err := ParsePair(pair)
		if err != nil {
			return nil, err
		}
		if other, ok := ids[id]; ok && other != identity {
			return nil, &Error{pair, "another pair gives the same ID a different client ID or tenant: keep one of them"}
		}
		ids[id] = identity
	}
	return ids, nil
}

// ParsePair reads one pair, which has no blanks around it. The ID and the identity
// are in lower case. The error is an *Error.
func ParsePair(pair string) (id string, identity Identity, err error) {
	id, target, ok := strings.Cut(pair, "=")
	clientID, tenant, hasTenant := strings.Cut(target, "@")
	problem := ""
	switch {
	case !ok || id == "":
		problem = "write ID=CLIENT_ID or ID=CLIENT_ID@TENANT"
	case len(id) > MaxID || strings.Trim(id, alphanumeric+"._~()/:@+-") != "":
		problem = fmt.Sprintf("the ID before the equals sign must be an object, resource or client ID of at most %d letters, digits and characters of ._~()/:@+-", MaxID)
	case !guid.Valid(clientID):
		problem = "the client ID after the equals sign must be a GUID: write ID=CLIENT_ID or ID=CLIENT_ID@TENANT"
	case hasTenant && !IsTenant(tenant):
		problem = "the tenant after the @ must be a tenant ID or a domain name"
	default:
		return strings.ToLower(id), Identity{ClientID: strings.ToLower(clientID), TenantID: strings.ToLower(tenant)}, nil
	}
	return "", Identity{}, &Error{pair, problem}
}

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	hexadecimal  = "0123456789abcdefABCDEF"
)

// IsTenant reports whether s may be a tenant's ID or domain. Azure's SDKs allow the
// same characters; one that begins with a dot would be a path.
func IsTenant(s string) bool {
	return s != "" && len(s) <= maxTenant && strings.Trim(s, alphanumeric+".-") == "" && strings.IndexByte(alphanumeric, s[0]) >= 0
}
