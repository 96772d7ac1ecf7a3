package sts_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/emulator/emulatortest"
	"azwi/emulator/internal/accesstoken"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/issuer"
	"azwi/emulator/internal/random"
	"azwi/emulator/internal/replication"
	"azwi/emulator/internal/seed"
	"azwi/emulator/internal/sts"
)

const (
	tenantID    = "11111111-0000-4000-8000-000000000001"
	webAppID    = "22222222-0000-4000-8000-000000000001"
	identityID  = "22222222-0000-4000-8000-000000000002"
	bareAppID   = "22222222-0000-4000-8000-000000000003"
	orphanAppID = "22222222-0000-4000-8000-000000000004"
	webSecret   = "web-secret"
	v2Token     = tenantID + "/oauth2/v2.0/token"
)

// handler is a token service whose application and managed identity trust the
// issuer's default/web, beside clients that lack something.
func handler(t *testing.T, trusted string) *sts.Handler {
	t.Helper()
	damaged := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(damaged, []byte("{}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := seed.Read("seed", fmt.Appendf(nil, `
tenants: [{id: %[7]s}]
applications:
  - name: web
    appId: %[2]s
    secrets: [{value: %[3]s}, {value: expired-secret, expires: 2020-01-01T00:00:00Z}]
    federatedCredentials:
      - {name: web, issuer: %[1]s, subject: "system:serviceaccount:default:web"}
      - {name: spaced, issuer: "%[1]s/ ", subject: "system:serviceaccount:default:web"}
      - {name: flexible, issuer: "https://app.terraform.io", claimsMatchingExpression: "claims['sub'] matches 'organization:contoso:*:run_phase:plan'"}
      - {name: damaged, issuer: "https://damaged.example", subject: "system:serviceaccount:default:web"}
      - {name: gone, issuer: "https://gone.example", subject: "system:serviceaccount:default:web"}
  - {name: bare, appId: %[4]s}
  - {name: orphan, appId: %[5]s, servicePrincipal: false, secrets: [{value: orphan}]}
managedIdentities:
  - {name: pod, clientId: %[6]s, federatedCredentials: [{name: pod, issuer: %[1]s, subject: "system:serviceaccount:default:web"}]}
issuers:
  https://damaged.example: {file: %[8]q}
replication: {missMemory: 0s} # one case would answer for another
`, trusted, webAppID, webSecret, bareAppID, orphanAppID, identityID, tenantID, damaged), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &sts.Handler{
		Directory: directory.New(s.State, func() {}), Replicas: replication.New(s.Replication, random.New(1, "replication"), time.Now),
		Issuers: issuer.New(s.Issuers, func(iss string) bool { return iss == "https://gone.example" }),
		Tokens:  accesstoken.New(nil, time.Now), Random: random.New(1, "lifetime"), Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	}
}

// A refusal is what a client goes by.
type refusal struct {
	Code   int
	Kind   string
	Status int
}

// ask sends a request to the public cloud's authority and checks the form of its
// refusal.
func ask(t *testing.T, h *sts.Handler, r *http.Request) refusal {
	t.Helper()
	target, ok := hosts.Lookup("login.microsoftonline.com")
	if !ok {
		t.Fatal("the authority is not known")
	}
	w := httptest.NewRecorder()
	h.Serve(w, r, target)
	var got struct {
		Kind        string `json:"error"`
		Description string `json:"error_description"`
		Codes       []int  `json:"error_codes"`
		Trace       string `json:"trace_id"`
		Correlation string `json:"correlation_id"`
		Timestamp   string `json:"timestamp"`
		URI         string `json:"error_uri"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if len(got.Codes) != 1 {
		t.Fatalf("%d codes: %d %s", len(got.Codes), w.Code, w.Body)
	}
	code := got.Codes[0]
	text, rest, _ := strings.Cut(got.Description, " Trace ID: ")
	if prefix := fmt.Sprintf("AADSTS%d: ", code); !strings.HasPrefix(text, prefix) {
		t.Errorf("description %q, want %q first", got.Description, prefix)
	}
	if strings.Contains(text, "%!") {
		t.Errorf("description is badly formatted: %q", text)
	}
	if diff := cmp.Diff(got.Trace+" Correlation ID: "+got.Correlation+" Timestamp: "+got.Timestamp, rest); diff != "" {
		t.Errorf("end of the description: %s", diff)
	}
	if diff := cmp.Diff(fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", code), got.URI); diff != "" {
		t.Errorf("error_uri: %s", diff)
	}
	return refusal{code, got.Kind, w.Code}
}

// exchange is a form with an assertion.
func exchange(clientID, assertion string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"scope":                 {"https://vault.azure.net/.default openid offline_access profile"},
	}
}

// Every row of protocol.md section D that the client credentials grant meets.
func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	stranger := *issuer
	stranger.URL = "https://issuer.invalid"
	otherKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forger, unknownKey := *issuer, *issuer
	forger.Key, unknownKey.KeyID = otherKey, "gone"
	h := handler(t, issuer.URL)

	now := time.Now()
	token := func(claims map[string]any) string { return issuer.Token(t, "default", "web", claims) }
	with := func(form url.Values, name, value string) url.Values {
		form.Set(name, value)
		return form
	}
	without := func(form url.Values, name string) url.Values {
		form.Del(name)
		return form
	}
	good := func() url.Values { return exchange(webAppID, token(nil)) }
	secret := func(id, value string) url.Values {
		form := without(without(good(), "client_assertion"), "client_assertion_type")
		return with(with(form, "client_id", id), "client_secret", value)
	}
	for _, tt := range []struct {
		name string
		path string
		form url.Values
		want refusal
	}{
		{"unknown tenant", "99999999-0000-4000-8000-000000000000/oauth2/v2.0/token", good(), refusal{90002, "invalid_request", 400}},
		{"tenant before fields", "nobody.example/oauth2/v2.0/token", url.Values{}, refusal{90002, "invalid_request", 400}},
		{"no grant type", "", without(good(), "grant_type"), refusal{900144, "invalid_request", 400}},
		{"other grant type", "", with(good(), "grant_type", "password"), refusal{70003, "unsupported_grant_type", 400}},
		{"no client", "", without(good(), "client_id"), refusal{900144, "invalid_request", 400}},
		{"no scope", "", without(good(), "scope"), refusal{900144, "invalid_request", 400}},
		{"no proof", "", without(good(), "client_assertion"), refusal{7000216, "invalid_client", 401}},
		{"no assertion type", "", without(good(), "client_assertion_type"), refusal{900144, "invalid_request", 400}},
		{"unknown client", "", with(good(), "client_id", "99999999-0000-4000-8000-000000000000"), refusal{700016, "unauthorized_client", 400}},
		{"client before shape", "", with(exchange(webAppID, "x"), "client_id", "nobody"), refusal{700016, "unauthorized_client", 400}},
		{"no JWT", "", exchange(webAppID, "a.b"), refusal{50027, "invalid_request", 400}},
		{"newline after JWT", "", exchange(webAppID, token(nil)+"\n"), refusal{50027, "invalid_request", 400}},
		{"unsigned JWT", "", exchange(webAppID, unsigned(t, issuer)), refusal{50027, "invalid_request", 400}},
		{"JWT without subject", "", exchange(webAppID, token(map[string]any{"sub": nil})), refusal{50027, "invalid_request", 400}},
		{"no federated credentials", "", exchange(bareAppID, token(nil)), refusal{70025, "invalid_client", 401}},
		{"other issuer", "", exchange(webAppID, stranger.Token(t, "default", "web", nil)), refusal{700211, "invalid_client", 401}},
		{"issuer with slash", "", exchange(webAppID, token(map[string]any{"iss": issuer.URL + "/"})), refusal{700211, "invalid_client", 401}},
		{"issuer with white space", "", exchange(webAppID, token(map[string]any{"iss": issuer.URL + "/ "})), refusal{700211, "invalid_client", 401}},
		{"other subject", "", exchange(webAppID, issuer.Token(t, "default", "other", nil)), refusal{700213, "invalid_client", 401}},
		{"subject in other case", "", exchange(webAppID, issuer.Token(t, "default", "Web", nil)), refusal{7002138, "invalid_client", 401}},
		{"no expression matches", "", exchange(webAppID, token(map[string]any{"iss": "https://app.terraform.io", "sub": "organization:contoso:run_phase:apply"})), refusal{7002131, "invalid_client", 401}},
		{"other audience", "", exchange(webAppID, token(map[string]any{"aud": "sts.amazonaws.com"})), refusal{700212, "invalid_client", 401}},
		{"audience in other case", "", exchange(webAppID, token(map[string]any{"aud": strings.ToLower(contract.DefaultAudience)})), refusal{700212, "invalid_client", 401}},
		{"a shared key", "", exchange(webAppID, hmac(t, issuer)), refusal{5002738, "invalid_request", 400}},
		{"an EC key", "", exchange(webAppID, ec(t, issuer)), refusal{5002738, "invalid_request", 400}},
		{"key not published", "", exchange(webAppID, unknownKey.Token(t, "default", "web", nil)), refusal{700027, "invalid_client", 401}},
		{"signed by another key", "", exchange(webAppID, forger.Token(t, "default", "web", nil)), refusal{700027, "invalid_client", 401}},
		{"expired", "", exchange(webAppID, token(map[string]any{"exp": now.Add(-10 * time.Minute).Unix(), "nbf": now.Add(-time.Hour).Unix(), "iat": now.Add(-time.Hour).Unix()})), refusal{700024, "invalid_client", 401}},
		{"not yet valid", "", exchange(webAppID, token(map[string]any{"nbf": now.Add(10 * time.Minute).Unix()})), refusal{700024, "invalid_client", 401}},
		{"lives too long", "", exchange(webAppID, token(map[string]any{"exp": now.Add(25*time.Hour + time.Minute).Unix()})), refusal{70023, "invalid_request", 400}},
		{"signature before lifetime", "", exchange(webAppID, forger.Token(t, "default", "web", map[string]any{"exp": 1})), refusal{700027, "invalid_client", 401}},
		{"scope without default", "", with(good(), "scope", "https://vault.azure.net"), refusal{1002012, "invalid_scope", 400}},
		{"two scopes", "", with(good(), "scope", "https://vault.azure.net/.default https://graph.microsoft.com/.default"), refusal{70011, "invalid_scope", 400}},
		{"OIDC scopes only", "", with(good(), "scope", "openid"), refusal{70011, "invalid_scope", 400}},
		{"unknown resource", "", with(good(), "scope", "https://nothing.example/.default"), refusal{500011, "invalid_resource", 400}},
		{"wrong secret", "", secret(webAppID, "guess"), refusal{7000215, "invalid_client", 401}},
		{"expired secret", "", secret(webAppID, "expired-secret"), refusal{7000222, "invalid_client", 401}},
		{"secret of a managed identity", "", secret(identityID, webSecret), refusal{7000215, "invalid_client", 401}},
		{"no service principal", "", secret(orphanAppID, "orphan"), refusal{7000229, "unauthorized_client", 401}},
		{"version 1 without resource", tenantID + "/oauth2/token", good(), refusal{900144, "invalid_request", 400}},
		{"issuer's keys are damaged", "", exchange(webAppID, token(map[string]any{"iss": "https://damaged.example"})), refusal{900612, "invalid_request", 400}},
		{"issuer is gone", "", exchange(webAppID, token(map[string]any{"iss": "https://gone.example"})), refusal{50166, "invalid_request", 400}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := tt.path
			if path == "" {
				path = v2Token
			}
			r := httptest.NewRequest(http.MethodPost, "https://login.microsoftonline.com/"+path, strings.NewReader(tt.form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if diff := cmp.Diff(tt.want, ask(t, h, r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is not the token endpoint refuses too.
func TestOtherRefusals(t *testing.T) {
	t.Parallel()
	h := handler(t, "https://issuer.example")
	for _, tt := range []struct {
		name, method, target string
		want                 refusal
	}{
		{"token by GET", http.MethodGet, "/" + v2Token, refusal{900561, "invalid_request", 400}},
		{"configuration by POST", http.MethodPost, "/" + tenantID + "/v2.0/.well-known/openid-configuration", refusal{900561, "invalid_request", 400}},
		{"configuration of an unknown tenant", http.MethodGet, "/nobody.example/v2.0/.well-known/openid-configuration", refusal{90002, "invalid_tenant", 400}},
		{
			"unknown authority", http.MethodGet, "/common/discovery/instance?authorization_endpoint=https%3A%2F%2Flogin.example%2Fcommon%2Foauth2%2Fauthorize",
			refusal{50049, "invalid_instance", 400},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(tt.method, "https://login.microsoftonline.com"+tt.target, http.NoBody)
			if diff := cmp.Diff(tt.want, ask(t, h, r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func unsigned(t *testing.T, issuer *emulatortest.Issuer) string {
	t.Helper()
	parts := strings.Split(issuer.Token(t, "default", "web", nil), ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
}

func hmac(t *testing.T, issuer *emulatortest.Issuer) string {
	t.Helper()
	return signed(t, jose.SigningKey{Algorithm: jose.HS256, Key: make([]byte, 32)}, payload(t, issuer))
}

func ec(t *testing.T, issuer *emulatortest.Issuer) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signed(t, jose.SigningKey{Algorithm: jose.ES256, Key: key}, payload(t, issuer))
}

func payload(t *testing.T, issuer *emulatortest.Issuer) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(issuer.Token(t, "default", "web", nil), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// signed is a JWT of any kind.
func signed(t *testing.T, key jose.SigningKey, payload []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
