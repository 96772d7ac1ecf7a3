package entra

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"azwi/contract"
)

// Presented is what an exchange presented: the claims of the assertion by which
// Entra looks for a federated credential, unverified, and the identity. Claims
// that can't be read, or are not printable, are empty.
type Presented struct {
	Issuer, Subject, Audience string
	ClientID, TenantID        string
}

func presented(r ExchangeRequest) Presented {
	p := Presented{ClientID: r.ClientID, TenantID: r.TenantID}
	segments := strings.Split(r.Assertion, ".")
	if len(segments) != 3 {
		return p
	}
	raw, err := base64.RawURLEncoding.DecodeString(segments[1])
	if err != nil {
		return p
	}
	var claims struct {
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return p
	}
	p.Issuer, p.Subject = printable(claims.Issuer), printable(claims.Subject)
	// aud is a string or a list (RFC 7519 section 4.1.3).
	var audiences []string
	var one string
	if json.Unmarshal(claims.Audience, &one) == nil {
		audiences = []string{one}
	} else if json.Unmarshal(claims.Audience, &audiences) != nil {
		audiences = nil
	}
	if len(audiences) > 0 {
		p.Audience = printable(audiences[0])
	}
	return p
}

// printable is s if it is what issuers, subjects and audiences are made of, and no
// longer than Entra takes; such a word needs no quotes in a shell.
func printable(s string) string {
	if len(s) > 600 || !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:/._~@%+=-]*$`).MatchString(s) {
		return ""
	}
	return s
}

// Advice is Explain's, with the names of what was presented: which credential is
// missing, and the command that creates it.
func (e *Error) Advice() string {
	p := e.Presented
	advice := Explain(e.Code).Advice
	switch e.Code {
	case 70021, 700211, 700212, 700213, 70025:
	default:
		return advice
	}
	if p.Issuer == "" || p.Subject == "" {
		return advice
	}
	audience := ""
	if p.Audience != "" {
		audience = " and audience " + p.Audience
	}
	missing := map[int]string{
		70021: "matches the token", 700211: "has this issuer", 700212: "has this audience", 700213: "has this subject", 70025: "exists on the identity",
	}[e.Code]
	namespace, account, ok := strings.Cut(strings.TrimPrefix(p.Subject, contract.SubjectPrefix), ":")
	if !ok || !strings.HasPrefix(p.Subject, contract.SubjectPrefix) {
		return fmt.Sprintf("no federated identity credential %s: the identity needs one with exactly what the token presents, issuer %s, subject %s%s; "+
			"a new credential needs some minutes to spread", missing, p.Issuer, p.Subject, audience)
	}
	command := fmt.Sprintf("azwi serviceaccount create --service-account-namespace %s --service-account-name %s --service-account-issuer-url %s", namespace, account, p.Issuer)
	if p.Audience != "" {
		command += " --audience " + p.Audience
	}
	if printable(p.ClientID) != "" {
		command += " --aad-application-client-id " + p.ClientID
	}
	if printable(p.TenantID) != "" {
		command += " --tenant-id " + p.TenantID
	}
	return fmt.Sprintf("no federated identity credential %s: create one for %s with issuer %s%s: %s (for a managed identity, "+
		"--managed-identity and its resource ID instead of --aad-application-client-id); a new credential needs some minutes to spread",
		missing, p.Subject, p.Issuer, audience, command)
}
