package federation

import (
	"strings"

	"azwi/internal/spelling"
)

// A Field is one of those by which Entra looks for a credential.
type Field string

// The fields of a credential.
const (
	FieldIssuer   Field = "issuer"
	FieldSubject  Field = "subject"
	FieldAudience Field = "audience"
)

// Match is how an identity's credentials compare with a wanted one.
type Match struct {
	// Credential is the one that is as wanted, or the nearest; its name is empty if none
	// is near.
	Credential Credential
	// Differs is the field that keeps it from being used; empty if none does.
	Differs Field
}

// Nearest finds the credential that is as wanted, or else one that differs in a single
// field: in the audience, in a subject that is much like it, or in the issuer.
func Nearest(existing []Credential, want Credential) Match {
	var audience, subject, issuer Match
	for _, c := range existing {
		sameIssuer, sameSubject, sameAudience := c.Issuer == want.Issuer, c.Subject == want.Subject, c.Audience == want.Audience
		switch {
		case sameIssuer && sameSubject && sameAudience:
			return Match{Credential: c}
		case sameIssuer && sameSubject:
			audience = Match{c, FieldAudience}
		case sameIssuer && sameAudience && alike(c.Subject, want.Subject):
			subject = Match{c, FieldSubject}
		case sameSubject && sameAudience && (issuer.Differs == "" || alike(c.Issuer, want.Issuer)):
			issuer = Match{c, FieldIssuer}
		}
	}
	for _, m := range []Match{audience, subject, issuer} {
		if m.Differs != "" {
			return m
		}
	}
	return Match{}
}

// alike reports whether one text was likely meant to be the other.
func alike(a, b string) bool {
	const most = 3
	namespace, account, ok := ParseSubject(a)
	otherNamespace, otherAccount, otherOK := ParseSubject(b)
	if ok && otherOK && namespace == otherAccount && account == otherNamespace {
		return true
	}
	if ok && otherOK {
		// Names are short, and orders is not orders2.
		return strings.EqualFold(a, b)
	}
	return spelling.Distance(strings.ToLower(a), strings.ToLower(b), most) <= most
}
