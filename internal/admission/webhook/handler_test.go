package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"azwi/internal/admission/account"
	"azwi/internal/admission/webhook"
	"azwi/internal/pod/inject"
)

// fixed answers every question about a service account alike.
type fixed struct {
	account inject.Account
	err     error
}

func (f fixed) Get(context.Context, string, string) (inject.Account, error) { return f.account, f.err }

func newHandler(f fixed, log *bytes.Buffer) (*webhook.Handler, *webhook.Metrics) {
	m := webhook.NewMetrics()
	return &webhook.Handler{
		Accounts: f, Metrics: m, Settings: inject.Settings{TenantID: "t"},
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, m
}

func reviewOf(pod string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","operation":"CREATE","namespace":"shop",
		"resource":{"group":"","version":"v1","resource":"pods"},"object":` + pod + `}}`
}

const optedIn = `{"metadata":{"generateName":"orders-","labels":{"azure.workload.identity/use":"true"}},"spec":{"serviceAccountName":"orders","containers":[{"name":"app","env":[{"name":"PASSWORD","value":"hunter2"}]}]}}`

func TestRefusesWhatIsNoPodCreation(t *testing.T) {
	t.Parallel()
	change := func(from, to string) string { return strings.Replace(reviewOf(optedIn), from, to, 1) }
	tests := []struct {
		name, method, contentType, body string
		want                            int
		says                            string
	}{
		{"GET", http.MethodGet, "application/json", "", 405, "POST"},
		{"form", http.MethodPost, "application/x-www-form-urlencoded", "a=b", 415, "application/json"},
		{"no type", http.MethodPost, "", "{}", 415, "application/json"},
		{"empty", http.MethodPost, "application/json", "", 400, "not an AdmissionReview"},
		{"no JSON", http.MethodPost, "application/json", "pod", 400, "not an AdmissionReview"},
		{"a pod", http.MethodPost, "application/json", optedIn, 400, "want AdmissionReview"},
		{"other version", http.MethodPost, "application/json", change("admission.k8s.io/v1", "admission.k8s.io/v2"), 400, "want AdmissionReview"},
		{"no request", http.MethodPost, "application/json", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, 400, "no request"},
		{"no uid", http.MethodPost, "application/json", change(`"uid":"u1"`, `"uid":""`), 400, "no uid"},
		{"update", http.MethodPost, "application/json", change("CREATE", "UPDATE"), 400, "only CREATE of pods"},
		{"deployment", http.MethodPost, "application/json", change(`"resource":"pods"`, `"resource":"deployments"`), 400, "only CREATE of pods"},
		{"pod/exec", http.MethodPost, "application/json", change(`"operation"`, `"subResource":"exec","operation"`), 400, "only CREATE of pods"},
		{"long namespace", http.MethodPost, "application/json", change(`"namespace":"shop"`, `"namespace":"`+strings.Repeat("n", 254)+`"`), 400, "longer than 253"},
		{"long uid", http.MethodPost, "application/json", change(`"uid":"u1"`, `"uid":"`+strings.Repeat("n", 254)+`"`), 400, "longer than 253"},
		{"not UTF-8", http.MethodPost, "application/json", change("hunter2", "\xff"), 400, "UTF-8"},
		{"too large", http.MethodPost, "application/json", change("hunter2", strings.Repeat("x", 5<<20)), 413, "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, m := newHandler(fixed{}, &bytes.Buffer{})
			r := httptest.NewRequestWithContext(t.Context(), tt.method, "/mutate-v1-pod", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.contentType)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("got %d %q, want %d with %q", w.Code, w.Body, tt.want, tt.says)
			}
			if got := metric(t, m, `azwi_admissions_total{outcome="malformed",reason=""}`); got != "1" {
				t.Errorf("counted %q times as malformed", got)
			}
		})
	}
}

type answer struct {
	Response struct {
		UID     string
		Allowed bool
		Patch   []byte
		Status  struct {
			Code    int
			Message string
			Details struct{ RetryAfterSeconds int }
		}
		AuditAnnotations map[string]string
		Warnings         []string
	}
}

func ask(t *testing.T, h *webhook.Handler, body string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mutate-v1-pod", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
		t.Fatalf("got %d %q: %v", w.Code, w.Body, err)
	}
	if a.Response.UID != "u1" {
		t.Errorf("uid is %q", a.Response.UID)
	}
	return a
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		pod     string
		account fixed
		code    int // 0: allowed
		retry   int
		patched bool
		count   string
	}{
		{"injected", optedIn, fixed{}, 0, 0, true, `{outcome="injected",reason=""}`},
		{"not opted in", `{"spec":{}}`, fixed{err: errors.New("not asked")}, 0, 0, false, `{outcome="unchanged",reason="not-opted-in"}`},
		{"not opted in, whatever else", `{"spec":{"containers":1}}`, fixed{err: errors.New("not asked")}, 0, 0, false, `{outcome="unchanged",reason="not-opted-in"}`},
		{"too many containers", strings.Replace(optedIn, `{"name":"app"`, strings.Repeat(`{},`, 200)+`{"name":"app"`, 1), fixed{}, 400, 0, false, `{outcome="denied",reason="pod-too-large"}`},
		{"too long values", strings.Replace(optedIn, `{"name":"app"`, strings.Repeat(`{},`, 100)+`{"name":"app"`, 1),
			fixed{account: inject.Account{Annotations: map[string]string{"azure.workload.identity/client-id": strings.Repeat("x", 20<<10)}}},
			400, 0, false, `{outcome="denied",reason="pod-too-large"}`},
		{"unreadable pod", `{"metadata":{"labels":{"azure.workload.identity/use":"true"}},"spec":{"containers":1}}`, fixed{}, 400, 0, false, `{outcome="malformed",reason="pod"}`},
		{"denied", optedIn, fixed{account: inject.Account{Annotations: map[string]string{"azure.workload.identity/service-account-token-expiration": "1"}}},
			400, 0, false, `{outcome="denied",reason="token-expiration"}`},
		{"no such account", optedIn, fixed{err: fmt.Errorf("read: %w", account.ErrNotFound)}, 403, 0, false, `{outcome="denied",reason="account-not-found"}`},
		{"no right", optedIn, fixed{err: account.ErrForbidden}, 500, 0, false, `{outcome="failed",reason="account-forbidden"}`},
		{"busy", optedIn, fixed{err: account.ErrBusy}, 429, 1, false, `{outcome="busy",reason="account-reads"}`},
		{"API server down", optedIn, fixed{err: context.DeadlineExceeded}, 503, 1, false, `{outcome="failed",reason="account-read"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			h, m := newHandler(tt.account, &log)
			a := ask(t, h, reviewOf(tt.pod)).Response
			if a.Allowed != (tt.code == 0) || a.Status.Code != tt.code || a.Status.Details.RetryAfterSeconds != tt.retry || (len(a.Patch) > 0) != tt.patched {
				t.Errorf("got %+v", a)
			}
			if tt.code != 0 && a.Status.Message == "" {
				t.Error("a refusal without a message")
			}
			if got := metric(t, m, "azwi_admissions_total"+tt.count); got != "1" {
				t.Errorf("counted %q times as %s", got, tt.count)
			}
			if got := metric(t, m, `azwi_mutation_request_count{namespace="shop"}`); got != "1" {
				t.Errorf("observed %q durations", got)
			}
			if strings.Contains(log.String(), "hunter2") {
				t.Errorf("the log holds the pod: %s", &log)
			}
		})
	}
}

// TestWarnings: each is shown, an audit annotation and counted.
func TestWarnings(t *testing.T) {
	t.Parallel()
	h, m := newHandler(fixed{account: inject.Account{Annotations: map[string]string{
		"azure.workload.identity/clientid": "x", "azure.workload.identity/tenantId": "x",
	}}}, &bytes.Buffer{})
	a := ask(t, h, reviewOf(optedIn)).Response
	if len(a.Warnings) != 3 {
		t.Fatalf("warnings: %q", a.Warnings)
	}
	for _, warning := range a.Warnings {
		found := false
		for _, audit := range a.AuditAnnotations {
			found = found || strings.Contains(audit, warning)
		}
		if !found {
			t.Errorf("no audit annotation of %q: %v", warning, a.AuditAnnotations)
		}
	}
	if got := metric(t, m, `azwi_admission_warnings_total{reason="near-miss-key"}`); got != "2" {
		t.Errorf("counted %q near misses", got)
	}
}

// TestNamespaceLabelIsBounded: a cluster of many namespaces does not fill the
// monitoring system.
func TestNamespaceLabelIsBounded(t *testing.T) {
	t.Parallel()
	h, m := newHandler(fixed{}, &bytes.Buffer{})
	for i := range 1010 {
		ask(t, h, strings.Replace(reviewOf(optedIn), `"namespace":"shop"`, fmt.Sprintf(`"namespace":"ns-%d"`, i), 1))
	}
	if got := strings.Count(metrics(t, m), "azwi_mutation_request_count{"); got != 1001 {
		t.Errorf("%d namespaces", got)
	}
	if got := metric(t, m, `azwi_mutation_request_count{namespace="other"}`); got != "10" {
		t.Errorf("other has %q", got)
	}
}

// TestUpstreamBuckets: dashboards made for upstream go on working.
func TestUpstreamBuckets(t *testing.T) {
	t.Parallel()
	h, m := newHandler(fixed{}, &bytes.Buffer{})
	ask(t, h, reviewOf(optedIn))
	var got []string
	for line := range strings.Lines(metrics(t, m)) {
		if _, rest, ok := strings.Cut(line, `azwi_mutation_request_bucket{namespace="shop",le="`); ok {
			le, _, _ := strings.Cut(rest, `"`)
			got = append(got, le)
		}
	}
	const want = "0.001 0.002 0.003 0.004 0.005 0.006 0.007 0.008 0.009 0.01 0.02 0.03 0.04 0.05 0.06 0.07 0.08 0.09 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1 1.5 2 2.5 3 +Inf"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func metrics(t *testing.T, m *webhook.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	return w.Body.String()
}

func metric(t *testing.T, m *webhook.Metrics, name string) string {
	t.Helper()
	for line := range strings.Lines(metrics(t, m)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// FuzzReview: whatever is sent, the answer is a 4xx or a review with the same uid.
func FuzzReview(f *testing.F) {
	f.Add([]byte(reviewOf(optedIn)))
	f.Add([]byte(reviewOf(`null`)))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`))
	f.Add([]byte(`[]`))
	h, _ := newHandler(fixed{}, &bytes.Buffer{})
	h.Logger = slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mutate-v1-pod", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 400 && w.Code < 500 {
			return
		}
		var got struct {
			Response *struct {
				UID     string
				Allowed *bool
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK || got.Response == nil || got.Response.UID == "" || got.Response.Allowed == nil {
			t.Errorf("got %d %q (%v) for %q", w.Code, w.Body, err, body)
		}
	})
}
