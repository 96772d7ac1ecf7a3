package imds

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"azwi/internal/token/identitymap"
)

// A Form is a way to ask for a token.
type Form int

const (
	// IMDS is GET /metadata/identity/oauth2/token with Metadata: true or any
	// X-IDENTITY-HEADER.
	IMDS Form = iota
	// AppService2019 is GET $IDENTITY_ENDPOINT with X-IDENTITY-HEADER.
	AppService2019
	// AppService2017 is GET $MSI_ENDPOINT with the header secret, also of Azure ML.
	AppService2017
	// CloudShell is POST $MSI_ENDPOINT with a form.
	CloudShell
)

func (f Form) String() string {
	return [...]string{"imds", "app-service-2019", "app-service-2017", "cloud-shell"}[f]
}

// An IdentityKind says what names an identity.
type IdentityKind int

const (
	// DefaultIdentity is for requests that name none.
	DefaultIdentity IdentityKind = iota
	// ClientID is that of an application or managed identity.
	ClientID
	// ObjectID is that of its service principal.
	ObjectID
	// ResourceID is that of a managed identity in Resource Manager.
	ResourceID
)

// A Request is what somebody asks for.
type Request struct {
	// Path is the clean path of a request that has nothing to do with identities:
	// the only form to forward. Then all else is empty. It is empty if the request
	// is for a token.
	Path string
	Form Form
	// Resource is what the token is for, as written.
	Resource string
	// Kind and ID name the identity; ID is empty for DefaultIdentity.
	Kind IdentityKind
	ID   string
	// Claims is a claims request in JSON, mostly empty.
	Claims string
}

// A Parser reads requests.
type Parser struct {
	// Secret is what callers of the MSI endpoint must know. Empty: there is no
	// such endpoint.
	Secret string
	// SecretOnly leaves out the endpoint of IMDS, which asks for no secret: for a
	// port that strangers reach too.
	SecretOnly bool
	// Lax takes IMDS requests without Metadata header and api-version, as the
	// proxy of Azure/azure-workload-identity v1.6 did.
	Lax bool
}

// Bounds of what a request may say, in bytes.
const (
	maxForm     = 32 << 10
	maxResource = 2 << 10
	maxID       = identitymap.MaxID
	maxClaims   = 8 << 10
)

// oldestVersion is the first api-version of IMDS with tokens.
const oldestVersion = "2018-02-01"

// CheckCaller refuses what IMDS refuses whatever is asked: requests that came
// through a proxy, and those that a browser or a server was tricked into sending
// under another name of this address. It refuses all but three methods too.
func CheckCaller(r *http.Request) *Error {
	if _, ok := r.Header["X-Forwarded-For"]; ok {
		return invalid("X-Forwarded-For is not allowed: the metadata service can't be used through a proxy")
	}
	host := r.Host
	if h, port, err := net.SplitHostPort(host); err == nil {
		if port == "" || strings.Trim(port, "0123456789") != "" {
			return invalid("the Host header is not allowed")
		}
		host = h
		if strings.Contains(h, ":") {
			host = "[" + h + "]"
		}
	}
	switch strings.ToLower(host) {
	case "169.254.169.254", "127.0.0.1", "[::1]", "localhost":
	default:
		return invalid("the Host header is not allowed: use http://169.254.169.254")
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return nil
	}
	return notAllowed("the proxy takes GET, HEAD and POST only", "GET, HEAD, POST")
}

// Parse reads a request, and the body of one for a token. CheckCaller comes before.
func (p Parser) Parse(w http.ResponseWriter, r *http.Request) (Request, *Error) {
	place, clean := Locate(r.URL, p.Secret)
	switch {
	case place == Elsewhere:
		return Request{Path: clean}, nil
	case place == Malformed:
		return Request{}, invalid("the path is malformed")
	case place == Identity, place == IMDSToken && p.SecretOnly:
		return Request{}, notFound("there is no such endpoint")
	}
	form, e := p.authorize(place, r)
	if e != nil {
		return Request{}, e
	}
	values, e := parameters(form, w, r)
	if e != nil {
		return Request{}, e
	}
	if e := p.checkVersion(form, values.version); e != nil {
		return Request{}, e
	}
	if values.resource == "" {
		return Request{}, invalid("Required query variable 'resource' is missing")
	}
	if len(values.resource) > maxResource || !printable(values.resource) {
		return Request{}, &Error{Status: http.StatusBadRequest, Name: "invalid_resource", Description: "The resource must be one URI or client ID, without blanks"}
	}
	if values.claims != "" && (len(values.claims) > maxClaims || !json.Valid([]byte(values.claims))) {
		return Request{}, invalid("claims must be JSON of at most 8 KiB")
	}
	if len(values.id) > maxID || !printable(values.id) {
		return Request{}, invalid("Identity not found: the ID is malformed")
	}
	return Request{Form: form, Resource: values.resource, Kind: values.kind, ID: values.id, Claims: values.claims}, nil
}

// authorize tells the form by its header and checks the header.
func (p Parser) authorize(place Place, r *http.Request) (Form, *Error) {
	metadata := strings.EqualFold(r.Header.Get("Metadata"), "true")
	if place == IMDSToken {
		if r.Method != http.MethodGet {
			return IMDS, notAllowed("The method is not allowed", "GET")
		}
		// Microsoft's sample of a migration sets IDENTITY_ENDPOINT to this path. The
		// SDK then sends X-IDENTITY-HEADER alone, which a server that was tricked
		// into a request does not send either.
		if !metadata && strings.TrimSpace(r.Header.Get("X-Identity-Header")) == "" && !p.Lax {
			return IMDS, invalid("Required metadata header not specified")
		}
		return IMDS, nil
	}
	known := false
	for _, name := range []string{"X-Identity-Header", "Secret"} {
		value, ok := r.Header[name]
		if !ok {
			continue
		}
		if len(value) != 1 || p.Secret == "" || subtle.ConstantTimeCompare([]byte(value[0]), []byte(p.Secret)) != 1 {
			return 0, invalid("The value of the header " + name + " is not that of IDENTITY_HEADER and MSI_SECRET")
		}
		known = true
	}
	_, modern := r.Header["X-Identity-Header"]
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		return 0, notAllowed("The method is not allowed", "GET, POST")
	// az sends no secret here, whatever MSI_SECRET says; its Metadata header and
	// the secret in the path are the guards.
	case r.Method == http.MethodPost && (metadata || known):
		return CloudShell, nil
	case r.Method == http.MethodGet && modern:
		return AppService2019, nil
	case r.Method == http.MethodGet && known:
		return AppService2017, nil
	}
	return 0, invalid("Required metadata header not specified: send X-IDENTITY-HEADER, secret, or with POST Metadata: true")
}

func (p Parser) checkVersion(form Form, version string) *Error {
	if form == CloudShell || p.Lax && version == "" {
		return nil
	}
	oldest := oldestVersion
	if form != IMDS {
		oldest = "2017-09-01"
	}
	if version == "" {
		return invalid("Bad request. api-version was not specified in the request")
	}
	if _, err := time.Parse(time.DateOnly, version); err != nil || version < oldest {
		return invalid("Bad request. api-version is invalid: use " + oldest + " or newer")
	}
	return nil
}

// values are the parameters of a request that mean something here.
type values struct {
	resource, version, claims string
	kind                      IdentityKind
	id                        string
}

// parameters reads the query, and with POST the body. Names count whatever their
// case, and one that comes twice must say the same both times: two readers might
// take different ones.
func parameters(form Form, w http.ResponseWriter, r *http.Request) (values, *Error) {
	var v values
	if e := v.query(r.URL.RawQuery); e != nil || form != CloudShell {
		return v, e
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return v, invalid("Content-Type must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return v, &Error{Status: http.StatusRequestEntityTooLarge, Name: "invalid_request", Description: "the form is too large"}
		}
		return v, invalid("the form can't be read")
	}
	return v, v.query(string(body))
}

// query reads name=value pairs, as url.ParseQuery does but without a map.
func (v *values) query(s string) *Error {
	for pair := range strings.SplitSeq(s, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, nameErr := url.QueryUnescape(name)
		value, valueErr := url.QueryUnescape(value)
		if nameErr != nil || valueErr != nil || strings.Contains(pair, ";") {
			return invalid("the parameters are malformed")
		}
		if e := v.set(strings.ToLower(name), value); e != nil {
			return e
		}
	}
	return nil
}

func (v *values) set(name, value string) *Error {
	if value == "" {
		return nil // as if it were absent: clients send client_id= for the default
	}
	kind, field := DefaultIdentity, (*string)(nil)
	switch name {
	case "resource":
		field = &v.resource
	case "api-version":
		field = &v.version
	case "claims":
		field = &v.claims
	case "client_id", "clientid":
		kind = ClientID
	case "object_id", "principal_id":
		kind = ObjectID
	case "mi_res_id", "msi_res_id", "msi-res-id":
		kind = ResourceID
	default:
		return nil
	}
	if kind != DefaultIdentity {
		if v.kind != DefaultIdentity && v.kind != kind {
			return invalid("Identity not found: name it by one of client_id, object_id and msi_res_id")
		}
		v.kind, field = kind, &v.id
	}
	if *field != "" && *field != value {
		return invalid("the parameter " + name + " has two values")
	}
	*field = value
	return nil
}

// printable allows what URIs and IDs are made of.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
