package finding

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Pasted text is an error or a log line that a person gives: which codes are in it, and
// what it says of the token.
type Pasted struct {
	// AADSTS are the numbers after AADSTS, Azure the codes of Resource Manager and Graph,
	// Codes those of the catalogue, each once and in the order of the text.
	AADSTS []int
	Azure  []string
	Codes  []Code
	// Presented is what the text says of the token and the identity.
	Presented Presented
}

// ReadPasted looks for what is known in a text. A text that is one code alone may leave
// AADSTS out, and write it in any case.
func ReadPasted(text string) Pasted {
	var p Pasted
	text = strings.TrimSpace(text)
	if number, err := strconv.Atoi(text); err == nil && number > 0 {
		p.AADSTS = []int{number}
		return p
	}
	for _, match := range regexp.MustCompile(`(?i)\bAADSTS([0-9]{5,8})\b`).FindAllStringSubmatch(text, -1) {
		if number, err := strconv.Atoi(match[1]); err == nil && !slices.Contains(p.AADSTS, number) {
			p.AADSTS = append(p.AADSTS, number)
		}
	}
	for _, word := range regexp.MustCompile(`[A-Za-z][A-Za-z_-]*[A-Za-z]`).FindAllString(text, -1) {
		for _, refusal := range AzureRefusals() {
			for _, code := range refusal.Codes {
				if (code == word || word == text && strings.EqualFold(code, word)) && !slices.Contains(p.Azure, code) {
					p.Azure = append(p.Azure, code)
				}
			}
		}
		// A word such as issuer is a code only where it stands as one.
		if _, ok := Find(Code(word)); ok && !slices.Contains(p.Codes, Code(word)) && (word == text || strings.Contains(word, "-")) {
			p.Codes = append(p.Codes, Code(word))
		}
	}
	p.Presented = namesIn(text)
	return p
}

// namesIn reads what Entra's messages say of the assertion and the identity, and the
// variables and claims that people paste beside them.
func namesIn(text string) Presented {
	const guid = `([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})`
	first := func(patterns ...string) string {
		for _, pattern := range patterns {
			if match := regexp.MustCompile(pattern).FindStringSubmatch(text); match != nil {
				return match[1]
			}
		}
		return ""
	}
	return Presented{
		Issuer:   first(`(?i)assertion issuer:? '([^']+)'`, `"iss": ?"([^"]+)"`),
		Subject:  first(`(?i)assertion subject:? '([^']+)'`, `"sub": ?"([^"]+)"`, `(system:serviceaccount:[a-z0-9.-]+:[a-z0-9.-]+)`),
		Audience: first(`(?i)assertion audience:? '([^']+)'`, `"aud": ?\[?"([^"]+)"`),
		ClientID: first(`(?i)application with identifier '`+guid, `AZURE_CLIENT_ID[=: '"]+`+guid, `(?i)application '`+guid),
		TenantID: first(`(?i)in the directory '`+guid, `AZURE_TENANT_ID[=: '"]+`+guid, `(?i)tenant '`+guid),
	}.Showable()
}

// A Cause is one of the usual ones of an error, with how to check it.
type Cause struct {
	Cause string `json:"cause"`
	Check string `json:"check"`
}

// AboutIssuer reports whether an AADSTS code says that the token can't be verified by what
// its issuer publishes.
func AboutIssuer(code int) bool {
	return slices.Contains([]int{AADSTSIssuerUnreachable, AADSTSIssuerKeys, 7000272, 501661, 90061, AADSTSSignature}, code)
}

// AboutCredential reports whether an AADSTS code says that no federated credential fits the
// token.
func AboutCredential(code int) bool { return missing(code) != "" || code == AADSTSSubjectCase }

// Causes lists the usual causes of an AADSTS code in the order in which to check them,
// the most frequent first; none where Explain says it all.
func (p Presented) Causes(code int) []Cause {
	account, name, namespace := "NAMESPACE/NAME", "NAME", "NAMESPACE"
	if ns, n, ok := p.serviceAccount(); ok {
		account, name, namespace = ns+"/"+n, n, ns
	}
	claims := "azwi token --service-account " + account + " --assertion --decode"
	annotations := "kubectl get serviceaccount " + name + " -n " + namespace + " -o yaml"
	switch {
	case missing(code) != "":
		return []Cause{
			{"the credential does not exist, or is on a different identity from the one that the client ID names", "azwi federation list --application CLIENT_ID (or --managed-identity), and the annotation client-id in: " + annotations},
			{"the credential's subject names another namespace or service account, or the two in the wrong order", "compare it with sub in: " + claims},
			{"the credential's issuer differs from the token's, by a slash at the end, or because the cluster was created again", "compare it with iss in: " + claims},
			{"the credential's audience is not the token's", "compare it with aud in: " + claims},
			{"the credential was just created, and has not replicated yet", "azwi wait --service-account " + account},
		}
	case code == AADSTSUnknownClient || code == 700011 || code == AADSTSNoPrincipal:
		return []Cause{
			{"the client ID is an object ID or a resource ID, or that of an identity that was deleted or created again", "az ad sp show --id CLIENT_ID, and the annotation client-id in: " + annotations},
			{"the identity is in a different tenant from the one in the token request", "the annotation tenant-id in the same object; without it, the installation's tenant: azwi status"},
			{"the application has no service principal", "az ad sp show --id CLIENT_ID"},
			{"the identity was just created, and has not replicated yet", "azwi wait --new-identity --service-account " + account},
		}
	case slices.Contains(Explain(AADSTSLifetime).Codes, code):
		return []Cause{
			{"the application keeps the service account's token instead of reading the file again for each exchange", "restart the pod: if that helps for an hour, this is it"},
			{"the node's clock is wrong", "compare date on the node with the time in the error"},
		}
	case AboutIssuer(code):
		return []Cause{
			{"the signing key was rotated, and the published JWKS still has the old one", "compare kid in: " + claims + ", with the keys at jwks_uri"},
			{"the discovery document is not public: a private address, a login page, a redirect, or a certificate that is not trusted", "curl -v ISSUER/.well-known/openid-configuration from outside your network"},
			{"the issuer in the discovery document differs from its URL", "compare issuer in it with iss in: " + claims},
		}
	case slices.Contains(Explain(AADSTSAssertionAudience).Codes, code):
		return []Cause{
			{"the authority is that of another cloud", "AZURE_AUTHORITY_HOST in the container"},
			{"the token's audience differs from the credential's", "compare it with aud in: " + claims},
		}
	}
	return nil
}
