package permission

import (
	"encoding/json"
	"errors"
	"fmt"

	"azwi/internal/jwt"
)

// A Caller is who is signed in, as far as the directory is concerned.
type Caller struct {
	// Kind is user or servicePrincipal.
	Kind string `json:"kind"`
	// ObjectID is the caller's own, ClientID that of the program that signed in.
	ObjectID string `json:"objectId"`
	ClientID string `json:"clientId,omitempty"`
	TenantID string `json:"tenantId,omitempty"`
	// AppRoles are the application permissions of Graph that a service principal
	// holds.
	AppRoles []string `json:"appRoles,omitempty"`
	// DirectoryRoles are template IDs of directory roles.
	DirectoryRoles []string `json:"directoryRoles,omitempty"`
}

// The kinds of a Caller.
const (
	kindUser             = "user"
	kindServicePrincipal = "servicePrincipal"
)

// readCaller takes the caller out of its own access token for Graph. Access
// tokens are for their audience to read; this is the one place where azwi looks
// into one, because a service principal can learn its roles in no other way
// without the right to read the directory. The signature is not checked: who has
// the token may ask anyhow, and Graph decides in the end.
// Source: https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
func readCaller(token string) (Caller, error) {
	payload, err := jwt.Payload(token)
	if err != nil {
		return Caller{}, fmt.Errorf("the access token of Graph: %w", err)
	}
	var claims struct {
		ObjectID string   `json:"oid"`
		ClientID string   `json:"appid"`
		TenantID string   `json:"tid"`
		Scopes   string   `json:"scp"`
		Roles    []string `json:"roles"`
		WIDs     []string `json:"wids"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.ObjectID == "" {
		return Caller{}, errors.New("the access token of Graph has no claims that azwi knows")
	}
	c := Caller{
		Kind: kindServicePrincipal, ObjectID: claims.ObjectID, ClientID: claims.ClientID, TenantID: claims.TenantID,
		AppRoles: claims.Roles, DirectoryRoles: claims.WIDs,
	}
	// Only what is delegated by a user has scopes.
	if claims.Scopes != "" {
		c.Kind, c.AppRoles = kindUser, nil
	}
	return c, nil
}
