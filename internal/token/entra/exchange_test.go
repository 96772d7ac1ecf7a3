package entra_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/internal/finding"
	"azwi/internal/token/entra"
)

const clientID = "22222222-0000-4000-8000-000000000001"

// federated is an emulator with one managed identity that trusts default/web of
// the issuer.
func federated(t *testing.T) (*emulatortest.Server, *emulatortest.Issuer) {
	t.Helper()
	issuer := emulatortest.NewIssuer(t)
	return emulatortest.Start(t, emulator.Config{Seed: fmt.Appendf(nil, `
managedIdentities:
  - name: pod
    clientId: %s
    federatedCredentials: [{name: pod, issuer: %s, subject: "system:serviceaccount:default:web"}]
`, clientID, issuer.URL)}), issuer
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// quietTLSServer does not log the handshakes that fail on purpose.
func quietTLSServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func exchanger(t *testing.T, c entra.ExchangerConfig) *entra.Exchanger {
	t.Helper()
	x, err := entra.NewExchanger(c)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func request(assertion string) entra.ExchangeRequest {
	return entra.ExchangeRequest{TenantID: emulator.DefaultTenantID, ClientID: clientID, Resource: "https://vault.azure.net", Assertion: assertion}
}

func TestExchange(t *testing.T) {
	t.Parallel()
	cloud, issuer := federated(t)
	x := exchanger(t, entra.ExchangerConfig{AuthorityHost: cloud.AuthorityURL, ExtraCAFile: write(t, "ca", cloud.CA())})
	got, err := x.Exchange(t.Context(), request(issuer.Token(t, "default", "web", nil)))
	if err != nil {
		t.Fatal(err)
	}
	if dots := strings.Count(got.Value, "."); dots != 2 {
		t.Errorf("no JWT: %d dots", dots)
	}
	got.Value = ""
	if diff := cmp.Diff(entra.Token{Type: "Bearer", Lifetime: 86399 * time.Second, RefreshIn: 43199 * time.Second}, got); diff != "" {
		t.Error(diff)
	}
	assertion := issuer.Token(t, "default", "other", nil)
	_, err = x.Exchange(t.Context(), request(assertion))
	e, ok := errors.AsType[*entra.Error](err)
	if !ok {
		t.Fatalf("error %#v", err)
	}
	want := &entra.Error{Status: 401, Code: 700213, Name: "invalid_client"}
	if diff := cmp.Diff(want, e, cmpopts.IgnoreFields(entra.Error{}, "Description", "CorrelationID", "TraceID", "Presented")); diff != "" {
		t.Error(diff)
	}
	if e.Class() != finding.Replication {
		t.Errorf("class %s", e.Class())
	}
	for name, id := range map[string]string{"correlation": e.CorrelationID, "trace": e.TraceID} {
		if id == "" {
			t.Errorf("no %s ID", name)
		}
	}
	for text, want := range map[string]bool{"system:serviceaccount:default:other": true, "Trace ID": false, assertion: false} {
		if strings.Contains(e.Error(), text) != want {
			t.Errorf("description %q: it has %q is not %t", e, text, want)
		}
	}
}

// The custom token endpoint gets every request under its own path, with Entra's
// name as Host, and its CA alone is trusted.
func TestTokenProxy(t *testing.T) {
	t.Parallel()
	var got []string
	server := quietTLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.Host+r.URL.Path+" SNI "+r.TLS.ServerName)
		fmt.Fprint(w, `{"access_token":"a","expires_in":"60"}`)
	}))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	file := write(t, "ca.crt", ca)
	for name, proxy := range map[string]entra.TokenProxy{
		"file": {URL: server.URL + "/prefix", SNIName: "example.com", CAFile: file},
		"data": {URL: server.URL + "/prefix/", SNIName: "example.com", CAData: string(ca)},
	} {
		got = nil
		x := exchanger(t, entra.ExchangerConfig{TokenProxy: proxy})
		answer, err := x.Exchange(t.Context(), request("a.b.c"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(entra.Token{Type: "Bearer", Value: "a", Lifetime: time.Minute}, answer); diff != "" {
			t.Error(diff)
		}
		want := []string{"POST login.microsoftonline.com/prefix/" + emulator.DefaultTenantID + "/oauth2/v2.0/token SNI example.com"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}

	// The CA file is read again: wrong ones do not break what worked, right ones
	// take the place of wrong ones.
	stranger := emulatortest.Start(t, emulator.Config{}).CA()
	x := exchanger(t, entra.ExchangerConfig{TokenProxy: entra.TokenProxy{URL: server.URL, SNIName: "example.com", CAFile: file}})
	for _, step := range []struct {
		name, content string
		ok            bool
	}{
		{"as it was", string(ca), true}, {"empty", "", true}, {"no PEM", "rubbish", true},
		{"another CA", string(stranger), false}, {"empty again", "", false}, {"both", string(stranger) + string(ca), true},
	} {
		if err := os.WriteFile(file, []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Exchange(t.Context(), request("a.b.c")); (err == nil) != step.ok {
			t.Errorf("%s: error %v", step.name, err)
		}
	}
}

func TestExchangerConfigMistakes(t *testing.T) {
	t.Parallel()
	rubbish, empty := write(t, "ca", []byte("rubbish")), write(t, "ca", nil)
	const u = "https://proxy.example/"
	for name, c := range map[string]entra.ExchangerConfig{
		"authority over http":      {AuthorityHost: "http://login.microsoftonline.com/"},
		"authority with a query":   {AuthorityHost: "https://login.microsoftonline.com/?a"},
		"no authority":             {AuthorityHost: "login.microsoftonline.com"},
		"proxy over http":          {TokenProxy: entra.TokenProxy{URL: "http://proxy.example/"}},
		"proxy with a user":        {TokenProxy: entra.TokenProxy{URL: "https://me@proxy.example/"}},
		"proxy with a query":       {TokenProxy: entra.TokenProxy{URL: u + "?a=b"}},
		"proxy with a fragment":    {TokenProxy: entra.TokenProxy{URL: u + "#a"}},
		"two CAs":                  {TokenProxy: entra.TokenProxy{URL: u, CAFile: rubbish, CAData: "x"}},
		"SNI without proxy":        {TokenProxy: entra.TokenProxy{SNIName: "x"}},
		"CA file without proxy":    {TokenProxy: entra.TokenProxy{CAFile: rubbish}},
		"CA data without proxy":    {TokenProxy: entra.TokenProxy{CAData: "x"}},
		"missing CA":               {TokenProxy: entra.TokenProxy{URL: u, CAFile: rubbish + "no"}},
		"empty CA":                 {TokenProxy: entra.TokenProxy{URL: u, CAFile: empty}},
		"rubbish CA":               {TokenProxy: entra.TokenProxy{URL: u, CAFile: rubbish}},
		"rubbish CA data":          {TokenProxy: entra.TokenProxy{URL: u, CAData: "rubbish"}},
		"missing extra CA":         {ExtraCAFile: rubbish + "no"},
		"rubbish in the extra CAs": {ExtraCAFile: rubbish},
	} {
		if _, err := entra.NewExchanger(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const assertion = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
	for _, tt := range []struct {
		name, body string
		status     int
		header     string // Retry-After
		wantToken  entra.Token
		wantError  *entra.Error
		wantClass  finding.Class
	}{
		{name: "numbers", status: 200, body: `{"token_type":"Bearer","access_token":"t","expires_in":3599,"refresh_in":1800}`,
			wantToken: entra.Token{Type: "Bearer", Value: "t", Lifetime: 3599 * time.Second, RefreshIn: 1800 * time.Second}},
		{name: "strings", status: 200, body: `{"token_type":"Bearer","access_token":"t","expires_in":"3599","refresh_in":null}`,
			wantToken: entra.Token{Type: "Bearer", Value: "t", Lifetime: 3599 * time.Second}},
		{name: "absurd life", status: 200, body: `{"access_token":"t","expires_in":1e300}`,
			wantToken: entra.Token{Type: "Bearer", Value: "t", Lifetime: 7 * 24 * time.Hour}},
		{name: "no life", status: 200, body: `{"access_token":"secret-token"}`},
		{name: "no token", status: 200, body: `{"expires_in":3599}`},
		{name: "no JSON", status: 200, body: `secret-token`},
		{name: "wrong types", status: 200, body: `{"access_token":"secret-token","expires_in":{}}`},
		{name: "endless", status: 200, body: `{"access_token":"secret-token","x":"` + strings.Repeat("x", 2<<20) + `"}`},
		{name: "a redirect is not followed", status: 307, body: ``, wantError: &entra.Error{Status: 307}, wantClass: finding.Transient},
		{name: "throttled", status: 429, header: "17", body: `{"error":"temporarily_unavailable","error_description":"AADSTS90055: slow down","error_codes":[90055]}`,
			wantError: &entra.Error{Status: 429, Code: 90055, Name: "temporarily_unavailable", Description: "AADSTS90055: slow down", RetryAfter: 17 * time.Second}, wantClass: finding.Transient},
		{name: "date", status: 503, header: "Thu, 01 Jan 2026 00:01:00 GMT", body: `<html>`,
			wantError: &entra.Error{Status: 503, RetryAfter: time.Minute}, wantClass: finding.Transient},
		{name: "a gateway's page", status: 403, body: `<html>Blocked</html>`, wantError: &entra.Error{Status: 403}, wantClass: finding.Transient},
		{name: "unknown code", status: 400, body: `{"error":"invalid_request","error_codes":[99]}`,
			wantError: &entra.Error{Status: 400, Code: 99, Name: "invalid_request"}, wantClass: finding.Permanent},
		{name: "unknown code of a fault", status: 500, body: `{"error":"server_error","error_codes":[99]}`,
			wantError: &entra.Error{Status: 500, Code: 99, Name: "server_error"}, wantClass: finding.Transient},
		{name: "no code", status: 403, body: `{"error":"forbidden"}`,
			wantError: &entra.Error{Status: 403, Name: "forbidden"}, wantClass: finding.Permanent},
		{name: "the assertion comes back", status: 401,
			body:      `{"error":"invalid_client","error_description":"AADSTS50027: bad ` + assertion + ` and eyJhbGciOiJSUzI1NiJ9.eyJz Trace ID: 1\r\nmore","error_codes":[50027],"trace_id":"1"}`,
			wantError: &entra.Error{Status: 401, Code: 50027, Name: "invalid_client", Description: "AADSTS50027: bad [removed] and [removed]", TraceID: "1"}, wantClass: finding.Permanent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := quietTLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					t.Error("the redirect was followed")
				}
				w.Header().Set("Location", "/elsewhere")
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			x := exchanger(t, entra.ExchangerConfig{
				AuthorityHost: server.URL,
				ExtraCAFile:   write(t, "ca", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
				Now:           func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) },
			})
			got, err := x.Exchange(t.Context(), request(assertion))
			if diff := cmp.Diff(tt.wantToken, got); diff != "" {
				t.Error(diff)
			}
			e, _ := errors.AsType[*entra.Error](err)
			if diff := cmp.Diff(tt.wantError, e, cmpopts.IgnoreFields(entra.Error{}, "Presented")); diff != "" {
				t.Error(diff)
			}
			if e != nil && e.Class() != tt.wantClass {
				t.Errorf("class %s, want %s", e.Class(), tt.wantClass)
			}
			if tt.wantToken == (entra.Token{}) && err == nil {
				t.Error("no error")
			}
			if err != nil && (strings.Contains(err.Error(), "secret-token") || strings.Contains(err.Error(), "eyJ")) {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

// TestNoPartOfTheAssertionComesBack: an endpoint sends the assertion back in any
// field, whole or in part, wrapped or with other characters between.
func TestNoPartOfTheAssertionComesBack(t *testing.T) {
	t.Parallel()
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://issuer.example.com","sub":"system:serviceaccount:shop:billing","aud":["api://AzureADTokenExchange"]}`))
	signature := strings.Repeat("c2lnbmF0dXJl-_", 20)
	assertion := "eyJhbGciOiJSUzI1NiJ9." + payload + "." + signature
	every := func(n int, with string) string {
		var wrapped strings.Builder
		for i, c := range assertion {
			if i > 0 && i%n == 0 {
				wrapped.WriteString(with)
			}
			wrapped.WriteRune(c)
		}
		return wrapped.String()
	}
	for _, back := range []string{
		assertion, payload, signature, payload[10:40], signature[5:30], strings.ReplaceAll(assertion, ".", " . "), strings.ReplaceAll(assertion, ".", " "),
		every(76, " "), every(64, "\t"), every(8, " "), every(4, "\u00a0"), every(1, " "), every(64, "\u200b"), every(10, `", "`),
	} {
		raw, err := json.Marshal(map[string]any{"error": back, "error_description": "AADSTS50027: bad " + back + " end", "correlation_id": back, "trace_id": back, "error_codes": []int{50027}})
		if err != nil {
			t.Fatal(err)
		}
		server := quietTLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write(raw)
		}))
		x := exchanger(t, entra.ExchangerConfig{
			AuthorityHost: server.URL,
			ExtraCAFile:   write(t, "ca", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		})
		_, err = x.Exchange(t.Context(), request(assertion))
		e, ok := errors.AsType[*entra.Error](err)
		if !ok {
			t.Fatal(err)
		}
		if !strings.HasPrefix(e.Description, "AADSTS50027: bad ") || !strings.HasSuffix(e.Description, " end") {
			t.Errorf("%.40q: the rest is lost: %q", back, e.Description)
		}
		for _, field := range []string{e.Name, e.Description, e.CorrelationID, e.TraceID} {
			letters := strings.Map(func(r rune) rune {
				if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.' || r == '-' || r == '_' {
					return r
				}
				return -1
			}, field)
			for i := 0; i+12 <= len(letters); i++ {
				if strings.Contains(assertion, letters[i:i+12]) {
					t.Errorf("%.40q: %q holds a part of the assertion", back, field)
					break
				}
			}
		}
		want := finding.Presented{Issuer: "https://issuer.example.com", Subject: "system:serviceaccount:shop:billing", Audience: "api://AzureADTokenExchange", ClientID: request("").ClientID, TenantID: request("").TenantID}
		if diff := cmp.Diff(want, e.Presented); diff != "" {
			t.Error(diff)
		}
	}
}

// A GitHub environment's name may have spaces, and is shown all the same; what can't
// be shown on a line is not.
func TestPresentedSubject(t *testing.T) {
	t.Parallel()
	cloud, issuer := federated(t)
	x := exchanger(t, entra.ExchangerConfig{AuthorityHost: cloud.AuthorityURL, ExtraCAFile: write(t, "ca", cloud.CA())})
	for subject, want := range map[string]string{
		"repo:o@1/n@2:environment:my prod": "subject \"repo:o@1/n@2:environment:my prod\" and audience",
		"repo:o@1/n@2:environment:prod":    "subject repo:o@1/n@2:environment:prod and audience",
		"repo:o/n:environment:a\nb":        "exactly the token's subject",
		"repo:o/n:environment:\x1b[31m":    "exactly the token's subject",
	} {
		_, err := x.Exchange(t.Context(), request(issuer.Token(t, "", "", map[string]any{"sub": subject})))
		e, ok := errors.AsType[*entra.Error](err)
		if !ok {
			t.Fatal(err)
		}
		if got := e.Advice(); e.Code != 700213 || !strings.Contains(got, want) {
			t.Errorf("%q: AADSTS%d: %s", subject, e.Code, got)
		}
	}
}

func TestRequestOnTheWire(t *testing.T) {
	t.Parallel()
	var form url.Values
	server := quietTLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form = r.PostForm
		form.Set("path", r.URL.Path)
		form.Set("user-agent", r.UserAgent())
		fmt.Fprint(w, `{"access_token":"a","expires_in":60}`)
	}))
	x := exchanger(t, entra.ExchangerConfig{
		AuthorityHost: server.URL + "/", UserAgent: "azwi-proxy/1",
		ExtraCAFile: write(t, "ca", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
	})
	for resource, scope := range map[string]string{
		"https://vault.azure.net":              "https://vault.azure.net/.default",
		"https://management.core.windows.net/": "https://management.core.windows.net//.default",
		"https://graph.microsoft.com/.default": "https://graph.microsoft.com/.default",
	} {
		r := entra.ExchangeRequest{TenantID: "t", ClientID: "c", Resource: resource, Claims: `{"a":1}`, Assertion: "a.b.c"}
		if _, err := x.Exchange(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		want := url.Values{
			"path": {"/t/oauth2/v2.0/token"}, "user-agent": {"azwi-proxy/1"}, "client_id": {"c"}, "client_assertion": {"a.b.c"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"grant_type":            {"client_credentials"}, "scope": {scope}, "claims": {`{"a":1}`},
		}
		if diff := cmp.Diff(want, form); diff != "" {
			t.Error(diff)
		}
	}
}

func TestExchangeGoesThroughTheProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	cloud, issuer := federated(t)
	proxy, err := url.Parse(cloud.ProxyURL)
	if err != nil {
		t.Fatal(err)
	}
	// The public authority, which only the proxy knows how to reach.
	x := exchanger(t, entra.ExchangerConfig{Proxy: http.ProxyURL(proxy), ExtraCAFile: write(t, "ca", cloud.CA())})
	if _, err := x.Exchange(t.Context(), request(issuer.Token(t, "default", "web", nil))); err != nil {
		t.Error(err)
	}
}

func TestExchangeEnds(t *testing.T) {
	t.Parallel()
	server := quietTLSServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		<-r.Context().Done()
	}))
	x := exchanger(t, entra.ExchangerConfig{
		AuthorityHost: server.URL, Timeout: 50 * time.Millisecond,
		ExtraCAFile: write(t, "ca", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
	})
	if _, err := x.Exchange(t.Context(), request("a.b.c")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestReadAssertion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, content, want string }{
		{"a token", "aA0.b-_.c", "aA0.b-_.c"},
		{"with a new line", "a.b.c\n", "a.b.c"},
		{"empty", "", ""}, {"blank", " \n", ""}, {"cut after the header", "a.", ""}, {"cut before the signature", "a.b.", ""},
		{"five segments", "a.b.c.d.e", ""}, {"two tokens", "a.b.c\na.b.c", ""}, {"binary", "a.\x00.c", ""},
		{"too large", "a.b." + strings.Repeat("c", 64<<10), ""},
	} {
		got, err := entra.ReadAssertion(write(t, "token", []byte(tt.content)))
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
		if err != nil && !errors.Is(err, entra.ErrAssertion) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := entra.ReadAssertion(filepath.Join(t.TempDir(), "none")); !errors.Is(err, entra.ErrAssertion) {
		t.Errorf("missing: %v", err)
	}
}

// What is read can stand in a form and a header, is part of the file, and the
// error tells nothing of it.
func FuzzReadAssertion(f *testing.F) {
	f.Add([]byte("a.b.c\n"))
	f.Add([]byte("secret"))
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := entra.ReadAssertion(write(t, "token", content))
		if err != nil {
			if s := strings.TrimSpace(string(content)); len(s) > 40 && strings.Contains(err.Error(), s) {
				t.Errorf("the error quotes the file: %v", err)
			}
			return
		}
		if !strings.Contains(string(content), got) || strings.Count(got, ".") != 2 || url.QueryEscape(got) != got {
			t.Errorf("%q", got)
		}
	})
}

// With NewConnections each exchange has a connection of its own.
func TestNewConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fresh bool
		want  int
	}{{false, 1}, {true, 3}} {
		seen := map[string]bool{} // one request at a time
		server := quietTLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen[r.RemoteAddr] = true
			_, _ = io.WriteString(w, `{"access_token":"t","expires_in":3600}`)
		}))
		ca := write(t, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
		x := exchanger(t, entra.ExchangerConfig{AuthorityHost: server.URL, ExtraCAFile: ca, NewConnections: tt.fresh})
		for range 3 {
			if _, err := x.Exchange(t.Context(), request("a.b.c")); err != nil {
				t.Fatal(err)
			}
		}
		if len(seen) != tt.want {
			t.Errorf("NewConnections %v: %d connections for 3 exchanges, want %d", tt.fresh, len(seen), tt.want)
		}
	}
}
