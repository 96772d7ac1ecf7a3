package finding

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"azwi/contract"
)

// Presented is what a token request presented: the claims of the assertion by which
// Entra looks for a federated credential, unverified, and the identity. What can't be
// shown is empty; a subject may have spaces.
type Presented struct {
	Issuer, Subject, Audience string
	ClientID, TenantID        string
}

// Showable is p without the claims that are not printable, or longer than Entra takes.
func (p Presented) Showable() Presented {
	p.Issuer, p.Subject, p.Audience = printable(p.Issuer), line(p.Subject), printable(p.Audience)
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

// line is s if it can be shown on one line and is no longer than Entra takes. A GitHub
// environment, for one, may have spaces in its name.
func line(s string) string {
	if len(s) > 600 || strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }) {
		return ""
	}
	return s
}

// Advice is Explain's, for what was presented: which credential is missing, and for a
// service account the command that creates it.
func (p Presented) Advice(code int) string {
	namespace, account, ok := p.serviceAccount()
	if !ok {
		return p.advice(code)
	}
	return p.podAdvice(code, namespace, account)
}

// serviceAccount is the one whose token was presented.
func (p Presented) serviceAccount() (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(p.Subject, contract.SubjectPrefix)
	if !ok || printable(rest) == "" {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	return namespace, name, ok && namespace != "" && name != "" && !strings.Contains(name, ":")
}

// missing says what a credential lacks, by the code of the error; empty for
// errors of another kind.
func missing(code int) string {
	switch code {
	case AADSTSNoMatch:
		return "matches the token"
	case AADSTSNoIssuer:
		return "has this issuer"
	case AADSTSNoAudience:
		return "has this audience"
	case AADSTSNoSubject:
		return "has this subject"
	case AADSTSNoCredential:
		return "exists on the identity"
	}
	return ""
}

// advice is for the token of any issuer.
func (p Presented) advice(code int) string {
	general := Explain(code).Advice
	if p.Issuer == "" || p.Subject == "" {
		return general
	}
	subject := p.Subject
	if printable(subject) == "" {
		subject = strconv.Quote(subject)
	}
	named := "issuer " + p.Issuer + ", subject " + subject
	switch code {
	case AADSTSSubjectCase, AADSTSNoExpression:
		return general + "; the token presents " + named + p.hint()
	}
	lacks := missing(code)
	if lacks == "" {
		return general
	}
	if p.Audience != "" {
		named += " and audience " + p.Audience
	}
	return "no federated identity credential " + lacks + ": the identity needs one with exactly what the token presents, " + named + p.hint() +
		"; a new credential takes a few minutes to replicate"
}

// hint says what is special about the subjects of the issuer.
func (p Presented) hint() string {
	const github = "https://token.actions.githubusercontent.com"
	if p.Issuer != github && !strings.HasPrefix(p.Issuer, github+"/") {
		return ""
	}
	repository, _, _ := strings.Cut(strings.TrimPrefix(p.Subject, "repo:"), ":")
	switch {
	case !strings.HasPrefix(p.Subject, "repo:"):
		return ""
	case regexp.MustCompile(`^[^@/]+@[0-9]+/[^@/]+@[0-9]+$`).MatchString(repository):
		return " (this repository's subjects are immutable, that is with the numbers of owner and repository, as of those that were created since July 2026: a credential with the names alone does not match)"
	}
	return " (this repository's subjects have the names alone: a credential for immutable ones, repo:OWNER@ID/NAME@ID:..., matches only once they are turned on at GitHub)"
}

// podAdvice is for the token of a service account.
func (p Presented) podAdvice(code int, namespace, account string) string {
	switch code {
	case AADSTSLongLived:
		return "the token is valid for more than 25 hours: set the service account token's expiration to at most 86400 seconds"
	case AADSTSUnknownClient, 700011:
		return "the client ID is not known in this tenant: check the annotations azure.workload.identity/client-id and tenant-id on the service account"
	case AADSTSLifetime, 50013, 500133:
		return "the token has expired or is not valid yet: read the token file again for every exchange, and check the node's clock"
	case 7000272:
		return "the key that signed the token is not in the issuer's JWKS: publish the cluster's current keys"
	case 5002730, AADSTSAlgorithm:
		return "the token is signed with an algorithm that Entra does not accept: it takes RSA keys only, so give the API server an RSA key (--service-account-signing-key-file) and publish its public key"
	case 90016:
		return "the assertion lacks a required claim: present the service account's token as the API server issued it"
	case AADSTSIssuerKeys:
		return "the issuer's JWKS can't be parsed: publish what the API server serves at /openid/v1/jwks"
	}
	lacks := missing(code)
	if lacks == "" {
		return p.advice(code)
	}
	issuer, audience := "", ""
	command := fmt.Sprintf("azwi serviceaccount create --service-account-namespace %s --service-account-name %s", namespace, account)
	if p.Issuer != "" {
		issuer = " with issuer " + p.Issuer
		command += " --service-account-issuer-url " + p.Issuer
	}
	if p.Audience != "" {
		audience = " and audience " + p.Audience
		command += " --audience " + p.Audience
	}
	if printable(p.ClientID) != "" {
		command += " --aad-application-client-id " + p.ClientID
	}
	if printable(p.TenantID) != "" {
		command += " --tenant-id " + p.TenantID
	}
	return fmt.Sprintf("no federated identity credential %s: create one for %s%s%s: %s (for a managed identity, "+
		"--managed-identity and its resource ID instead of --aad-application-client-id); a new credential takes a few minutes to replicate",
		lacks, p.Subject, issuer, audience, command)
}
