package journal

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestOldestIsForgotten(t *testing.T) {
	t.Parallel()
	var j Journal
	for n := range size + 5 {
		j.Add(Entry{Path: fmt.Sprint(n)})
	}
	got := j.Entries()
	if len(got) != size || got[0].Path != "5" || got[size-1].Path != fmt.Sprint(size+4) {
		t.Errorf("%d entries, from %s to %s", len(got), got[0].Path, got[len(got)-1].Path)
	}
	j.Clear()
	j.Add(Entry{Path: "new"})
	if got := j.Entries(); len(got) != 1 || got[0].Path != "new" {
		t.Errorf("after Clear: %v", got)
	}
}

// A hostile request can't fill the memory.
func TestEntryIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100<<10)
	var query strings.Builder
	for n := range 2000 {
		fmt.Fprintf(&query, "f%d=%s&", n, strings.Repeat("y", 20))
	}
	r := httptest.NewRequest(http.MethodPost, "https://127.0.0.1/"+long+"?"+query.String(), strings.NewReader(`{"a":"`+long+`"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", long)
	rec := Watch(httptest.NewRecorder(), r, time.Now())
	for buffer := make([]byte, 4096); ; {
		if _, err := r.Body.Read(buffer); err != nil {
			break
		}
	}
	http.Error(rec, long, http.StatusBadRequest)
	e := rec.Entry("any")
	if len(e.Path) > maxValue || len(e.Query) > maxFields || len(e.Header["User-Agent"]) > maxValue || e.Body != nil || e.Status != http.StatusBadRequest {
		t.Errorf("path %d, query %d, header %d, body %d, status %d", len(e.Path), len(e.Query), len(e.Header["User-Agent"]), len(e.Body), e.Status)
	}
}

// The expression of a federated credential is no secret, though its field is
// called value.
func TestExpressionIsShown(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPut, "https://127.0.0.1/", strings.NewReader(`{"value":"secret","e":{"value":"claims","languageVersion":1}}`))
	r.Header.Set("Content-Type", "application/json")
	rec := Watch(httptest.NewRecorder(), r, time.Now())
	buffer := make([]byte, 4096)
	if _, err := r.Body.Read(buffer); err != nil {
		t.Fatal(err)
	}
	if got := string(rec.Entry("any").Body); got != `{"e":{"languageVersion":1,"value":"claims"},"value":"[redacted]"}` {
		t.Errorf("body %s", got)
	}
}
