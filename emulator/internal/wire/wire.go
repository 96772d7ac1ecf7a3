package wire

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// MaxBody bounds the body of every request, in bytes.
const MaxBody = 1 << 20

// An Error is an answer other than success, in the envelope that Resource
// Manager, Graph and Key Vault share.
type Error struct {
	Status  int
	Code    string
	Message string
	// Header is added to the answer: a challenge, or Retry-After.
	Header http.Header
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Respond writes err, or else status with body, which nil leaves empty.
func Respond(w http.ResponseWriter, r *http.Request, status int, body any, err error) {
	switch {
	case err != nil:
		Fail(w, r, err)
	case body == nil:
		RequestIDs(w, r)
		w.WriteHeader(status)
	default:
		RequestIDs(w, r)
		JSON(w, status, body)
	}
}

// JSON writes v. Answers are never cached unless Cache-Control is set already:
// they depend on the caller.
func JSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encode answer", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-cache")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// RequestIDs copies the client's request ID to the answer and returns it with a
// new one of the server.
func RequestIDs(w http.ResponseWriter, r *http.Request) (request, client string) {
	request = uuid.NewString()
	client = GUID(r.Header.Get("client-request-id"))
	if client == "" {
		client = GUID(r.Header.Get("x-ms-client-request-id"))
	}
	if client == "" {
		client = request
	}
	w.Header().Set("x-ms-request-id", request)
	w.Header().Set("request-id", request)
	return request, client
}

// GUID returns s in lower case if it is a GUID, else nothing, so that a header
// never carries back arbitrary text.
func GUID(s string) string {
	if len(s) != 36 {
		return ""
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return ""
	}
	return id.String()
}

// Fail writes err. Anything but an *Error becomes a bare 500.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Code: "InternalServerError", Message: "The server could not handle the request."}
	}
	request, client := RequestIDs(w, r)
	maps.Copy(w.Header(), e.Header)
	w.Header().Set("x-ms-error-code", e.Code)
	JSON(w, e.Status, map[string]any{"error": map[string]any{
		"code":    e.Code,
		"message": e.Message,
		"innerError": map[string]string{
			"date":              time.Now().UTC().Format("2006-01-02T15:04:05"),
			"request-id":        request,
			"client-request-id": client,
		},
	}})
}

// ReadJSON decodes a bounded body into v. Unknown fields are ignored, as Azure
// ignores most of them.
func ReadJSON(r *http.Request, v any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return &Error{Status: http.StatusBadRequest, Code: "BadRequest", Message: "The request body could not be read."}
	}
	if len(body) > MaxBody {
		return &Error{Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLarge", Message: "The request body is too large."}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return &Error{Status: http.StatusBadRequest, Code: "InvalidRequestContent", Message: "The request content was invalid and could not be deserialized."}
	}
	return nil
}

// Bearer returns the token of the Authorization header.
func Bearer(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// Page cuts one page out of items. top and skip come from the query: skip counts
// the items already served. It returns the query value for the next page, empty
// on the last one.
func Page[T any](items []T, top, skip string, size int) (page []T, next string) {
	if n, err := strconv.Atoi(top); err == nil && n > 0 {
		size = min(size, n)
	}
	start, err := strconv.Atoi(skip)
	if err != nil || start < 0 {
		start = 0
	}
	start = min(start, len(items))
	end := min(start+size, len(items))
	if end < len(items) {
		next = strconv.Itoa(end)
	}
	return items[start:end], next
}

// NextLink is base+path with the request's query, where param is set to next.
// It is empty if next is.
func NextLink(base, path string, query url.Values, param, next string) string {
	if next == "" {
		return ""
	}
	q := url.Values{}
	maps.Copy(q, query)
	q.Set(param, next)
	return base + path + "?" + q.Encode()
}
