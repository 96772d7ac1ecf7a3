package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"azwi/internal/finding"
	"azwi/internal/httpsurl"
	"azwi/internal/retryafter"
)

// ExchangerConfig says which token endpoint to use, and how to reach it.
type ExchangerConfig struct {
	// AuthorityHost is the https URL of Entra's token service, with or without a
	// slash at its end. Default: that of the public cloud.
	AuthorityHost string
	// TokenProxy is the custom token endpoint (identity binding). The zero value
	// is none.
	TokenProxy TokenProxy
	// ExtraCAFile holds PEM certificates to trust beside the system's, for an
	// egress proxy that opens TLS. It is read again for every exchange. Default:
	// none.
	ExtraCAFile string
	// Proxy chooses the HTTP proxy of a request. Default: none. Programs give
	// http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
	// NewConnections makes one for each exchange, so that a load balancer chooses
	// anew who answers.
	NewConnections bool
	// Timeout of one exchange. Default: 45 s, as a slow token is better than none.
	Timeout time.Duration
	// UserAgent names the program. Default: azwi.
	UserAgent string
	// Now is the clock for Retry-After dates. Default: time.Now.
	Now func() time.Time
}

// An Exchanger trades assertions for access tokens. It is safe for concurrent
// use. It never follows redirects, since requests carry the assertion.
type Exchanger struct {
	config    ExchangerConfig
	authority *url.URL
	transport *transport
}

// NewExchanger checks the configuration; CA files are read, as a mistake in them
// should show at the start.
func NewExchanger(c ExchangerConfig) (*Exchanger, error) {
	if c.AuthorityHost == "" {
		c.AuthorityHost = Clouds()[0].AuthorityHost
	}
	if c.Timeout == 0 {
		c.Timeout = 45 * time.Second
	}
	if c.UserAgent == "" {
		c.UserAgent = "azwi"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	authority, err := httpsurl.Parse(c.AuthorityHost)
	if err != nil {
		return nil, fmt.Errorf("authority host %q: it must be a URL such as https://login.microsoftonline.com/", c.AuthorityHost)
	}
	t, err := newTransport(c)
	if err != nil {
		return nil, err
	}
	return &Exchanger{config: c, authority: authority, transport: t}, nil
}

// An ExchangeRequest asks for one access token.
type ExchangeRequest struct {
	TenantID, ClientID string
	// Resource is what the token is for, without /.default.
	Resource string
	// Claims is a claims request in JSON, as a resource's challenge has it. Mostly
	// empty.
	Claims string
	// Assertion is the service account token.
	Assertion string
}

// A Token is an access token. What it holds is the resource's business: it is
// never parsed here.
type Token struct {
	// Type is the token_type, as a rule Bearer.
	Type string
	// Value is the access token.
	Value string
	// Lifetime counts from when the token was asked for.
	Lifetime time.Duration
	// RefreshIn is when to ask for the next one, if Entra said so, else 0.
	RefreshIn time.Duration
}

// maxAnswer bounds an answer of the token endpoint, in bytes.
const maxAnswer = 1 << 20

// maxLifetime bounds a Token's Lifetime. Entra gives 28 hours at most.
const maxLifetime = 7 * 24 * time.Hour

// Exchange asks once. The error is an *Error if the token endpoint answered;
// otherwise it is the network's or the context's. Neither holds the assertion.
//
// Source: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow#third-case-access-token-request-with-a-federated-credential
func (x *Exchanger) Exchange(ctx context.Context, r ExchangeRequest) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, x.config.Timeout)
	defer cancel()
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"client_id":             {r.ClientID},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {r.Assertion},
		"scope":                 {scope(r.Resource)},
	}
	if r.Claims != "" {
		form.Set("claims", r.Claims)
	}
	endpoint := x.authority.JoinPath(url.PathEscape(r.TenantID), "oauth2/v2.0/token")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return Token{}, fmt.Errorf("exchange: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", x.config.UserAgent)
	resp, err := x.transport.RoundTrip(req)
	if err != nil {
		return Token{}, fmt.Errorf("contact the token endpoint: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return Token{}, fmt.Errorf("read the token endpoint's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return Token{}, x.failure(resp, body, r)
	}
	t, err := parseToken(body)
	if late := ctx.Err(); err != nil && late != nil {
		return Token{}, fmt.Errorf("read the token endpoint's answer: %w", late) // which ended as the connection did
	}
	return t, err
}

// scope is the resource with its suffix. A resource that ends in a slash keeps
// it, as the token's audience must be what was asked for.
// https://learn.microsoft.com/entra/identity-platform/scopes-oidc#trailing-slash-and-default
func scope(resource string) string {
	const suffix = "/.default"
	return strings.TrimSuffix(resource, suffix) + suffix
}

// errAnswer is a success that is none; worth trying again.
var errAnswer = errors.New("the token endpoint sent an unexpected answer")

func parseToken(body []byte) (Token, error) {
	if len(body) > maxAnswer {
		return Token{}, fmt.Errorf("%w: larger than %d bytes", errAnswer, maxAnswer)
	}
	var answer struct {
		Type      string  `json:"token_type"`
		Value     string  `json:"access_token"`
		ExpiresIn seconds `json:"expires_in"`
		RefreshIn seconds `json:"refresh_in"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Token{}, fmt.Errorf("%w: no JSON of a token", errAnswer) // the decoder's error may quote the token
	}
	if answer.Value == "" || answer.ExpiresIn <= 0 {
		return Token{}, fmt.Errorf("%w: access_token or expires_in is missing", errAnswer)
	}
	if answer.Type == "" {
		answer.Type = "Bearer"
	}
	return Token{
		Type: answer.Type, Value: answer.Value,
		Lifetime:  answer.ExpiresIn.duration(),
		RefreshIn: answer.RefreshIn.duration(),
	}, nil
}

// seconds are a number or a string of digits.
type seconds int64

func (s *seconds) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return err
	}
	*s = seconds(min(max(f, 0), maxLifetime.Seconds()))
	return nil
}

func (s seconds) duration() time.Duration { return time.Duration(s) * time.Second }

// An Error is an answer of the token endpoint other than a token.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the number after AADSTS; 0 if there was none.
	Code int
	// Name is the error of RFC 6749, for example invalid_client; may be empty.
	Name string
	// Description is the first line of the error's description, without IDs.
	Description string
	// CorrelationID and TraceID help Microsoft's support to find the request.
	CorrelationID, TraceID string
	// RetryAfter is what the answer's header asks for; 0 if it does not.
	RetryAfter time.Duration
	// Presented is what was presented.
	Presented finding.Presented
}

func (e *Error) Error() string {
	if e.Description == "" {
		return fmt.Sprintf("the token endpoint answered %d %s", e.Status, http.StatusText(e.Status))
	}
	return e.Description
}

// Class says what to do about the error. What is no answer of Entra's own, such as a
// gateway's page, is transient.
func (e *Error) Class() finding.Class {
	if e.Code == 0 && e.Name == "" {
		return finding.Transient
	}
	return finding.ClassOf(e.Status, e.Code)
}

// Advice says what to do about the error, in one line; it is empty if nothing is known.
func (e *Error) Advice() string { return e.Presented.Advice(e.Code) }

func (x *Exchanger) failure(resp *http.Response, body []byte, r ExchangeRequest) *Error {
	e := &Error{Status: resp.StatusCode, RetryAfter: retryafter.Of(resp.Header, x.config.Now()), Presented: presented(r)}
	var answer struct {
		Name          string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes"`
		CorrelationID string `json:"correlation_id"`
		TraceID       string `json:"trace_id"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return e // some gateway's page: the status tells it all
	}
	clean := cleaner(r.Assertion)
	e.Name, e.Description = short(clean(answer.Name), 64), describe(clean(answer.Description))
	e.CorrelationID, e.TraceID = short(clean(answer.CorrelationID), 64), short(clean(answer.TraceID), 64)
	if len(answer.Codes) > 0 {
		e.Code = answer.Codes[0]
	}
	return e
}

// describe keeps the part of a description that tells the cause.
func describe(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	text, _, _ = strings.Cut(text, " Trace ID: ")
	return short(strings.TrimSpace(text), 1024)
}

// leak is how many characters of an assertion in a row are no coincidence.
const leak = 12

// cleaner returns what takes an assertion, any part of it, and what else looks like
// a token out of a text: an endpoint might send back what it was sent, wrapped or
// with other characters between.
func cleaner(assertion string) func(text string) string {
	parts := map[string]bool{}
	for i := 0; i+leak <= len(assertion); i++ {
		parts[assertion[i:i+leak]] = true
	}
	token := regexp.MustCompile(`eyJ[\w-]{8,}(\.[\w-]*)*`)
	return func(text string) string {
		// The characters of tokens alone, with where each was.
		var compact []byte
		var at []int
		for i := range len(text) {
			if c := text[i]; c == '.' || c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
				compact, at = append(compact, c), append(at, i)
			}
		}
		var kept strings.Builder
		from, until := 0, 0 // text up to from is written, text up to until belongs to the assertion
		for i := 0; i+leak <= len(compact); i++ {
			if !parts[string(compact[i:i+leak])] {
				continue
			}
			if at[i] >= until {
				kept.WriteString(text[from:at[i]] + "[removed]")
			}
			until = at[i+leak-1] + 1
			from = until
		}
		kept.WriteString(text[from:])
		return token.ReplaceAllString(kept.String(), "[removed]")
	}
}

// short bounds a text and drops what is not printable.
func short(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
