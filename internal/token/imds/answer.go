package imds

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An Answer is a token to hand out.
type Answer struct {
	AccessToken, TokenType string
	ClientID, Resource     string
	// Issued and Expires are by the wall clock.
	Issued, Expires time.Time
	// Remaining is how long the token is still good.
	Remaining time.Duration
}

// Write writes the answer. All values are strings, and expires_in comes before
// expires_on: clients exist that keep the last of the two, that need resource, or
// that can't read numbers.
//
// Source: https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#get-a-token-using-http
func (a Answer) Write(w http.ResponseWriter) {
	left := max(int64(a.Remaining/time.Second), 0)
	body := make([]byte, 0, len(a.AccessToken)+512)
	body = appendField(append(body, '{'), "access_token", a.AccessToken)
	body = appendField(append(body, ','), "client_id", a.ClientID)
	body = appendNumber(append(body, ','), "expires_in", left)
	body = appendNumber(append(body, ','), "expires_on", a.Expires.Unix())
	body = appendNumber(append(body, ','), "ext_expires_in", left)
	body = appendNumber(append(body, ','), "not_before", a.Issued.Unix())
	body = appendField(append(body, ','), "resource", a.Resource)
	body = appendField(append(body, ','), "token_type", a.TokenType)
	body = append(body, '}')
	send(w, http.StatusOK, body)
}

func appendField(b []byte, name, value string) []byte {
	return appendString(appendName(b, name), value)
}

func appendNumber(b []byte, name string, value int64) []byte {
	b = append(appendName(b, name), '"')
	return append(strconv.AppendInt(b, value, 10), '"')
}

func appendName(b []byte, name string) []byte {
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendString(b []byte, s string) []byte {
	if !asIs(s) {
		quoted, _ := json.Marshal(s) // a string always can
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// asIs reports whether JSON writes s as it is. A token is long, so that it looks at
// eight characters at a time: a term has the highest bit of a byte where the character
// is not ASCII, below a blank, or one of the five that JSON in HTML escapes.
func asIs(s string) bool {
	const each = 0x0101010101010101
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		found := x | (x - each*' ') | (x ^ each*'"' - each) | (x ^ each*'\\' - each) |
			(x ^ each*'<' - each) | (x ^ each*'>' - each) | (x ^ each*'&' - each)
		if found&(each<<7) != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || strings.IndexByte(`"\<>&`, s[i]) >= 0 {
			return false
		}
	}
	return true
}

// An Error is an answer without a token, as IMDS writes it.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Name is the error, for example invalid_request.
	Name string
	// Description is for people; it must hold no secret.
	Description string
	// Code is the number after AADSTS, 0 if there is none.
	Code int
	// CorrelationID and TraceID are Entra's; they may be empty.
	CorrelationID, TraceID string
	// RetryAfter, rounded up to seconds, stands in the header of that name; 0
	// leaves it out.
	RetryAfter time.Duration
	// Allow stands in the header of that name, with status 405.
	Allow string
}

func (e *Error) Error() string { return e.Description }

// Write writes the error.
func (e *Error) Write(w http.ResponseWriter) {
	body, _ := json.Marshal(struct { // strings and numbers always can
		Name          string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes,omitempty"`
		CorrelationID string `json:"correlation_id,omitempty"`
		TraceID       string `json:"trace_id,omitempty"`
	}{e.Name, e.Description, e.codes(), e.CorrelationID, e.TraceID})
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if e.Allow != "" {
		w.Header().Set("Allow", e.Allow)
	}
	send(w, e.Status, body)
}

func (e *Error) codes() []int {
	if e.Code == 0 {
		return nil
	}
	return []int{e.Code}
}

// sendTimeout is how long an answer may take on its way. It fits in the kernel's
// buffer, so only those who don't read earlier answers need any.
const sendTimeout = 2 * time.Second

func send(w http.ResponseWriter, status int, body []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTimeout)) // a test's recorder has none
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever has gone needs no answer
}

func invalid(description string) *Error {
	return &Error{Status: http.StatusBadRequest, Name: "invalid_request", Description: description}
}

func notFound(description string) *Error {
	return &Error{Status: http.StatusNotFound, Name: "not_found", Description: description}
}

func notAllowed(description, methods string) *Error {
	return &Error{Status: http.StatusMethodNotAllowed, Name: "invalid_request", Description: description, Allow: methods}
}
