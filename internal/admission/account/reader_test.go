package account_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"azwi/internal/admission/account"
)

// api is a server that misbehaves as told; the real one is asked in test/admission.
func api(t *testing.T, h http.HandlerFunc) account.Config {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return account.Config{Client: s.Client(), Host: s.URL}
}

func newReader(t *testing.T, c account.Config) *account.Reader {
	t.Helper()
	r, err := account.NewReader(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func answer(w http.ResponseWriter, q *http.Request, generation int64) {
	path := strings.Split(q.URL.Path, "/") // /api/v1/namespaces/NAMESPACE/serviceaccounts/NAME
	_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{"namespace": path[4], "name": path[6], "annotations": map[string]string{"generation": fmt.Sprint(generation)}}})
}

func TestGet(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		codes []int // answered in this order, the last one for good
		ok    bool
		is    error // that the error wraps, if any in particular
		tries int32
	}{
		{"found", []int{200}, true, nil, 1},
		{"not found is final", []int{404}, false, account.ErrNotFound, 1},
		{"forbidden is final", []int{403}, false, account.ErrForbidden, 1},
		{"wrong credentials are final", []int{401}, false, nil, 1},
		{"500, then found", []int{500, 200}, true, nil, 2},
		{"429, then found", []int{429, 200}, true, nil, 2},
		{"503, then gone", []int{503, 404}, false, account.ErrNotFound, 2},
		{"no third try", []int{500, 502, 200}, false, nil, 2},
		{"no answer, then found", []int{0, 200}, true, nil, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			r := newReader(t, api(t, func(w http.ResponseWriter, q *http.Request) {
				n := int(tries.Add(1))
				if q.URL.Path != "/api/v1/namespaces/shop/serviceaccounts/orders" {
					t.Errorf("asked %s", q.URL.Path)
				}
				switch code := tt.codes[min(n, len(tt.codes))-1]; code {
				case 0:
					panic(http.ErrAbortHandler) // cuts the connection
				case 200:
					answer(w, q, 7)
				default:
					w.WriteHeader(code)
				}
			}))
			got, err := r.Get(t.Context(), "shop", "orders")
			switch {
			case (err == nil) != tt.ok, tt.is != nil && !errors.Is(err, tt.is):
				t.Errorf("got %v, want success=%v, %v", err, tt.ok, tt.is)
			case err == nil && (got.Annotations["generation"] != "7" || got.Name != "orders" || got.Namespace != "shop"):
				t.Errorf("got %+v", got)
			}
			if n := tries.Load(); n != tt.tries {
				t.Errorf("%d requests, want %d", n, tt.tries)
			}
		})
	}
}

// TestNeverOlderThanTheQuestion asks from many sides while the account changes
// all the time: no answer is older than its question, though reads are shared.
func TestNeverOlderThanTheQuestion(t *testing.T) {
	t.Parallel()
	var generation, requests atomic.Int64
	r := newReader(t, api(t, func(w http.ResponseWriter, q *http.Request) {
		requests.Add(1)
		answer(w, q, generation.Load())
	}))
	const callers, calls = 16, 100
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				asked := generation.Add(1)
				got, err := r.Get(t.Context(), "shop", "orders")
				if err != nil {
					t.Error(err)
					return
				}
				var have int64
				if _, err := fmt.Sscan(got.Annotations["generation"], &have); err != nil || have < asked {
					t.Errorf("asked at %d, got the account of %d (%v)", asked, have, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := requests.Load(); n >= callers*calls {
		t.Errorf("%d requests for %d questions: none was shared", n, callers*calls)
	}
}

// TestSharing: while one read is under way, all who come wait for one other.
func TestSharing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var requests int
		release := make(chan struct{})
		r := newReader(t, account.Config{Host: "http://api", Client: &http.Client{Transport: roundTrip(func(q *http.Request) *http.Response {
			requests++
			<-release
			w := httptest.NewRecorder()
			answer(w, q, int64(requests))
			return w.Result()
		})}})
		var wg sync.WaitGroup
		got := make(chan string, 10)
		ask := func() {
			a, err := r.Get(t.Context(), "shop", "orders")
			if err != nil {
				t.Error(err)
			}
			got <- a.Annotations["generation"]
		}
		wg.Go(ask)
		synctest.Wait()
		for range 9 {
			wg.Go(ask)
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		close(got)
		seen := map[string]int{}
		for g := range got {
			seen[g]++
		}
		if requests != 2 || seen["1"] != 1 || seen["2"] != 9 {
			t.Errorf("%d requests, answers %v; want 2 requests, the second shared by nine", requests, seen)
		}
	})
}

// TestDeadline: a silent API server costs 2 s in all, whoever waits.
func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReader(t, account.Config{Host: "http://api", Client: &http.Client{Transport: silent{}}})
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := r.Get(t.Context(), "shop", "orders"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
		<-time.After(2 * time.Second) // a read that began for those who have just gone ends by itself
	})
}

// TestRetryAfter is honoured within the deadline, and not beyond it.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for after, want := range map[string]struct {
		took time.Duration
		ok   bool
	}{"1": {time.Second, true}, "60": {2 * time.Second, false}, "": {20 * time.Millisecond, true}} {
		t.Run("Retry-After "+after, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				r := newReader(t, account.Config{Host: "http://api", Client: &http.Client{Transport: roundTrip(func(q *http.Request) *http.Response {
					w := httptest.NewRecorder()
					if tries++; tries == 1 {
						w.Header().Set("Retry-After", after)
						w.WriteHeader(http.StatusTooManyRequests)
					} else {
						answer(w, q, 1)
					}
					return w.Result()
				})}})
				start := time.Now()
				_, err := r.Get(t.Context(), "shop", "orders")
				if took := time.Since(start); (err == nil) != want.ok || took != want.took {
					t.Errorf("got %v after %v, want success=%v after %v", err, took, want.ok, want.took)
				}
			})
		})
	}
}

// TestBusy: above the bound nothing is asked, and there is room again afterwards.
func TestBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newReader(t, account.Config{Host: "http://api", MaxInFlight: 2, Client: &http.Client{Transport: roundTrip(func(q *http.Request) *http.Response {
			<-release
			w := httptest.NewRecorder()
			answer(w, q, 1)
			return w.Result()
		})}})
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				if _, err := r.Get(t.Context(), "shop", fmt.Sprint("sa-", i)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, err := r.Get(t.Context(), "shop", "third"); !errors.Is(err, account.ErrBusy) {
			t.Errorf("got %v, want ErrBusy", err)
		}
		close(release)
		wg.Wait()
		if _, err := r.Get(t.Context(), "shop", "third"); err != nil {
			t.Error(err)
		}
	})
}

// TestConnections: no more requests at a time than connections are kept.
func TestConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		release := make(chan struct{})
		r := newReader(t, account.Config{Host: "http://api", MaxConnections: 3, Client: &http.Client{Transport: roundTrip(func(q *http.Request) *http.Response {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-release
			w := httptest.NewRecorder()
			answer(w, q, 1)
			return w.Result()
		})}})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if _, err := r.Get(t.Context(), "shop", fmt.Sprint("sa-", i)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if most.Load() != 3 {
			t.Errorf("%d requests at a time, want 3", most.Load())
		}
	})
}

type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// silent never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestNewReaderNeedsClientAndHost(t *testing.T) {
	t.Parallel()
	if _, err := account.NewReader(account.Config{Host: "http://api"}); err == nil {
		t.Error("no error without a client")
	}
}

// What is not the account, though it comes with 200, is no account without client ID.
func TestAnswersThatAreNotTheAccount(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{}`, `null`, `{"metadata":{}}`, `{"metadata":{"namespace":"shop"}}`,
		`{"metadata":{"namespace":"shop","name":"other"}}`, `{"metadata":{"namespace":"other","name":"orders"}}`,
		`{"kind":"Status","status":"Success"}`, `{"metadata":{"namespace":"shop","name":"orders"`, `<html>`,
	} {
		r := newReader(t, api(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		if got, err := r.Get(t.Context(), "shop", "orders"); err == nil || errors.Is(err, account.ErrNotFound) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

// Names that no account can have are refused for good, and nothing is asked.
func TestNamesThatNoAccountHas(t *testing.T) {
	t.Parallel()
	r := newReader(t, api(t, func(_ http.ResponseWriter, q *http.Request) { t.Errorf("asked %s", q.URL.Path) }))
	for _, name := range []string{".", "..", "", "a/b", "A", "../secrets/x"} {
		if _, err := r.Get(t.Context(), "shop", name); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := r.Get(t.Context(), name, "orders"); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("namespace %q: %v", name, err)
		}
	}
}
