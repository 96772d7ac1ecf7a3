package directory

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"unicode/utf8"
)

// Limits of federated identity credentials. Source: "Important considerations
// and restrictions for federated identity credentials", Microsoft Entra docs.
const (
	MaxCredentials     = 20
	MaxCredentialField = 600
)

// What can be wrong with a federated credential.
var (
	ErrCredentialName      = errors.New("invalid name")
	ErrCredentialField     = errors.New("invalid field")
	ErrCredentialDuplicate = errors.New("issuer and subject exist already")
	ErrCredentialTooMany   = errors.New("too many federated credentials")
)

// validName tells whether a credential may have this name: 3 to 120 characters.
// Graph, which manages those of applications, also allows the equals signs that
// padded base64 names end in.
func validName(name string, graph bool) bool {
	if len(name) < 3 || len(name) > 120 {
		return false
	}
	for i, r := range []byte(name) {
		letter := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		mark := r == '-' || r == '_' || graph && r == '='
		// Upstream's azwi makes base64url names for Graph, so some begin with a mark.
		first := letter || graph && r != '='
		if !letter && !mark || i == 0 && !first {
			return false
		}
	}
	return true
}

// Check reports what is wrong with a credential in itself. An application's may
// have an expression, and in its name the characters that only Microsoft Graph
// allows; a managed identity's may not.
func (c Credential) Check(application bool) error {
	switch {
	case !validName(c.Name, application):
		return fmt.Errorf("%w: %q", ErrCredentialName, c.Name)
	case c.Issuer == "":
		return fmt.Errorf("%w: issuer is missing", ErrCredentialField)
	case c.Subject == "" && c.Expression == "":
		return fmt.Errorf("%w: subject is missing", ErrCredentialField)
	case c.Subject != "" && c.Expression != "":
		return fmt.Errorf("%w: subject and claimsMatchingExpression exclude each other", ErrCredentialField)
	case c.Audience == "":
		return fmt.Errorf("%w: audience is missing", ErrCredentialField)
	}
	if c.Expression != "" {
		if !application {
			return ErrIdentityExpression
		}
		if err := CheckExpression(c.Issuer, c.Expression); err != nil {
			return fmt.Errorf("%w: %w", ErrCredentialField, err)
		}
	}
	for _, f := range []struct{ name, value string }{
		{"issuer", c.Issuer}, {"subject", c.Subject}, {"audience", c.Audience}, {"description", c.Description}, {"claimsMatchingExpression", c.Expression},
	} {
		if utf8.RuneCountInString(f.value) > MaxCredentialField {
			return fmt.Errorf("%w: %s is longer than %d characters", ErrCredentialField, f.name, MaxCredentialField)
		}
	}
	if u, err := url.Parse(c.Issuer); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("%w: issuer is not a URL", ErrCredentialField)
	}
	return nil
}

// WithCredential returns a copy of list where c replaces the credential of its
// name or is added, and the replaced one. The order of names is kept.
func WithCredential(list []Credential, c Credential) (with []Credential, before *Credential, err error) {
	at := -1
	for i, other := range list {
		if other.Name == c.Name {
			at = i
			continue
		}
		if other.Issuer == c.Issuer && other.Subject == c.Subject && other.Expression == c.Expression {
			return nil, nil, fmt.Errorf("%w: %s has issuer %q and subject %q", ErrCredentialDuplicate, other.Name, c.Issuer, c.Subject)
		}
	}
	with = slices.Clone(list)
	if at >= 0 {
		old := list[at]
		with[at] = c
		return with, &old, nil
	}
	if len(list) >= MaxCredentials {
		return nil, nil, fmt.Errorf("%w: an object has at most %d", ErrCredentialTooMany, MaxCredentials)
	}
	return append(with, c), nil, nil
}

// WithoutCredential returns a copy of list without the credential of this name,
// and that credential if there was one.
func WithoutCredential(list []Credential, name string) (without []Credential, removed *Credential) {
	for i, c := range list {
		if c.Name == name {
			return slices.Delete(slices.Clone(list), i, i+1), &c
		}
	}
	return list, nil
}

// ValidSecretName tells whether a vault's secret may have this name.
func ValidSecretName(name string) bool {
	if name == "" || len(name) > 127 {
		return false
	}
	for _, r := range []byte(name) {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' {
			return false
		}
	}
	return true
}
