package oidc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// DecodeClaims returns the claims of a JWT, for people to look at. Nothing is
// verified: anybody may have written them. The error never holds the token.
func DecodeClaims(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("the token is no JWT, so its claims can't be shown")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, errors.New("the token is no JWT, so its claims can't be shown")
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber() // times stay as they are written
	var claims map[string]any
	if decoder.Decode(&claims) != nil {
		return nil, errors.New("the token's claims are no JSON object")
	}
	return claims, nil
}
