package azure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"azwi/internal/azure"
	"azwi/internal/finding"
)

// answer is the SDK's error of an answer.
func answer(status int, text string, header ...string) error {
	resp := body(status, text, header...) //nolint:bodyclose // in memory, and the error keeps it
	resp.Status = fmt.Sprintf("%d %s", status, http.StatusText(status))
	return fmt.Errorf("identity web: %w", runtime.NewResponseError(resp))
}

func signIn(status int, text string, header ...string) error {
	resp := body(status, text, header...) //nolint:bodyclose // in memory, and the error keeps it
	return fmt.Errorf("graph: %w", &azidentity.AuthenticationFailedError{RawResponse: resp})
}

// final is an error of the SDK that is not to be retried.
type final struct{ error }

func (final) NonRetriable() {}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const busy = `{"error":{"code":"` + azure.ConcurrentWrites + `","message":"busy"}}`
	for _, tt := range []struct {
		name  string
		err   error
		want  azure.Refusal
		brief string // default: err's text
	}{
		{name: "not Azure's", err: errors.New("no such file")},
		{
			name: "forbidden", brief: "identity web: 403 AuthorizationFailed: The client has no right.",
			err:  answer(403, `{"error":{"code":"AuthorizationFailed","message":"The client\n  has no right."}}`, "X-Ms-Request-Id", "r"),
			want: azure.Refusal{Status: 403, Code: "AuthorizationFailed", Message: "The client has no right.", RequestID: "r"},
		},
		{
			name: "Graph's request", err: answer(404, `{"error":{"code":"Request_ResourceNotFound","message":"m"}}`, "Request-Id", "r"),
			brief: "identity web: 404 Request_ResourceNotFound: m",
			want:  azure.Refusal{Status: 404, Code: "Request_ResourceNotFound", Message: "m", RequestID: "r"},
		},
		{
			name: "throttled", err: answer(429, `{"error":{"code":"TooManyRequests"}}`, "Retry-After", "7"), brief: "identity web: 429 TooManyRequests",
			want: azure.Refusal{Status: 429, Code: "TooManyRequests", Class: finding.Transient, RetryAfter: 7 * time.Second},
		},
		{
			name: "for ever", err: answer(503, "", "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"), brief: "identity web: 503 ",
			want: azure.Refusal{Status: 503, Class: finding.Transient, RetryAfter: 24 * time.Hour},
		},
		{
			name: "a concurrent write", err: answer(409, busy), brief: "identity web: 409 " + azure.ConcurrentWrites + ": busy",
			want: azure.Refusal{Status: 409, Code: azure.ConcurrentWrites, Message: "busy", Class: finding.Transient},
		},
		{
			name: "another conflict", err: answer(409, `{"error":{"code":"Other"}}`), brief: "identity web: 409 Other",
			want: azure.Refusal{Status: 409, Code: "Other"},
		},
		{name: "a gateway's page", err: answer(502, "<html>"), want: azure.Refusal{Status: 502, Class: finding.Transient}, brief: "identity web: 502 "},
		{name: "the wrong types", err: answer(400, `{"error":[{"code":1}]}`), want: azure.Refusal{Status: 400}, brief: "identity web: 400 "},
		{
			name: "a wrong secret", brief: "graph: no token: AADSTS7000215: Invalid secret.",
			err: signIn(401, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid secret. Trace ID: 1\r\nmore","error_codes":[7000215],"correlation_id":"c"}`),
			want: azure.Refusal{
				SignIn: true, Status: 401, Code: "invalid_client", AADSTS: 7000215, Message: "AADSTS7000215: Invalid secret.", RequestID: "c",
			},
		},
		{
			name: "a new credential", err: signIn(401, `{"error_codes":[700213]}`),
			want: azure.Refusal{SignIn: true, Status: 401, AADSTS: 700213, Class: finding.Replication},
		},
		{
			name: "Entra throttles", err: signIn(429, `{`, "Retry-After", "3"),
			want: azure.Refusal{SignIn: true, Status: 429, Class: finding.Transient, RetryAfter: 3 * time.Second},
		},
		{name: "no answer of Entra's", err: &azidentity.AuthenticationFailedError{}, want: azure.Refusal{SignIn: true}},
		{name: "az is missing", err: final{errors.New("az: not found")}, want: azure.Refusal{SignIn: true}},
		{name: "a lost connection", err: &url.Error{Op: "Get", URL: "u", Err: io.EOF}, want: azure.Refusal{Class: finding.Transient}},
		{name: "half an answer", err: fmt.Errorf("read: %w", io.ErrUnexpectedEOF), want: azure.Refusal{Class: finding.Transient}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := azure.Refused(tt.err)
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(azure.Refusal{})); diff != "" {
				t.Error(diff)
			}
			// What is to be said of the object is never said of the sign-in.
			if status, code := azure.StatusOf(tt.err); !got.SignIn && (status != got.Status || code != got.Code) || got.SignIn && status != 0 {
				t.Errorf("status %d %s", status, code)
			}
			if azure.NotFound(tt.err) != (tt.want.Status == 404) || azure.Forbidden(tt.err) != (tt.want.Status == 403) {
				t.Error("not found or forbidden, or not")
			}
			if brief := azure.Brief(tt.err); tt.brief != "" && brief != tt.brief || tt.brief == "" && brief != tt.err.Error() {
				t.Errorf("brief: %q, want %q", brief, tt.brief)
			}
		})
	}
	if got := azure.Refused(nil); got != (azure.Refusal{}) {
		t.Errorf("no error: %+v", got)
	}
}

// An answer that leads elsewhere, or is too large, is final and no matter of signing in.
func TestUnacceptableAnswersAreFinal(t *testing.T) {
	t.Parallel()
	h := &hostile{answer: func(*http.Request) *http.Response { return body(307, "", "Location", "https://evil.example") }}
	_, err := h.clients().graph.ApplicationByObjectID(t.Context(), "a")
	if !refused(err, "credentials are not sent there") || azure.Refused(err) != (azure.Refusal{}) {
		t.Errorf("%v: %+v", err, azure.Refused(err))
	}
}

// Graph, the SDK's clients and what is asked of Resource Manager directly try alike.
func TestSingleRequestsAreRetriedAlike(t *testing.T) {
	t.Parallel()
	const busy = `{"error":{"code":"` + azure.ConcurrentWrites + `"}}`
	for _, tt := range []struct {
		status int
		text   string
		tries  int
	}{{429, "{}", 6}, {408, "{}", 6}, {500, "{}", 6}, {504, "", 6}, {409, busy, 6}, {409, "{}", 1}, {404, busy, 1}, {403, "{}", 1}, {400, "{}", 1}} {
		for _, name := range []string{"application", "create application", "identity", "put credential", "location", "assign role"} {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				h := &hostile{answer: func(*http.Request) *http.Response { tries++; return body(tt.status, tt.text) }}
				err := gets()[name](t.Context(), h.clients())
				if status, _ := azure.StatusOf(err); status != tt.status || tries != tt.tries {
					t.Errorf("%s: %d %s: %d tries, want %d; %v", name, tt.status, tt.text, tries, tt.tries, err)
				}
			})
		}
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	throttled := func(after string) error { return answer(429, "{}", "Retry-After", after) }
	for _, tt := range []struct {
		name string
		new  int
		// errs are the answers; the last one is repeated.
		errs  []error
		tries int
		// between is how long it takes, with the part that is by chance.
		between [2]time.Duration
		waited  int // refusals that are told, as a rule all but New
	}{
		{name: "success", errs: []error{nil}, tries: 1},
		{name: "final", errs: []error{answer(400, "{}")}, tries: 1},
		{name: "no sign-in", errs: []error{signIn(503, "{}", "Retry-After", "1")}, tries: 1},
		{name: "passes", errs: []error{answer(503, ""), answer(500, ""), nil}, tries: 3, between: [2]time.Duration{3 * time.Second, 3750 * time.Millisecond}, waited: 2},
		{name: "seconds", errs: []error{throttled("20"), nil}, tries: 2, between: [2]time.Duration{20 * time.Second, 25 * time.Second}, waited: 1},
		{name: "too late", errs: []error{throttled("86400"), nil}, tries: 1},
		{name: "a date that is over", errs: []error{throttled("Thu, 01 Jan 1998 00:00:00 GMT"), nil}, tries: 2, between: [2]time.Duration{time.Second, 1250 * time.Millisecond}, waited: 1},
		{name: "for ever", errs: []error{answer(503, "")}, between: [2]time.Duration{4 * time.Minute, 5 * time.Minute}},
		{name: "for ever, by Retry-After", errs: []error{throttled("1")}, between: [2]time.Duration{4*time.Minute + 50*time.Second, 5 * time.Minute}},
		{name: "new", new: 404, errs: []error{answer(404, ""), answer(404, ""), nil}, tries: 3, between: [2]time.Duration{8 * time.Second, 10 * time.Second}},
		{name: "new for ever", new: 404, errs: []error{answer(404, "", "Retry-After", "60")}, between: [2]time.Duration{24 * time.Second, 30 * time.Second}},
		{name: "new, no sign-in", new: 400, errs: []error{signIn(400, `{"error_codes":[90033]}`)}, tries: 1},
		{name: "another status", new: 404, errs: []error{answer(400, "")}, tries: 1},
		{name: "new and throttled", new: 404, errs: []error{throttled("60"), answer(404, ""), nil}, tries: 2, between: [2]time.Duration{time.Minute, 75 * time.Second}, waited: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tries, waited := 0, 0
				again := azure.Retry{New: tt.new, Waiting: func(why error, pause time.Duration) {
					if waited++; why == nil || pause <= 0 {
						t.Errorf("%v, %s", why, pause)
					}
				}}
				var last error
				began := time.Now()
				err := again.Do(t.Context(), func(context.Context) error {
					last = tt.errs[min(tries, len(tt.errs)-1)]
					tries++
					return last
				})
				took := time.Since(began)
				if !errors.Is(err, last) || tt.tries != 0 && (tries != tt.tries || waited != tt.waited) {
					t.Errorf("%v after %d tries and %d waits, want %d and %d", err, tries, waited, tt.tries, tt.waited)
				}
				if took < tt.between[0] || took > tt.between[1] {
					t.Errorf("took %s, want %s", took, tt.between)
				}
			})
		})
	}
}

// In a Retry the SDK sends once, and the zero value needs nobody to tell.
func TestRetryIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent, calls := 0, 0
		h := &hostile{answer: func(*http.Request) *http.Response { sent++; return body(503, "") }}
		c := h.clients()
		err := azure.Retry{}.Do(t.Context(), func(ctx context.Context) error {
			calls++
			return gets()["put credential"](ctx, c)
		})
		if status, _ := azure.StatusOf(err); status != 503 || sent != calls || calls < 10 {
			t.Errorf("%d calls, %d requests: %v", calls, sent, err)
		}
	})
}

func TestRetryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		because := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, because)
		defer cancel()
		began := time.Now()
		err := azure.Retry{}.Do(ctx, func(context.Context) error { return answer(429, "", "Retry-After", "60") })
		if took := time.Since(began); !errors.Is(err, because) || took != 10*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		err = azure.Retry{}.Do(ctx, func(context.Context) error { return answer(429, "") })
		if err == nil || !strings.Contains(err.Error(), "429") {
			t.Errorf("over already: %v", err)
		}
	})
}
