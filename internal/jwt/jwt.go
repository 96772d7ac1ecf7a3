package jwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// ErrForm says that a text does not have the form of a signed JWT.
var ErrForm = errors.New("the token is not a JWT")

// Check reports, as ErrForm, a text that is not three parts of base64url (RFC 7519
// section 3, JWS compact serialization). What the parts say is not looked at.
func Check(token string) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ErrForm
	}
	for _, part := range parts {
		if part == "" || strings.Trim(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return ErrForm
		}
	}
	return nil
}

// Payload returns the claims of a JWT as JSON, unverified, or ErrForm.
func Payload(token string) ([]byte, error) { return part(token, 1) }

// KeyID returns the kid of a JWT's header, unverified, or ErrForm. It is empty if the
// header has none.
func KeyID(token string) (string, error) {
	raw, err := part(token, 0)
	if err != nil {
		return "", err
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if json.Unmarshal(raw, &header) != nil {
		return "", ErrForm
	}
	return header.KeyID, nil
}

// part decodes one of the three parts.
func part(token string, i int) ([]byte, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, ErrForm
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "="))
	if err != nil {
		return nil, ErrForm // the decoder's error may quote the token
	}
	return raw, nil
}
