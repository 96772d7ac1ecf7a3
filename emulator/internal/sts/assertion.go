package sts

import (
	"context"
	"crypto/sha1" //nolint:gosec // x5t is defined as SHA-1 (RFC 7515 section 4.1.7)
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"azwi/emulator/internal/accesstoken"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/issuer"
	"azwi/internal/finding"
	"azwi/internal/token/entra"
)

const (
	// maxAssertionLife is how long an assertion may live at most.
	maxAssertionLife = 25 * time.Hour
	// skew is what clocks may differ by.
	skew = 5 * time.Minute
)

// An assertion is a parsed but unverified client assertion.
type assertion struct {
	signed *jose.JSONWebSignature
	alg    string
	kid    string
	claims claims
	// payload is what the claims were read from.
	payload []byte
}

type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expires   *numeric `json:"exp"`
	NotBefore *numeric `json:"nbf"`
	IssuedAt  *numeric `json:"iat"`
	// XMSMIRID and XMSFICInfo say how a token of Entra's was got: the one is in
	// tokens of managed identities, the other in those that a federated credential got.
	XMSMIRID   string `json:"xms_mirid"`
	XMSFICInfo string `json:"xms_ficinfo"`
}

// audience is a string or a list of strings (RFC 7519 section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// numeric is a time in seconds (RFC 7519 section 2).
type numeric time.Time

func (n *numeric) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > 1<<40 {
		return errors.New("time out of range")
	}
	*n = numeric(time.Unix(int64(seconds), 0))
	return nil
}

func (n *numeric) time() time.Time {
	if n == nil {
		return time.Time{}
	}
	return time.Time(*n)
}

// parseAssertion reads the shape of an assertion.
func parseAssertion(raw string) (assertion, *Error) {
	// The parser would skip white space. Whether Entra does is not public; being
	// strict finds a token file with a newline at its end before the cloud does.
	if strings.ContainsAny(raw, " \t\r\n") || strings.Count(raw, ".") != 2 {
		return assertion{}, fail(finding.AADSTSMalformed)
	}
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.HS256, jose.HS384, jose.HS512,
	})
	if err != nil || len(signed.Signatures) != 1 {
		return assertion{}, fail(finding.AADSTSMalformed)
	}
	header := signed.Signatures[0].Protected
	a := assertion{signed: signed, alg: header.Algorithm, kid: header.KeyID, payload: signed.UnsafePayloadWithoutVerification()}
	if json.Unmarshal(a.payload, &a.claims) != nil {
		return assertion{}, fail(finding.AADSTSMalformed)
	}
	if a.claims.Issuer == "" || a.claims.Subject == "" || len(a.claims.Audience) == 0 || a.claims.Expires == nil {
		return assertion{}, fail(finding.AADSTSMalformed)
	}
	return a, nil
}

// checkTime checks the assertion's lifetime.
func (a assertion) checkTime(now time.Time) *Error {
	from := a.claims.NotBefore.time()
	if from.IsZero() {
		from = a.claims.IssuedAt.time()
	}
	until := a.claims.Expires.time()
	if now.After(until.Add(skew)) || now.Add(skew).Before(from) {
		const layout = "2006-01-02T15:04:05.0000000Z"
		return fail(finding.AADSTSLifetime, now.UTC().Format(layout), from.UTC().Format(layout), until.UTC().Format(layout))
	}
	return nil
}

// checkLife refuses assertions that live too long.
func (a assertion) checkLife(now time.Time) *Error {
	issued := a.claims.IssuedAt.time()
	if issued.IsZero() {
		issued = a.claims.NotBefore.time()
	}
	if issued.IsZero() {
		issued = now
	}
	if a.claims.Expires.time().Sub(issued) > maxAssertionLife {
		return fail(finding.AADSTSLongLived)
	}
	return nil
}

// checkFederated decides whether an assertion of an external issuer stands for
// the client. The order of the checks is the one of protocol.md section D; the
// real one is not public.
func (h *Handler) checkFederated(ctx context.Context, client directory.Client, a assertion) *Error {
	c := a.claims
	clientID := client.AppID()
	if strings.TrimSpace(c.Issuer) != c.Issuer { // even if a credential has it so
		return fail(finding.AADSTSNoIssuer, c.Issuer)
	}
	view := h.Replicas.Read(clientID, client.Credentials())
	if code, ok := view.Remembered(c.Issuer, c.Subject); ok {
		return a.noMatch(code, client.Name())
	}
	credential, code := match(view.Credentials, a)
	if code != 0 {
		// A wrong audience is no miss: the replica knows issuer and subject.
		if code != finding.AADSTSNoAudience {
			view.Remember(c.Issuer, c.Subject, code)
		}
		return a.noMatch(code, client.Name())
	}
	if !slices.Contains(rsaAlgorithms(), jose.SignatureAlgorithm(a.alg)) {
		return a.unsupported(rsaAlgorithms())
	}
	key, e := h.issuerKey(ctx, credential.Issuer, a)
	if e != nil {
		return e
	}
	if _, err := a.signed.Verify(key); err != nil {
		return fail(finding.AADSTSSignature, "The key was found, but use of the key to verify the signature failed.")
	}
	if isEntra(c.Issuer) {
		switch {
		case client.Identity != nil:
			return fail(finding.AADSTSEntraToken)
		case c.XMSFICInfo != "":
			return fail(finding.AADSTSFederatedToken)
		case c.XMSMIRID == "":
			return fail(finding.AADSTSNoManagedIdentity)
		case !isExchange(credential.Audience):
			return fail(finding.AADSTSEntraAudience, credential.Audience)
		}
	}
	now := h.Now()
	if e := a.checkTime(now); e != nil {
		return e
	}
	if isEntra(c.Issuer) {
		return nil
	}
	return a.checkLife(now)
}

// rsaAlgorithms are those that Entra takes of external issuers. Its documentation
// promises RS256 alone; its answer lists them all.
// Source: https://github.com/AzureAD/microsoft-identity-web/issues/3467
func rsaAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
}

// unsupported is the error of an assertion that was signed with another algorithm.
func (a assertion) unsupported(taken []jose.SignatureAlgorithm) *Error {
	names := make([]string, len(taken))
	for i, name := range taken {
		names[i] = string(name)
	}
	return fail(finding.AADSTSAlgorithm, a.alg, strings.Join(names, ", "))
}

// noMatch is the error of an assertion that no federated credential covers.
func (a assertion) noMatch(code int, client string) *Error {
	switch code {
	case finding.AADSTSNoCredential:
		return fail(code, client)
	case finding.AADSTSNoIssuer:
		return fail(code, a.claims.Issuer)
	case finding.AADSTSNoAudience:
		return fail(code, a.claims.Audience[0])
	default:
		return fail(code, a.claims.Subject)
	}
}

// match finds the federated credential for an assertion, or the code of the
// error that says what is missing. Everything is compared exactly.
func match(credentials []directory.Credential, a assertion) (directory.Credential, int) {
	c := a.claims
	if len(credentials) == 0 {
		return directory.Credential{}, finding.AADSTSNoCredential
	}
	code := finding.AADSTSNoIssuer
	worse := func(to int) { // later checks tell more
		rank := []int{finding.AADSTSNoIssuer, finding.AADSTSNoSubject, finding.AADSTSNoExpression, finding.AADSTSSubjectCase, finding.AADSTSNoAudience}
		if slices.Index(rank, to) > slices.Index(rank, code) {
			code = to
		}
	}
	for _, f := range credentials {
		if f.Issuer != c.Issuer {
			continue
		}
		switch {
		case f.Expression != "":
			var all map[string]any
			if json.Unmarshal(a.payload, &all) != nil {
				worse(finding.AADSTSNoExpression)
				continue
			}
			if ok, err := directory.MatchExpression(f.Issuer, f.Expression, all); err != nil || !ok {
				worse(finding.AADSTSNoExpression)
				continue
			}
		case f.Subject != c.Subject:
			worse(finding.AADSTSNoSubject)
			if strings.EqualFold(f.Subject, c.Subject) {
				worse(finding.AADSTSSubjectCase)
			}
			continue
		}
		if !slices.Contains(c.Audience, f.Audience) {
			worse(finding.AADSTSNoAudience)
			continue
		}
		return f, 0
	}
	return directory.Credential{}, code
}

// issuerKey finds the key that an assertion names.
func (h *Handler) issuerKey(ctx context.Context, iss string, a assertion) (any, *Error) {
	if isEntra(iss) {
		set, err := h.Tokens.PublicKeys()
		if err != nil {
			return nil, fail(finding.AADSTSBusy)
		}
		if keys := set.Key(a.kid); len(keys) == 1 {
			return keys[0], nil
		}
		return nil, fail(finding.AADSTSSignature, "The key was not found.")
	}
	key, err := h.Issuers.Key(ctx, iss, a.kid)
	switch {
	case errors.Is(err, issuer.ErrKeys):
		return nil, fail(finding.AADSTSIssuerKeys)
	case errors.Is(err, issuer.ErrUnknownKey):
		return nil, fail(finding.AADSTSSignature, "The key was not found.")
	case err != nil:
		h.Logger.Warn("issuer's keys can't be fetched", "issuer", iss, "error", err)
		return nil, fail(finding.AADSTSIssuerUnreachable)
	}
	return key, nil
}

// isEntra reports whether an issuer is the token service itself.
func isEntra(iss string) bool {
	_, rest, ok := strings.Cut(iss, "https://")
	if !ok {
		return false
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == "sts.chinacloudapi.cn" { // of version 1; the other clouds' is an alias
		return true
	}
	t, ok := hosts.Lookup(host)
	return ok && t.Service == hosts.Authority
}

// isExchange reports whether a resource is the one for tokens that stand for
// another identity.
func isExchange(resource string) bool {
	return slices.ContainsFunc(entra.Clouds(), func(c entra.Cloud) bool { return strings.EqualFold(c.EntraAudience, resource) })
}

// checkCertificate decides whether an assertion signed with the key of a client
// certificate stands for the client.
func (h *Handler) checkCertificate(client directory.Client, a assertion, r *http.Request) *Error {
	if taken := []jose.SignatureAlgorithm{jose.RS256, jose.PS256}; !slices.Contains(taken, jose.SignatureAlgorithm(a.alg)) {
		return a.unsupported(taken)
	}
	cert, ok := a.certificate(client.Certificates())
	if !ok {
		return fail(finding.AADSTSSignature, "The key was not found.")
	}
	if _, err := a.signed.Verify(cert.PublicKey); err != nil {
		return fail(finding.AADSTSSignature, "The key was found, but use of the key to verify the signature failed.")
	}
	now := h.Now()
	if now.After(cert.NotAfter) || now.Before(cert.NotBefore) {
		return fail(finding.AADSTSSignature, "The key used is expired.")
	}
	if !slices.ContainsFunc(a.claims.Audience, func(aud string) bool { return sameEndpoint(aud, r) }) {
		return fail(finding.AADSTSAssertionAudience)
	}
	return a.checkTime(now)
}

// certificate finds the certificate by the thumbprints in the header. MSAL for Go
// writes them in plain base64 instead of base64url.
func (a assertion) certificate(known []directory.Certificate) (*x509.Certificate, bool) {
	header := a.signed.Signatures[0].Protected
	named := []string{a.kid}
	for _, name := range []jose.HeaderKey{"x5t", "x5t#S256"} {
		if v, ok := header.ExtraHeaders[name].(string); ok {
			named = append(named, strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(v))
		}
	}
	for _, c := range known {
		one, two := sha1.Sum(c.DER), sha256.Sum256(c.DER)
		encode := base64.RawURLEncoding.EncodeToString
		if !slices.Contains(named, encode(one[:])) && !slices.Contains(named, encode(two[:])) {
			continue
		}
		cert, err := x509.ParseCertificate(c.DER)
		return cert, err == nil
	}
	return nil, false
}

// sameEndpoint reports whether an audience is the token endpoint, or the
// authority, that the request came to. Any name of an authority will do.
func sameEndpoint(aud string, r *http.Request) bool {
	_, rest, ok := strings.Cut(aud, "https://")
	if !ok {
		return false
	}
	host, path, _ := strings.Cut(rest, "/")
	t, known := hosts.Lookup(host)
	if !hosts.IsLoopback(host) && !strings.EqualFold(host, r.Host) && (!known || t.Service != hosts.Authority) {
		return false
	}
	tenant, rest, _ := strings.Cut(path, "/")
	asked := strings.Trim(r.URL.Path, "/")
	switch strings.TrimSuffix(rest, "/") {
	case "", "v2.0", "oauth2/token", "oauth2/v2.0/token":
		return tenant != "" && (asked == tenant || strings.Contains("/"+asked, "/"+tenant+"/"))
	}
	return false
}

// grantOf are the claims of the access token for a client.
func grantOf(client directory.Client, tenant *directory.Tenant, sts string) accesstoken.Claims {
	p := client.Principal
	return accesstoken.Claims{
		Issuer: sts, IDP: sts, IDType: "app", ObjectID: p.ObjectID, Subject: p.ObjectID,
		TenantID: tenant.ID, AppID: p.AppID, AppIDACR: "2", AppDisplay: p.Name, Version: "1.0",
		WIDs: p.DirectoryRoles,
	}
}
