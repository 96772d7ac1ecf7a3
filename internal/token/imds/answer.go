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
	left := strconv.FormatInt(max(int64(a.Remaining/time.Second), 0), 10)
	body := make([]byte, 0, len(a.AccessToken)+512)
	body = appendField(body, '{', "access_token", a.AccessToken)
	body = appendField(body, ',', "client_id", a.ClientID)
	body = appendField(body, ',', "expires_in", left)
	body = appendField(body, ',', "expires_on", strconv.FormatInt(a.Expires.Unix(), 10))
	body = appendField(body, ',', "ext_expires_in", left)
	body = appendField(body, ',', "not_before", strconv.FormatInt(a.Issued.Unix(), 10))
	body = appendField(body, ',', "resource", a.Resource)
	body = appendField(body, ',', "token_type", a.TokenType)
	body = append(body, '}')
	send(w, http.StatusOK, body)
}

func appendField(b []byte, before byte, name, value string) []byte {
	b = append(b, before, '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

// appendString writes a JSON string. What tokens, numbers and URLs are made of needs
// no escaping, and a token is long.
func appendString(b []byte, s string) []byte {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/+=") != "" {
		quoted, _ := json.Marshal(s) // a string always can
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
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
