package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"azwi/internal/httpsurl"
)

// A Publication is what an issuer publishes.
type Publication struct {
	// Issuer is the one that the discovery document names, byte for byte.
	Issuer string
	// JWKSURI is where the document says that the keys are.
	JWKSURI string
	// KeyIDs are those of the keys that Entra takes: RSA keys of at least 2048 bits.
	KeyIDs []string
	// Others counts the keys that it does not take.
	Others int
}

// A PublicationProblem is a kind of what keeps a document from being read.
type PublicationProblem int

// What can be wrong with the address of a document, or with the document.
const (
	// NotHTTPS: the URL is not one of https.
	NotHTTPS PublicationProblem = iota + 1
	// Unreachable: no answer came.
	Unreachable
	// Redirected: the answer points elsewhere, such as to a login page.
	Redirected
	// NotServed: the answer is another status than 200.
	NotServed
	// NotDocument: the answer is not the JSON that it should be.
	NotDocument
)

// A PublicationError is about one document of an issuer. It quotes nothing of the answer.
type PublicationError struct {
	Problem PublicationProblem
	// URL of the document.
	URL string
	// Status of the answer; 0 if there was none.
	Status int
	cause  error
}

func (e *PublicationError) Error() string {
	switch e.Problem {
	case NotHTTPS:
		return e.URL + " is not an https URL"
	case Redirected:
		return fmt.Sprintf("%s answers %d, a redirect", e.URL, e.Status)
	case NotServed:
		return fmt.Sprintf("%s answers %d", e.URL, e.Status)
	case NotDocument:
		return e.URL + " is not JSON of the right form"
	case Unreachable:
	}
	return fmt.Sprintf("%s: %v", e.URL, e.cause)
}

func (e *PublicationError) Unwrap() error { return e.cause }

// maxDocument bounds a discovery document and a JWKS, in bytes.
const maxDocument = 1 << 20

// ReadPublication fetches the issuer's discovery document and the keys that it names, as
// Entra does: over https, without following redirects. A client without a Timeout is bounded
// by ctx alone. The error is a *PublicationError; what was read before it is returned too.
// Source: OpenID Connect Discovery 1.0, section 4.
func ReadPublication(ctx context.Context, client http.Client, issuer string) (Publication, error) {
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var p Publication
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := fetch(ctx, &client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &document); err != nil {
		return p, err
	}
	p.Issuer, p.JWKSURI = document.Issuer, document.JWKSURI
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := fetch(ctx, &client, p.JWKSURI, &raw); err != nil {
		return p, err
	}
	for _, r := range raw.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(r, &key) == nil && accepted(key) {
			p.KeyIDs = append(p.KeyIDs, key.KeyID)
			continue
		}
		p.Others++
	}
	return p, nil
}

// accepted reports whether Entra verifies signatures of the key.
func accepted(key jose.JSONWebKey) bool {
	const leastBits = 2048
	public, ok := key.Key.(*rsa.PublicKey)
	return ok && public.N.BitLen() >= leastBits && (key.Use == "" || key.Use == "sig")
}

// fetch reads one JSON document.
func fetch(ctx context.Context, client *http.Client, target string, out any) error {
	if _, err := httpsurl.Parse(target); err != nil {
		return &PublicationError{Problem: NotHTTPS, URL: target, cause: err}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return &PublicationError{Problem: NotHTTPS, URL: target, cause: err}
	}
	response, err := client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // which names the URL once more
		}
		return &PublicationError{Problem: Unreachable, URL: target, cause: err}
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return &PublicationError{Problem: Redirected, URL: target, Status: response.StatusCode}
	case response.StatusCode != http.StatusOK:
		return &PublicationError{Problem: NotServed, URL: target, Status: response.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return &PublicationError{Problem: Unreachable, URL: target, cause: err}
	}
	if len(body) > maxDocument || json.Unmarshal(body, out) != nil {
		return &PublicationError{Problem: NotDocument, URL: target, Status: response.StatusCode}
	}
	return nil
}
