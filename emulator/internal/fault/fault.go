package fault

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"azwi/emulator/internal/glob"
	"azwi/emulator/internal/random"
	"azwi/internal/document"
)

// A File is the faults file as it is written. docs/schema/emulator-faults.json
// is made from these types.
type File struct {
	Faults []Fault `json:"faults"`
}

// A Fault is one rule. The first that fits a request and hits decides.
type Fault struct {
	// Name stands in the log and in GET /requests.
	Name string `json:"name,omitempty"`
	// Service is authority, graph, resource-manager, vault, blob or imds; empty
	// is any.
	Service string `json:"service,omitempty"`
	// Method is an HTTP method; empty is any.
	Method string `json:"method,omitempty"`
	// Path is a pattern in which * stands for any text; empty is any.
	Path string `json:"path,omitempty"`
	// Issuer is an issuer URL whose discovery document and keys can't be fetched.
	// It stands instead of service, method, path and an effect.
	Issuer string `json:"issuer,omitempty"`

	// Share of the fitting requests that are hit, above 0 and up to 1; absent is
	// all.
	Share *float64 `json:"share,omitempty"`
	// After is when the fault begins, counted on the emulated clock from when it
	// was set.
	After time.Duration `json:"after,omitempty"`
	// For is how long it lasts; absent is for ever.
	For time.Duration `json:"for,omitempty"`
	// Times is how often it hits at most; absent is without end.
	Times int `json:"times,omitempty"`

	// Status of the answer, 400 to 599.
	Status int `json:"status,omitempty"`
	// Code is the error code of the answer, for the authority a number after
	// AADSTS. Absent is one that fits the status.
	Code string `json:"code,omitempty"`
	// Message is the text of the answer.
	Message string `json:"message,omitempty"`
	// RetryAfter is rounded up to seconds in the header of that name.
	RetryAfter time.Duration `json:"retryAfter,omitempty"`
	// Delay before the answer, in real time. Without status or cut the request is
	// then served as usual.
	Delay time.Duration `json:"delay,omitempty"`
	// Cut closes the connection without an answer.
	Cut bool `json:"cut,omitempty"`
}

// maxDelay bounds Delay. It is below the emulator's own timeout for answers.
const maxDelay = 90 * time.Second

// Read reads a faults file, YAML or JSON. name stands in errors.
func Read(name string, text []byte) (File, error) {
	var f File
	doc := document.Read(name, text, &f)
	if err := doc.Err(); err != nil {
		return File{}, err
	}
	for i := range f.Faults {
		check(doc, fmt.Sprintf("faults[%d]", i), &f.Faults[i])
		if f.Faults[i].Name == "" {
			f.Faults[i].Name = fmt.Sprintf("fault-%d", i)
		}
	}
	return f, doc.Err()
}

func check(doc *document.Document, field string, f *Fault) {
	effect := f.Status != 0 || f.Delay != 0 || f.Cut
	switch {
	case f.Issuer != "" && (effect || f.Service != "" || f.Method != "" || f.Path != ""):
		doc.Fail(field+".issuer", "stands alone: an issuer can only be unreachable")
	case f.Issuer == "" && !effect:
		doc.Fail(field, "has no effect: want status, delay or cut")
	case f.Status != 0 && f.Cut:
		doc.Fail(field+".cut", "excludes status")
	}
	if f.Status == 0 && (f.Code != "" || f.Message != "" || f.RetryAfter != 0) {
		doc.Fail(field, "code, message and retryAfter need a status")
	}
	if _, err := strconv.ParseUint(f.Code, 10, 32); f.Service == "authority" && f.Code != "" && err != nil {
		doc.Fail(field+".code", "is not a number, as that after AADSTS")
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		doc.Fail(field+".status", "is not between 400 and 599")
	}
	if f.Share != nil && (*f.Share <= 0 || *f.Share > 1) {
		doc.Fail(field+".share", "is not above 0 and up to 1")
	}
	if f.Delay < 0 || f.Delay > maxDelay {
		doc.Fail(field+".delay", "is not between 0 and %v", maxDelay)
	}
	if f.After < 0 || f.For < 0 || f.RetryAfter < 0 || f.Times < 0 {
		doc.Fail(field, "has a negative number")
	}
	switch f.Service {
	case "", "authority", "graph", "resource-manager", "vault", "blob", "imds":
	default:
		doc.Fail(field+".service", "unknown service %q", f.Service)
	}
}

// A Set is the faults in force. It is safe for concurrent use.
type Set struct {
	random *random.Source
	now    func() time.Time

	mu     sync.Mutex
	faults []Fault
	hits   []int
	since  time.Time
}

// New returns a set without faults.
func New(source *random.Source, now func() time.Time) *Set {
	return &Set{random: source, now: now}
}

// Replace puts other faults in force; their time windows begin now.
func (s *Set) Replace(f File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.hits, s.since = f.Faults, make([]int, len(f.Faults)), s.now()
}

// Pick returns the fault that hits a request.
func (s *Set) Pick(service string, r *http.Request, path string) (Fault, bool) {
	return s.pick(func(f Fault) bool {
		return f.Issuer == "" && (f.Service == "" || f.Service == service) &&
			(f.Method == "" || strings.EqualFold(f.Method, r.Method)) && (f.Path == "" || glob.MatchFold(f.Path, path))
	})
}

// Down reports whether a fault makes an issuer unreachable.
func (s *Set) Down(issuer string) bool {
	_, hit := s.pick(func(f Fault) bool { return f.Issuer == issuer })
	return hit
}

func (s *Set) pick(wanted func(Fault) bool) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.now().Sub(s.since)
	for i, f := range s.faults {
		if !wanted(f) || age < f.After || (f.For > 0 && age >= f.After+f.For) || (f.Times > 0 && s.hits[i] >= f.Times) {
			continue
		}
		if f.Share == nil || s.random.Hit(*f.Share) {
			s.hits[i]++
			return f, true
		}
	}
	return Fault{}, false
}
