package federation

import (
	"strings"

	"azwi/contract"
	"azwi/internal/azure/arm"
)

// An Identity is what has federated credentials: an application or a managed
// identity. One of the two is set.
type Identity struct {
	// Name is for people. It may be empty.
	Name string
	// ApplicationID is an application's object ID.
	ApplicationID string
	// ManagedIdentity is a managed identity's resource ID.
	ManagedIdentity arm.IdentityID
	// Fresh says that it was just created, so that it may not be known everywhere yet.
	Fresh bool
}

// IsApplication tells an application from a managed identity.
func (i Identity) IsApplication() bool { return i.ApplicationID != "" }

// ID is an application's object ID, or a managed identity's resource ID.
func (i Identity) ID() string {
	if i.IsApplication() {
		return i.ApplicationID
	}
	return i.ManagedIdentity.String()
}

// String names the identity in messages.
func (i Identity) String() string {
	kind, name := "managed identity ", i.ManagedIdentity.Name
	if i.IsApplication() {
		kind, name = "application ", i.ApplicationID
	}
	if i.Name != "" {
		name = i.Name
	}
	return kind + name
}

// key is the same for the same object. Resource IDs match whatever their case.
func (i Identity) key() string { return strings.ToLower(i.ID()) }

// A Credential is a federated identity credential.
type Credential struct {
	// Name can't be changed.
	Name string
	// Issuer and Subject are compared byte for byte. Subject is empty for
	// credentials with an expression in its place.
	Issuer, Subject string
	// Audience is the only one: Azure takes no more.
	Audience string
	// Description is empty on managed identities, which have none.
	Description string

	// id is Graph's, of a credential that was listed.
	id string
}

// Credential is the one that lets a service account use the identity, with the
// name and description that azwi gives it. file names the federation file that
// wants it and may be empty.
func (i Identity) Credential(namespace, account, issuer, audience, file string) Credential {
	c := Credential{Issuer: issuer, Subject: contract.Subject(namespace, account), Audience: audience}
	if i.IsApplication() {
		c.Name, c.Description = CredentialName(namespace, account, issuer), description(file)
		return c
	}
	c.Name = ManagedCredentialName(namespace, account, issuer)
	return c
}

const mark = "Made by azwi"

// description marks a credential as ours, and as whose file's.
func description(file string) string {
	if file == "" {
		return mark
	}
	return mark + " for federation " + file
}

// fileOf is the opposite of description; ok is false for descriptions of others.
func fileOf(description string) (file string, ok bool) {
	rest, ok := strings.CutPrefix(description, mark)
	if !ok || rest == "" {
		return "", ok
	}
	return strings.CutPrefix(rest, " for federation ")
}

// Named reports whether the credential's name is the one that azwi, upstream's
// too, gives to its issuer and subject on that identity.
func (i Identity) Named(c Credential) bool {
	namespace, account, ok := ParseSubject(c.Subject)
	return ok && i.Credential(namespace, account, c.Issuer, c.Audience, "").Name == c.Name
}

// Ours reports whether its name or description shows that azwi made a credential.
func (i Identity) Ours(c Credential) bool {
	_, marked := fileOf(c.Description)
	return marked || i.Named(c)
}

// Find looks for what already does what want shall do: a credential of the same
// issuer and subject, whatever its name, else one of its name.
func Find(existing []Credential, want Credential) (found Credential, ok bool) {
	for _, c := range existing {
		if c.Issuer == want.Issuer && c.Subject == want.Subject {
			return c, true
		}
	}
	for _, c := range existing {
		if c.Name == want.Name {
			return c, true
		}
	}
	return Credential{}, false
}

// Equivalent reports whether Azure takes the same tokens for both.
func (c Credential) Equivalent(other Credential) bool {
	return c.Issuer == other.Issuer && c.Subject == other.Subject && c.Audience == other.Audience
}
