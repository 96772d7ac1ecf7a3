package oidc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"azwi/internal/jwt"
)

// DecodeClaims returns the claims of a JWT, for people to look at. Nothing is
// verified: anybody may have written them. The error never holds the token.
func DecodeClaims(token string) (map[string]any, error) {
	raw, err := jwt.Payload(token)
	if err != nil {
		return nil, fmt.Errorf("%w, so its claims can't be shown", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber() // times stay as they are written
	var claims map[string]any
	if decoder.Decode(&claims) != nil {
		return nil, errors.New("the token's claims are not a JSON object")
	}
	return claims, nil
}
