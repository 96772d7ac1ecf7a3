package journal

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"azwi/internal/jwt"
)

const (
	// size is how many requests are remembered.
	size = 1000
	// maxBody is how much of a JSON body is, in bytes.
	maxBody = 16 << 10
	// maxValue bounds every other text, maxFields how many fields a query or form
	// is remembered with.
	maxValue  = 2048
	maxFields = 64
)

// An Entry is one request and its outcome.
type Entry struct {
	Time    time.Time           `json:"time"`
	Service string              `json:"service"`
	Method  string              `json:"method"`
	Host    string              `json:"host"`
	Path    string              `json:"path"`
	Query   map[string][]string `json:"query,omitempty"`
	Header  map[string]string   `json:"header,omitempty"`
	// Form of a token request; secrets and assertions are redacted.
	Form map[string][]string `json:"form,omitempty"`
	// Assertion has the claims iss, sub, aud, iat, nbf and exp of a client
	// assertion.
	Assertion map[string]any `json:"assertion,omitempty"`
	// Body is a JSON body; values of secrets are redacted.
	Body   json.RawMessage `json:"body,omitempty"`
	Status int             `json:"status"`
	// Code is the code of an error answer, for example AADSTS700213.
	Code string `json:"code,omitempty"`
	// Fault names the fault that answered instead of the service.
	Fault string `json:"fault,omitempty"`
}

// A Journal is safe for concurrent use.
type Journal struct {
	mu      sync.Mutex
	entries []Entry // a ring once it is full
	next    int
}

// Add remembers an entry and forgets the oldest.
func (j *Journal) Add(e Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) < size {
		j.entries = append(j.entries, e)
		return
	}
	j.entries[j.next] = e
	j.next = (j.next + 1) % size
}

// Entries are the remembered ones, the oldest first.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append(slices.Clone(j.entries[j.next:]), j.entries[:j.next]...)
}

// Clear forgets all.
func (j *Journal) Clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries, j.next = nil, 0
}

const redacted = "[redacted]"

// secret tells which form, query and body fields are never remembered.
func secret(name string) bool {
	switch strings.ToLower(name) {
	case "client_assertion", "client_secret", "assertion", "refresh_token", "code", "password", "request", "value", "secrettext", "access_token", "id_token", "key", "token":
		return true
	}
	return false
}

// headers that are remembered; all others, cookies and tokens among them, are
// not.
func headers() []string {
	return []string{"Accept", "Content-Type", "User-Agent", "Metadata", "Prefer", "Client-Request-Id", "X-Ms-Client-Request-Id", "X-Client-Sku", "X-Client-Ver", "Return-Client-Request-Id", "Retry-After"}
}

// A Recorder watches one request.
type Recorder struct {
	http.ResponseWriter
	request *http.Request
	sent    limited
	answer  limited
	entry   Entry
}

// limited keeps the beginning of what is written to it.
type limited struct {
	bytes.Buffer
	full bool
}

func (l *limited) Write(p []byte) (int, error) {
	if room := maxBody - l.Len(); len(p) > room {
		l.full = true
		l.Buffer.Write(p[:max(room, 0)])
	} else {
		l.Buffer.Write(p)
	}
	return len(p), nil
}

// Watch starts to record a request. Handlers get the Recorder as their
// ResponseWriter; the body they read is seen on its way.
func Watch(w http.ResponseWriter, r *http.Request, now time.Time) *Recorder {
	rec := &Recorder{ResponseWriter: w, request: r}
	rec.entry = Entry{Time: now, Method: r.Method, Host: clip(r.Host), Path: clip(r.URL.Path), Header: map[string]string{}}
	if q := r.URL.Query(); len(q) > 0 {
		rec.entry.Query = redact(q)
	}
	for _, name := range headers() {
		if v := r.Header.Get(name); v != "" {
			rec.entry.Header[name] = clip(v)
		}
	}
	if scheme, _, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		rec.entry.Header["Authorization"] = clip(scheme) + " " + redacted
	}
	if strings.Contains(r.Header.Get("Content-Type"), "json") {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &rec.sent), r.Body}
	}
	return rec
}

// Unwrap lets http.ResponseController reach the connection.
func (rec *Recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// WriteHeader notes the status.
func (rec *Recorder) WriteHeader(status int) {
	if rec.entry.Status == 0 {
		rec.entry.Status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

// Write notes the beginning of an error's body.
func (rec *Recorder) Write(p []byte) (int, error) {
	if rec.entry.Status == 0 {
		rec.entry.Status = http.StatusOK
	}
	if rec.entry.Status >= 400 {
		_, _ = rec.answer.Write(p)
	}
	return rec.ResponseWriter.Write(p)
}

// Fault notes the name of a fault.
func (rec *Recorder) Fault(name string) { rec.entry.Fault = name }

// Entry is what was recorded; service is where the request went.
func (rec *Recorder) Entry(service string) Entry {
	e := rec.entry
	e.Service = service
	if form := rec.request.PostForm; len(form) > 0 {
		e.Form = redact(form)
		e.Assertion = claims(form.Get("client_assertion"))
	}
	var body any
	if !rec.sent.full && json.Unmarshal(rec.sent.Bytes(), &body) == nil {
		e.Body, _ = json.Marshal(redactJSON(body))
	}
	e.Code = code(rec.answer.Bytes())
	return e
}

func clip(s string) string { return s[:min(len(s), maxValue)] }

func redact(values url.Values) map[string][]string {
	out := make(map[string][]string, len(values))
	for name, list := range values {
		if len(out) >= maxFields {
			break
		}
		for _, v := range list[:min(len(list), maxFields)] {
			if secret(name) {
				v = redacted
			}
			out[clip(name)] = append(out[clip(name)], clip(v))
		}
	}
	return out
}

func redactJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			// An expression of a federated credential has a value too.
			if _, isText := value.(string); isText && secret(name) && v["languageVersion"] == nil {
				v[name] = redacted
				continue
			}
			v[name] = redactJSON(value)
		}
	case []any:
		for i := range v {
			v[i] = redactJSON(v[i])
		}
	}
	return v
}

// claims reads the harmless claims of an assertion without verifying it.
func claims(raw string) map[string]any {
	payload, err := jwt.Payload(raw)
	if err != nil {
		return nil
	}
	var all map[string]any
	if json.Unmarshal(payload, &all) != nil {
		return nil
	}
	out := map[string]any{}
	for _, name := range []string{"iss", "sub", "aud", "iat", "nbf", "exp"} {
		if v, ok := all[name]; ok {
			out[name] = v
		}
	}
	return out
}

// code reads the error code of either kind of error body.
func code(body []byte) string {
	var token struct {
		Codes []json.Number `json:"error_codes"`
	}
	if json.Unmarshal(body, &token) == nil && len(token.Codes) > 0 {
		return "AADSTS" + token.Codes[0].String()
	}
	var resource struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &resource) == nil {
		return resource.Error.Code
	}
	return ""
}
