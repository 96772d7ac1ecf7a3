package oidc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Payload returns the JSON of a JWT's claims, unverified. The error never holds the
// token, as the decoder's would.
func Payload(token string) ([]byte, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("the token is not a JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil, errors.New("the token is not a JWT")
	}
	return raw, nil
}

// DecodeClaims returns the claims of a JWT, for people to look at. Nothing is
// verified: anybody may have written them. The error never holds the token.
func DecodeClaims(token string) (map[string]any, error) {
	raw, err := Payload(token)
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
