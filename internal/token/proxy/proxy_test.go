package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/finding"
	"azwi/internal/token"
	"azwi/internal/token/entra"
	"azwi/internal/token/imds"
	"azwi/internal/token/proxy"
)

const (
	secret   = "0f3c2a7e-1111-4222-8333-444455556666"
	imdsPath = "/metadata/identity/oauth2/token?api-version=2018-02-01&"
)

type config struct {
	exchange   func(context.Context, token.Key) (entra.Token, error)
	identities proxy.Identities
	lax        bool
	forward    http.Handler
	ready      func() error
}

// handler is a proxy whose exchange is the test's.
func handler(t *testing.T, c config) (*proxy.Handler, *proxy.Metrics) {
	t.Helper()
	if c.exchange == nil {
		c.exchange = func(_ context.Context, k token.Key) (entra.Token, error) {
			return entra.Token{Type: "Bearer", Value: k.TenantID + "/" + k.ClientID + "/" + k.Resource, Lifetime: time.Hour}, nil
		}
	}
	if c.identities.Default.TenantID == "" {
		c.identities.Default = proxy.Identity{ClientID: "default-client", TenantID: "tenant"}
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	source, err := token.New(ctx, token.Config{Exchange: c.exchange})
	if err != nil {
		t.Fatal(err)
	}
	metrics := &proxy.Metrics{Soonest: source.Soonest}
	return &proxy.Handler{
		Tokens: source, Identities: c.identities, Parser: imds.Parser{Secret: secret, Lax: c.lax},
		Forward: c.forward, Ready: c.ready, Metrics: metrics, Logger: logger,
	}, metrics
}

// ask sends a GET with Metadata: true.
func ask(h http.Handler, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://169.254.169.254"+target, http.NoBody)
	r.Header.Set("Metadata", "true")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// pass lets a bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

type answer struct {
	AccessToken string `json:"access_token"`
	ClientID    string `json:"client_id"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Codes       []int  `json:"error_codes"`
}

func decode(t *testing.T, w *httptest.ResponseRecorder) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%d, no JSON: %s", w.Code, w.Body)
	}
	return a
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	const resourceID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"
	mapped := map[string]proxy.Identity{
		"object": {ClientID: "mapped-client"}, strings.ToLower(resourceID): {ClientID: "res-client", TenantID: "other-tenant"}, "old-client": {ClientID: "new-client"},
	}
	full := proxy.Identities{Default: proxy.Identity{ClientID: "default-client", TenantID: "tenant"}, Mapped: mapped}
	none := proxy.Identities{Default: proxy.Identity{TenantID: "tenant"}}
	limited := full
	limited.Allowed = []string{"mapped-client", "other-client"}
	lax := full
	lax.FallBack = true
	for _, tt := range []struct {
		name  string
		ids   proxy.Identities
		query string
		want  string // the token, or the beginning of the error
	}{
		{"default", full, "", "tenant/default-client/r"},
		{"client", full, "&client_id=Other-Client", "tenant/other-client/r"},
		{"mapped client", full, "&client_id=old-client", "tenant/new-client/r"},
		{"mapped object", full, "&object_id=object", "tenant/mapped-client/r"},
		{"mapped resource, whatever its case", full, "&mi_res_id=" + strings.ToUpper(resourceID), "other-tenant/res-client/r"},
		{"unknown object", full, "&object_id=x", "Identity not found: object and resource IDs"},
		{"unknown resource", full, "&msi_res_id=/subscriptions/x", "Identity not found: object and resource IDs"},
		{"no default", none, "", "Identity not found: the request names no identity, and there is no default"},
		{"no client ID", full, "&client_id=../x", `Identity not found: "../x" is not a client ID`},
		{"dots", full, "&client_id=..", `Identity not found: ".." is not a client ID`},
		{"allowed", limited, "&client_id=other-client", "tenant/other-client/r"},
		{"allowed by mapping", limited, "&object_id=OBJECT", "tenant/mapped-client/r"},
		{"not allowed", limited, "&client_id=third", "Identity not found: client ID third is not among"},
		{"default not allowed", limited, "", "Identity not found: client ID default-client is not among"},
		{"lax: unknown object", lax, "&object_id=x", "tenant/default-client/r"},
		{"lax: known client", lax, "&client_id=other", "tenant/other/r"},
	} {
		h, _ := handler(t, config{identities: tt.ids})
		w := ask(h, imdsPath+"resource=r"+tt.query)
		a := decode(t, w)
		if got := a.AccessToken + a.Description; !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		status := http.StatusBadRequest
		if a.AccessToken != "" {
			status = http.StatusOK
		}
		if w.Code != status {
			t.Errorf("%s: status %d, want %d", tt.name, w.Code, status)
		}
	}
}

// Clients repeat on 5xx and 429, and never on 400: upstream answered everything
// with 500 and plain text.
func TestErrors(t *testing.T) {
	t.Parallel()
	aadsts := func(status, code int, name string) error {
		return &entra.Error{Status: status, Code: code, Name: name, Description: fmt.Sprintf("AADSTS%d: text.", code), RetryAfter: 0}
	}
	for _, tt := range []struct {
		name       string
		err        error
		status     int
		error      string
		retryAfter bool
		text       string
	}{
		{"unknown application", aadsts(400, 700016, "unauthorized_client"), 400, "unauthorized_client", false, "What to do: the client ID is not known"},
		{"wrong case", aadsts(401, 7002138, "invalid_client"), 400, "invalid_client", false, "upper and lower case"},
		{"unknown resource", aadsts(400, 500011, "invalid_resource"), 400, "invalid_resource", false, "AADSTS500011: text. What to do: "},
		{"unknown code", aadsts(400, 99, ""), 400, "invalid_request", false, "AADSTS99: text."},
		{"replication", aadsts(401, 700213, "invalid_client"), 503, "invalid_client", true, "create one with exactly the token's subject"},
		{"issuer unreachable", aadsts(400, 50166, "invalid_request"), 503, "invalid_request", true, "Entra could not fetch"},
		{"throttled", aadsts(429, 90055, "temporarily_unavailable"), 429, "temporarily_unavailable", true, "AADSTS90055"},
		{"429 of a gateway", &entra.Error{Status: 429}, 429, "temporarily_unavailable", true, "429"},
		{"busy", &token.Error{Class: finding.Transient, RetryAfter: 5 * time.Second, Err: token.ErrBusy}, 429, "too_many_requests", true, "too many token requests"},
		{"500", &entra.Error{Status: 500}, 503, "temporarily_unavailable", true, "500"},
		{"token file", fmt.Errorf("%w: missing", entra.ErrAssertion), 503, "temporarily_unavailable", true, "no usable service account token"},
		{"network", &net.OpError{Op: "dial", Err: errors.New("no route to host")}, 503, "temporarily_unavailable", true, "no route to host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, _ := handler(t, config{exchange: func(context.Context, token.Key) (entra.Token, error) { return entra.Token{}, tt.err }})
			w := ask(h, imdsPath+"resource=r")
			a := decode(t, w)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			if a.Error != tt.error {
				t.Errorf("error %s, want %s", a.Error, tt.error)
			}
			if !strings.Contains(a.Description, tt.text) {
				t.Errorf("description %q, want %q", a.Description, tt.text)
			}
			if wait := w.Header().Get("Retry-After"); (wait != "") != tt.retryAfter {
				t.Errorf("Retry-After %q, want one: %t", wait, tt.retryAfter)
			}
			if w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("content type %q", w.Header().Get("Content-Type"))
			}
		})
	}
}

// The guards of IMDS come before everything, and nothing is asked for probes.
func TestGuards(t *testing.T) {
	t.Parallel()
	called := false
	h, _ := handler(t, config{
		exchange: func(context.Context, token.Key) (entra.Token, error) {
			called = true
			return entra.Token{}, errors.New("asked")
		},
		forward: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }),
	})
	for _, tt := range []struct {
		name, method, target string
		change               func(*http.Request)
		status               int
	}{
		{"probe", "GET", "/metadata/identity/oauth2/token", func(r *http.Request) { r.Header.Del("Metadata") }, 400},
		{"no header", "GET", imdsPath + "resource=r", func(r *http.Request) { r.Header.Del("Metadata") }, 400},
		{"forwarded", "GET", imdsPath + "resource=r", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "1.2.3.4") }, 400},
		{"other host", "GET", imdsPath + "resource=r", func(r *http.Request) { r.Host = "evil.example" }, 400},
		{"other host elsewhere", "GET", "/metadata/instance", func(r *http.Request) { r.Host = "evil.example" }, 400},
		{"forwarded elsewhere", "GET", "/metadata/instance", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "") }, 400},
		{"POST", "POST", imdsPath + "resource=r", func(*http.Request) {}, 405},
		{"IMDSv2 probe of MSAL.NET", "GET", "/metadata/identity/getplatformmetadata?cred-api-version=2.0", func(*http.Request) {}, 404},
		{"identity info", "GET", "/metadata/identity/info", func(*http.Request) {}, 404},
		{"double encoding", "GET", "/metadata/%2569dentity/oauth2/token", func(*http.Request) {}, 400},
		{"another pod's secret", "GET", "/00000000-0000-4000-8000-000000000000/msi/token?resource=r", func(*http.Request) {}, 404},
		{"loop", "GET", "/metadata/instance", func(r *http.Request) { r.Header.Set("Azwi-Proxy-Forwarded", "1") }, 508},
	} {
		r := httptest.NewRequest(tt.method, "http://169.254.169.254"+tt.target, http.NoBody)
		r.Header.Set("Metadata", "true")
		tt.change(r)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, w.Code, tt.status)
		}
		if called {
			t.Errorf("%s: somebody was asked", tt.name)
			called = false
		}
		if decode(t, w).Error == "" {
			t.Errorf("%s: %s", tt.name, w.Body)
		}
	}
}

func TestLaxTakesRequestsWithoutHeader(t *testing.T) {
	t.Parallel()
	h, _ := handler(t, config{lax: true})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://169.254.169.254/metadata/identity/oauth2/token?resource=r", http.NoBody))
	if w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var failure error
	h, _ := handler(t, config{ready: func() error { return failure }, exchange: func(context.Context, token.Key) (entra.Token, error) {
		t.Error("health asks Entra")
		return entra.Token{}, nil
	}})
	if w := ask(h, "/readyz"); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	failure = errors.New("no usable service account token")
	if w := ask(h, "/readyz"); w.Code != 503 || !strings.Contains(w.Body.String(), "service account token") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(h, "/healthz"); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// upstream is a metadata service that records what it is asked.
type upstream struct {
	mu   sync.Mutex
	seen []*http.Request
	URL  *url.URL
}

func newUpstream(t testing.TB, h http.HandlerFunc) *upstream {
	t.Helper()
	u := &upstream{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.seen = append(u.seen, r)
		u.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(server.Close)
	var err error
	if u.URL, err = url.Parse(server.URL); err != nil {
		t.Fatal(err)
	}
	return u
}

func (u *upstream) take() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}

func TestForward(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("X-Kept", "yes")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, body)
	})
	h, _ := handler(t, config{forward: proxy.NewForwarder(proxy.ForwarderConfig{URL: u.URL, Logger: slog.New(slog.DiscardHandler)})})
	r := httptest.NewRequest(http.MethodPost, "http://169.254.169.254//metadata/./scheduledevents?api-version=2020-07-01", strings.NewReader("body"))
	r.Header.Set("Metadata", "true")
	r.Header.Set("Connection", "X-Hop, Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("X-Hop", "1")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Ms-Client-Request-Id", "i")
	for _, name := range []string{
		"X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Forwarded-Host", "Forwarded", "X-Host",
		"Authorization", "Cookie", "Range", "Te", "Trailer", "Accept-Encoding", "Content-Encoding", "Via", "Max-Forwards",
	} {
		r.Header.Set(name, "/metadata/identity/oauth2/token")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	type forwarded struct {
		Code                  int
		Body, Kept, KeepAlive string
	}
	if diff := cmp.Diff(forwarded{http.StatusTeapot, "POST /metadata/scheduledevents?api-version=2020-07-01 body", "yes", ""},
		forwarded{w.Code, w.Body.String(), w.Header().Get("X-Kept"), w.Header().Get("Keep-Alive")}); diff != "" {
		t.Error(diff)
	}
	seen := u.take()
	if len(seen) != 1 {
		t.Fatalf("%d requests", len(seen))
	}
	got := seen[0].Header
	want := http.Header{"Metadata": {"true"}, "Azwi-Proxy-Forwarded": {"1"}, "Content-Length": {"4"}, "X-Ms-Client-Request-Id": {"i"}, "Content-Type": {"application/json"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if seen[0].Host != u.URL.Host {
		t.Errorf("host %s", seen[0].Host)
	}
	// AWS wants the slash at the end.
	if w := ask(h, "/latest/meta-data/"); w.Body.String() != "GET /latest/meta-data/ " {
		t.Errorf("%s", w.Body)
	}
}

// Whatever a client writes on a connection, the metadata service sees nothing but
// whole requests of the three methods, each with the length of its own body.
func TestForwardOddRequests(t *testing.T) {
	t.Parallel()
	const smuggled = "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=r HTTP/1.1\r\nHost: 169.254.169.254\r\nMetadata: true\r\n\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n", len(smuggled))
	large := strings.Repeat("a", 64<<10)
	const instance = " /metadata/instance HTTP/1.1\r\nHost: 169.254.169.254\r\nMetadata: true\r\n"
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || int64(len(body)) != r.ContentLength || len(r.TransferEncoding) > 0 {
			t.Errorf("%s: %d bytes of %d, encoded %q, %v", r.Method, len(body), r.ContentLength, r.TransferEncoding, err)
		}
		fmt.Fprintf(w, "%s %d", r.Method, len(body))
	})
	h, _ := handler(t, config{forward: proxy.NewForwarder(proxy.ForwarderConfig{URL: u.URL, Logger: slog.New(slog.DiscardHandler)})})
	addr := serve(t, proxy.ServerConfig{Handler: h, Logger: slog.New(slog.DiscardHandler)})
	for _, tt := range []struct {
		name, raw string
		status    int
		forwarded int
	}{
		{"GET", "GET" + instance + "\r\n", 200, 1},
		{"GET of length zero", "GET" + instance + "Content-Length: 0\r\n\r\n", 200, 1},
		{"HEAD", "HEAD" + instance + "\r\n", 200, 1},
		{"POST without a body", "POST" + instance + "Content-Length: 0\r\n\r\n", 200, 1},
		{"POST", "POST" + instance + "Content-Length: 4\r\n\r\nbody", 200, 1},
		{"POST of a request", "POST" + instance + length + smuggled, 200, 1},
		{"largest POST", "POST" + instance + "Content-Length: 65536\r\n\r\n" + large, 200, 1},
		{"larger POST", "POST" + instance + "Content-Length: 65537\r\n\r\n" + large + "a", 400, 0},
		{"GET with a body", "GET" + instance + length + smuggled, 400, 0},
		{"GET with chunks", "GET" + instance + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 400, 0},
		{"GET with chunks and length", "GET" + instance + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, 0},
		{"HEAD with a body", "HEAD" + instance + length + smuggled, 400, 0},
		{"POST with chunks", "POST" + instance + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 400, 0},
		{"Expect", "POST" + instance + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody", 400, 0},
		{"Expect without a body", "GET" + instance + "Expect: 100-continue\r\n\r\n", 400, 0},
		{"GET whose body does not come", "GET" + instance + "Content-Length: 10\r\n\r\n", 400, 0},
		{"CONNECT /", "CONNECT / HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", 405, 0},
		{"CONNECT", "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n\r\n", 405, 0},
		{"TRACE", "TRACE" + instance + "\r\n", 405, 0},
		{"PUT", "PUT" + instance + "Content-Length: 4\r\n\r\nbody", 405, 0},
		{"lower case", "get" + instance + "\r\n", 405, 0},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", 405, 0},
	} {
		t.Run(tt.name, func(t *testing.T) { //nolint:paralleltest // they share what the metadata service has seen
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tt.raw); err != nil {
				t.Fatal(err)
			}
			method, _, _ := strings.Cut(tt.raw, " ")
			resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status {
				t.Errorf("%d %s, %v, want %d", resp.StatusCode, body, err, tt.status)
			}
			seen := u.take()
			if len(seen) != tt.forwarded {
				t.Fatalf("%d requests", len(seen))
			}
			if len(seen) > 0 && (seen[0].Method != method || strings.Contains(seen[0].URL.Path, "identity")) {
				t.Errorf("%s %s", seen[0].Method, seen[0].URL)
			}
		})
	}
}

// Nothing is sent before the whole body is there.
func TestForwardWaitsForTheBody(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, func(http.ResponseWriter, *http.Request) {})
	h, _ := handler(t, config{forward: proxy.NewForwarder(proxy.ForwarderConfig{URL: u.URL, Logger: slog.New(slog.DiscardHandler)})})
	r := httptest.NewRequest(http.MethodPost, "http://169.254.169.254/metadata/scheduledevents", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	r.ContentLength = 8
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if seen := u.take(); w.Code != 400 || len(seen) != 0 {
		t.Errorf("%d %s, %d requests", w.Code, w.Body, len(seen))
	}
}

func TestForwardedAnswersAreBounded(t *testing.T) {
	t.Parallel()
	kib := bytes.Repeat([]byte("a"), 1024)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metadata/long" {
			w.Header().Set("Content-Length", "2000000000")
		}
		for range 1 << 20 {
			if _, err := w.Write(kib); err != nil {
				return
			}
		}
	})
	h, _ := handler(t, config{forward: proxy.NewForwarder(proxy.ForwarderConfig{URL: u.URL, Logger: slog.New(slog.DiscardHandler)})})
	if w := ask(h, "/metadata/long"); w.Code != 502 || !strings.Contains(decode(t, w).Description, "larger than") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	resp, err := http.Get(server.URL + "/metadata/endless")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n > 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Bodies that come slowly take neither all connections nor the places of others.
func TestSlowBodiesAreBounded(t *testing.T) {
	t.Parallel()
	h, _ := handler(t, config{})
	slow := func(body io.Reader) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://169.254.169.254/"+secret+"/msi/token", body)
		r.Header.Set("Metadata", "true")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	var served sync.WaitGroup
	var writers []*io.PipeWriter
	for range 16 {
		body, w := io.Pipe()
		writers = append(writers, w)
		served.Go(func() {
			if w := slow(body); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	for _, w := range writers {
		if _, err := io.WriteString(w, "resource="); err != nil { // it returns once that is read
			t.Error(err)
		}
	}
	if w := slow(strings.NewReader("resource=r")); w.Code != 429 || w.Header().Get("Retry-After") == "" || w.Header().Get("Connection") != "close" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := ask(h, imdsPath+"resource=r"); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, w := range writers {
		if _, err := io.WriteString(w, "r"); err != nil {
			t.Error(err)
		}
		_ = w.Close()
	}
	served.Wait()
	if w := slow(strings.NewReader("resource=r")); w.Code != 200 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}

func TestForwardIsBlocked(t *testing.T) {
	t.Parallel()
	h, _ := handler(t, config{})
	if w := ask(h, "/metadata/instance"); w.Code != 404 || decode(t, w).Error != "not_found" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestForwardEnds(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	logger := slog.New(slog.DiscardHandler)
	slow, _ := handler(t, config{forward: proxy.NewForwarder(proxy.ForwarderConfig{URL: u.URL, Timeout: 50 * time.Millisecond, MaxInFlight: 1, Logger: logger})})
	if w := ask(slow, "/metadata/instance"); w.Code != 504 || decode(t, w).Error != "gateway_timeout" {
		t.Errorf("slow: %d %s", w.Code, w.Body)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := &url.URL{Scheme: "http", Host: l.Addr().String()}
	_ = l.Close()
	down, _ := handler(t, config{forward: proxy.NewForwarder(proxy.ForwarderConfig{URL: gone, Logger: logger})})
	if w := ask(down, "/metadata/instance"); w.Code != 502 || decode(t, w).Error != "bad_gateway" {
		t.Errorf("down: %d %s", w.Code, w.Body)
	}

	// A caller that goes away ends the request, and no more than MaxInFlight run.
	began := make(chan struct{})
	ended := make(chan struct{})
	v := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	})
	one, _ := handler(t, config{forward: proxy.NewForwarder(proxy.ForwarderConfig{URL: v.URL, MaxInFlight: 1, Logger: logger})})
	ctx, cancel := context.WithCancel(t.Context())
	go one.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://localhost/metadata/instance", http.NoBody).WithContext(ctx))
	<-began
	if w := ask(one, "/metadata/instance"); w.Code != 429 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("second: %d %s", w.Code, w.Body)
	}
	cancel()
	<-ended
}

// An answer is passed on while it comes.
func TestForwardStreams(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 2 {
			fmt.Fprintln(w, "line")
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	h, _ := handler(t, config{forward: proxy.NewForwarder(proxy.ForwarderConfig{URL: u.URL, Logger: slog.New(slog.DiscardHandler)})})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	resp, err := http.Get(server.URL + "/metadata/instance")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for range 2 {
		if line, err := lines.ReadString('\n'); err != nil || line != "line\n" {
			t.Fatalf("%q, %v", line, err)
		}
		next <- struct{}{}
	}
}

// Whatever a client sends, byte for byte: what reaches the metadata service never
// reads as its identity endpoint.
func FuzzForwardNeverAsksForIdentity(f *testing.F) {
	for _, s := range []string{
		"/metadata/identity/oauth2/token", "/metadata/instance?x=/metadata/identity", "//metadata/%69dentity/", "/metadata/%2569dentity",
		"/x/..%2fmetadata/identity", "/metadata/\\identity", "http://169.254.169.254/metadata/identity/oauth2/token", "/METADATA/IDENTITY", "/metadata/identity;a",
	} {
		f.Add("GET", s, "Metadata: true")
	}
	f.Add("GET", "/metadata/instance", "X-Original-Url: /metadata/identity")
	u := newUpstream(f, func(http.ResponseWriter, *http.Request) {})
	ctx, stop := context.WithCancel(context.WithoutCancel(f.Context()))
	f.Cleanup(stop)
	source, err := token.New(ctx, token.Config{Exchange: func(context.Context, token.Key) (entra.Token, error) {
		return entra.Token{}, entra.ErrAssertion
	}})
	if err != nil {
		f.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	h := &proxy.Handler{
		Tokens: source, Identities: proxy.Identities{Default: proxy.Identity{ClientID: "c", TenantID: "t"}}, Metrics: new(proxy.Metrics),
		Logger: logger, Forward: proxy.NewForwarder(proxy.ForwarderConfig{URL: u.URL, Logger: logger}),
	}
	f.Fuzz(func(t *testing.T, method, target, header string) {
		raw := method + " " + target + " HTTP/1.1\r\nHost: 169.254.169.254\r\n" + header + "\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		for _, seen := range u.take() {
			read := seen.RequestURI
			read, _, _ = strings.Cut(read, "?")
			for range 5 {
				read = strings.ReplaceAll(read, `\`, "/")
				if strings.HasPrefix(strings.ToLower(path.Clean("/"+read)), "/metadata/identity") {
					t.Fatalf("%q was forwarded as %q", target, seen.RequestURI)
				}
				if read, err = url.PathUnescape(read); err != nil {
					break
				}
			}
		}
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("%q: a bare 500", target)
		}
	})
}

// Upstream's probe gave up at the first refused connection.
func TestProbeWaitsThroughStartup(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close() // nobody listens
	result := make(chan error, 1)
	p := proxy.Prober{URL: "http://" + addr, Pause: time.Millisecond}
	go func() { result <- p.Ready(t.Context()) }()
	select {
	case err := <-result:
		t.Fatalf("the probe did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	var mu sync.Mutex
	failure := errors.New("not yet")
	h, _ := handler(t, config{ready: func() error { mu.Lock(); defer mu.Unlock(); return failure }})
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	server := httptest.NewUnstartedServer(h)
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	select {
	case err := <-result:
		t.Fatalf("the probe did not wait until ready: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	mu.Lock()
	failure = nil
	mu.Unlock()
	if err := <-result; err != nil {
		t.Error(err)
	}
	// The first token.
	if err := p.Token(t.Context(), "r"); err != nil {
		t.Error(err)
	}
}

func TestProbeSaysWhy(t *testing.T) {
	t.Parallel()
	h, _ := handler(t, config{ready: func() error { return errors.New("the token file is empty") }, exchange: func(context.Context, token.Key) (entra.Token, error) {
		return entra.Token{}, &entra.Error{Status: 400, Code: 700016, Description: "AADSTS700016: unknown"}
	}})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	p := proxy.Prober{URL: server.URL, Pause: time.Millisecond}
	for text, probe := range map[string]func(context.Context) error{
		"the proxy is not ready: the token file is empty": p.Ready,
		"there is no token: AADSTS700016: unknown":        func(ctx context.Context) error { return p.Token(ctx, "r") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := probe(ctx); err == nil || !strings.HasPrefix(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
		cancel()
	}
}

// serve runs a Server until the test ends, and returns its address.
func serve(t *testing.T, c proxy.ServerConfig) string {
	t.Helper()
	s, err := proxy.NewServer(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s.Addr().String()
}

// Connections that nothing comes on make room for those that ask.
func TestServerBoundsConnections(t *testing.T) {
	t.Parallel()
	addr := serve(t, proxy.ServerConfig{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "served") }),
		MaxConns: 8, Logger: slog.New(slog.DiscardHandler),
	})
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	oldest := dial()
	for range 40 {
		dial()
	}
	resp, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if n, err := oldest.Read(make([]byte, 1)); err == nil {
		t.Errorf("the oldest connection is open and sends %d bytes", n)
	}
}

// During the delay everything is served as before, new connections too.
func TestServerDrainDelay(t *testing.T) {
	t.Parallel()
	logged := make(chan string, 10)
	s, err := proxy.NewServer(t.Context(), proxy.ServerConfig{
		Handler:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "served") }),
		DrainDelay: 3 * time.Second, Logger: slog.New(slog.NewTextHandler(writer(func(line string) { logged <- line }), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop()
	for !strings.Contains(<-logged, "still serving") {
		continue
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if resp, err := client.Get("http://" + s.Addr().String()); err == nil {
		_ = resp.Body.Close()
		t.Error("it still listens")
	}
}

// A writer gets what a logger writes, a line at a time.
type writer func(string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

func TestServer(t *testing.T) {
	t.Parallel()
	release, began := make(chan struct{}), make(chan struct{})
	var log bytes.Buffer
	s, err := proxy.NewServer(t.Context(), proxy.ServerConfig{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(began)
				<-release
			}
			fmt.Fprint(w, "served")
		}),
		MetricsAddr: "127.0.0.1:0", Metrics: new(proxy.Metrics), Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	get := func(target string) (string, error) {
		resp, err := http.Get(target)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	hosts := []string{"127.0.0.1", "[::1]"}
	if strings.Contains(log.String(), "not listening on ::1") {
		hosts = hosts[:1]
		t.Log("this machine has no ::1")
	}
	for _, host := range hosts {
		if body, err := get(fmt.Sprintf("http://%s:%d/", host, s.Port())); body != "served" {
			t.Errorf("%s: %q, %v", host, body, err)
		}
	}
	if body, err := get("http://" + s.MetricsAddr().String() + "/metrics"); !strings.Contains(body, "azwi_proxy_requests_total") {
		t.Errorf("metrics: %q, %v", body, err)
	}
	// The end waits for what is under way.
	slow := make(chan string, 1)
	go func() {
		body, _ := get(fmt.Sprintf("http://127.0.0.1:%d/slow", s.Port()))
		slow <- body
	}()
	<-began
	stop()
	close(release)
	if body := <-slow; body != "served" {
		t.Errorf("the request under way got %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := get(fmt.Sprintf("http://127.0.0.1:%d/", s.Port())); err == nil {
		t.Error("it still listens")
	}
}

func TestServerPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := proxy.NewServer(t.Context(), proxy.ServerConfig{Port: l.Addr().(*net.TCPAddr).Port, Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("no error")
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fail := error(nil)
		h, m := handler(t, config{exchange: func(context.Context, token.Key) (entra.Token, error) {
			return entra.Token{Value: "v", Lifetime: 4 * time.Hour}, fail
		}})
		ask(h, imdsPath+"resource=r")
		fail = &entra.Error{Status: 400, Code: 700016}
		ask(h, imdsPath+"resource=q")
		ask(h, imdsPath)
		ask(h, "/metadata/instance")
		pass(3 * time.Hour)
		synctest.Wait()
		ask(h, imdsPath+"resource=r")
		m.Exchanged(20*time.Millisecond, nil)
		m.Exchanged(2*time.Second, fail)
		m.Exchanged(time.Minute, entra.ErrAssertion)
		m.Exchanged(50*time.Millisecond, errors.New("x"))
		m.Exchanged(50*time.Millisecond, &entra.Error{Status: 503})
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		const want = `# HELP azwi_proxy_requests_total Requests by how they ended.
# TYPE azwi_proxy_requests_total counter
azwi_proxy_requests_total{outcome="ok"} 2
azwi_proxy_requests_total{outcome="invalid"} 1
azwi_proxy_requests_total{outcome="permanent"} 1
azwi_proxy_requests_total{outcome="replication"} 0
azwi_proxy_requests_total{outcome="transient"} 0
azwi_proxy_requests_total{outcome="gone"} 0
azwi_proxy_requests_total{outcome="forwarded"} 0
azwi_proxy_requests_total{outcome="blocked"} 1
azwi_proxy_requests_total{outcome="busy"} 0
# HELP azwi_proxy_stale_serves_total Tokens served after the last attempt to refresh them failed.
# TYPE azwi_proxy_stale_serves_total counter
azwi_proxy_stale_serves_total 1
# HELP azwi_proxy_exchange_duration_seconds Duration of exchanges with Entra, failed ones too.
# TYPE azwi_proxy_exchange_duration_seconds histogram
azwi_proxy_exchange_duration_seconds_bucket{le="0.05"} 3
azwi_proxy_exchange_duration_seconds_bucket{le="0.1"} 3
azwi_proxy_exchange_duration_seconds_bucket{le="0.25"} 3
azwi_proxy_exchange_duration_seconds_bucket{le="0.5"} 3
azwi_proxy_exchange_duration_seconds_bucket{le="1"} 3
azwi_proxy_exchange_duration_seconds_bucket{le="5"} 4
azwi_proxy_exchange_duration_seconds_bucket{le="30"} 4
azwi_proxy_exchange_duration_seconds_bucket{le="+Inf"} 5
azwi_proxy_exchange_duration_seconds_sum 62.12
azwi_proxy_exchange_duration_seconds_count 5
# HELP azwi_proxy_exchange_errors_total Failed exchanges by AADSTS code, or by what else failed.
# TYPE azwi_proxy_exchange_errors_total counter
azwi_proxy_exchange_errors_total{code="700016"} 1
azwi_proxy_exchange_errors_total{code="http_503"} 1
azwi_proxy_exchange_errors_total{code="network"} 1
azwi_proxy_exchange_errors_total{code="token_file"} 1
# HELP azwi_proxy_token_expiry_seconds How long the token that expires first is still good.
# TYPE azwi_proxy_token_expiry_seconds gauge
azwi_proxy_token_expiry_seconds 3600
`
		if diff := cmp.Diff(want, w.Body.String()); diff != "" {
			t.Error(diff)
		}
	})
}

// However many codes a token endpoint makes up, the labels stay bounded.
func TestMetricsCodesAreBounded(t *testing.T) {
	t.Parallel()
	var m proxy.Metrics
	for code := range 1000 {
		m.Exchanged(0, &entra.Error{Status: 400, Code: code + 1})
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if n := strings.Count(w.Body.String(), "exchange_errors_total{"); n > 51 {
		t.Errorf("%d labels", n)
	}
}

// Where strangers reach the port, only those who know the secret get a token.
func TestSecretOnly(t *testing.T) {
	t.Parallel()
	h, _ := handler(t, config{})
	const target = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r"
	if w := ask(h, target); w.Code != http.StatusOK {
		t.Errorf("without SecretOnly: %d %s", w.Code, w.Body)
	}
	h.Parser.SecretOnly = true
	if w := ask(h, target); w.Code != http.StatusNotFound {
		t.Errorf("with SecretOnly: %d %s", w.Code, w.Body)
	}
}
