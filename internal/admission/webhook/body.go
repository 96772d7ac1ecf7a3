package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"azwi/internal/finding"
)

const (
	// mostBody is above what the API server lets through for one object (3 MiB).
	mostBody = 4 << 20
	// freeMemory is what every request may take without asking: enough for the pods
	// that there are, so that they never wait for large ones.
	freeMemory = 48 << 10
	// mostWait is how long a large request waits for memory before it is told to try again.
	mostWait = 1500 * time.Millisecond
	// A body beyond freeMemory must arrive within slowBody and the time it takes at
	// bodyRate bytes a second, or it would hold what others wait for.
	slowBody = 2 * time.Second
	bodyRate = 1 << 20
)

// largest is what the largest request takes: a body of mostBody, its copy in strings
// and what injection adds.
const largest = 3 * mostBody

var errBusy = finding.LargePods().Err(nil)

// A claim is the memory of one request. What is beyond freeMemory comes out of a
// budget that all requests share.
type claim struct {
	budget *semaphore.Weighted
	held   int64
}

// need waits until the request may use n bytes in all. The error is errBusy.
func (c *claim) need(ctx context.Context, n int64) error {
	more := min(n, largest) - freeMemory - c.held
	if more <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	if c.budget.Acquire(ctx, more) != nil {
		return errBusy
	}
	c.held += more
	return nil
}

func (c *claim) release() { c.budget.Release(c.held) }

// readBody reads a review's body, and takes memory only as it arrives. The error is
// for the caller, with the status code.
func readBody(w http.ResponseWriter, r *http.Request, memory *claim) ([]byte, int, error) {
	if r.Method != http.MethodPost {
		return nil, http.StatusMethodNotAllowed, errors.New("send an AdmissionReview by POST")
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, http.StatusUnsupportedMediaType, errors.New("send an AdmissionReview as application/json")
	}
	tooLarge := fmt.Errorf("the body is larger than %d bytes", mostBody)
	if r.ContentLength > mostBody {
		return nil, http.StatusRequestEntityTooLarge, tooLarge
	}
	start := time.Now()
	body := make([]byte, 0, 4<<10)
	for {
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > mostBody:
			return nil, http.StatusRequestEntityTooLarge, tooLarge
		case errors.Is(err, io.EOF):
			return body, http.StatusOK, nil
		case err != nil:
			return nil, http.StatusBadRequest, errors.New("the body ended early or came too slowly")
		}
		if len(body) < cap(body) {
			continue
		}
		grown := min(2*cap(body), mostBody+1)
		if err := memory.need(r.Context(), int64(grown+cap(body))); err != nil {
			return nil, http.StatusTooManyRequests, err
		}
		if grown > freeMemory {
			limit := start.Add(slowBody + time.Duration(grown)*time.Second/bodyRate)
			// Recorders of tests have no deadline.
			_ = http.NewResponseController(w).SetReadDeadline(limit)
		}
		body = slices.Grow(body, grown-len(body))
	}
}
