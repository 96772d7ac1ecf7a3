package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"
)

// TestReadBody: memory is taken as the body arrives, and given up on in time.
func TestReadBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		announced int64
		sent      int
		held      int64 // while the body is read
		code      int
	}{
		{"ordinary", 16 << 10, 16 << 10, 0, http.StatusOK},
		{"announced only", 1 << 20, 1000, 0, http.StatusOK},
		{"half a MiB", -1, 512<<10 - 1, 3*256<<10 - freeMemory, http.StatusOK},
		{"too large, announced", mostBody + 1, 0, 0, http.StatusRequestEntityTooLarge},
		{"too large", -1, mostBody + 1, mostBody + 1 + mostBody/2 - freeMemory, http.StatusRequestEntityTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			memory := &claim{budget: semaphore.NewWeighted(largest)}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", io.MultiReader(strings.NewReader(strings.Repeat("x", tt.sent))))
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = tt.announced
			body, code, err := readBody(httptest.NewRecorder(), r, memory)
			if code != tt.code || (err == nil) != (code == http.StatusOK) || err == nil && len(body) != tt.sent {
				t.Errorf("got %d bytes, %d, %v", len(body), code, err)
			}
			if memory.held < tt.held || memory.held > tt.held+tt.held/2 {
				t.Errorf("holds %d, want about %d", memory.held, tt.held)
			}
			memory.release()
			if !memory.budget.TryAcquire(largest) {
				t.Error("memory is lost")
			}
		})
	}
}

// TestClaim: who can't get memory in time is told to come back, and a caller that
// has gone does not wait.
func TestClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := semaphore.NewWeighted(largest)
		holder, waiter := &claim{budget: budget}, &claim{budget: budget}
		if err := holder.need(t.Context(), 2*largest); err != nil {
			t.Fatalf("the largest request: %v", err)
		}
		if err := waiter.need(t.Context(), freeMemory); err != nil {
			t.Errorf("an ordinary request has to wait: %v", err)
		}
		start := time.Now()
		if err := waiter.need(t.Context(), largest); !errors.Is(err, errBusy) || time.Since(start) != mostWait {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		if err := waiter.need(gone, largest); !errors.Is(err, errBusy) || time.Since(start) != 0 {
			t.Errorf("gone, after %s: %v", time.Since(start), err)
		}
		time.AfterFunc(time.Second, holder.release)
		if err := waiter.need(t.Context(), largest); err != nil {
			t.Errorf("memory that gets free: %v", err)
		}
	})
}
