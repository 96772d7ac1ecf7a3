package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

const (
	webAppID    = "22222222-0000-4000-8000-000000000001"
	identityID  = "22222222-0000-4000-8000-000000000002"
	bareAppID   = "22222222-0000-4000-8000-000000000003"
	orphanAppID = "22222222-0000-4000-8000-000000000004"
	webSecret   = "web-secret"
)

// federated is a seed with an application and a managed identity that trust
// issuer's default/web, and clients that lack something.
func federated(issuer string) string {
	return fmt.Sprintf(`
applications:
  - name: web
    appId: %[2]s
    secrets: [{value: %[3]s}, {value: expired-secret, expires: 2020-01-01T00:00:00Z}]
    identifierUris: [api://web]
    federatedCredentials:
      - {name: web, issuer: %[1]s, subject: "system:serviceaccount:default:web"}
      - {name: spaced, issuer: "%[1]s/ ", subject: "system:serviceaccount:default:web"}
      - {name: flexible, issuer: "https://app.terraform.io", claimsMatchingExpression: "claims['sub'] matches 'organization:contoso:*:run_phase:plan'"}
  - {name: bare, appId: %[4]s}
  - {name: orphan, appId: %[5]s, servicePrincipal: false, secrets: [{value: orphan}]}
managedIdentities:
  - name: pod
    clientId: %[6]s
    federatedCredentials:
      - {name: pod, issuer: %[1]s, subject: "system:serviceaccount:default:web"}
roleAssignments:
  - {role: Key Vault Secrets User, principal: pod}
vaults:
  - {name: emulator, secrets: {greeting: hello, one: a, two: b, three: c}}
`, issuer, webAppID, webSecret, bareAppID, orphanAppID, identityID)
}

// tokenAnswer is either kind of answer of the token endpoint.
type tokenAnswer struct {
	Status      int
	AccessToken string      `json:"access_token"`
	TokenType   string      `json:"token_type"`
	ExpiresIn   json.Number `json:"expires_in"`
	RefreshIn   json.Number `json:"refresh_in"`
	Resource    string      `json:"resource"`
	Error       string      `json:"error"`
	Description string      `json:"error_description"`
	Codes       []int       `json:"error_codes"`
	TraceID     string      `json:"trace_id"`
	Timestamp   string      `json:"timestamp"`
	URI         string      `json:"error_uri"`
}

func post(t *testing.T, s *emulatortest.Server, path string, form url.Values) tokenAnswer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.AuthorityURL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := s.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := tokenAnswer{Status: resp.StatusCode}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	return a
}

// exchange is a form with an assertion.
func exchange(clientID, assertion string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"scope":                 {"https://vault.azure.net/.default openid offline_access profile"},
	}
}

const v2Token = emulator.DefaultTenantID + "/oauth2/v2.0/token"

func claimsOf(t *testing.T, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", raw)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// The classic quick start: a pod's token becomes an access token that reads a
// secret.
func TestPodReadsSecret(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(federated(issuer.URL))})
	got := post(t, cloud, v2Token, exchange(identityID, issuer.Token(t, "default", "web", nil)))
	claims := claimsOf(t, got.AccessToken)
	raw := got.AccessToken
	got.AccessToken = ""
	if diff := cmp.Diff(tokenAnswer{Status: http.StatusOK, TokenType: "Bearer", ExpiresIn: "86399", RefreshIn: "43199"}, got); diff != "" {
		t.Errorf("token answer: %s", diff)
	}
	for name, want := range map[string]any{
		"aud": "https://vault.azure.net", "iss": "https://sts.windows.net/" + emulator.DefaultTenantID + "/", "idtyp": "app", "appidacr": "2",
		"appid": identityID, "ver": "1.0", "sub": claims["oid"],
		"xms_mirid": "/subscriptions/" + emulator.DefaultSubscriptionID + "/resourcegroups/emulator/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pod",
	} {
		if claims[name] != want {
			t.Errorf("claim %s is %v, want %v", name, claims[name], want)
		}
	}
	status, body := get(t, cloud, cloud.VaultURL("emulator")+"/secrets/greeting?api-version=7.5", raw)
	if status != http.StatusOK || body["value"] != "hello" {
		t.Errorf("secret: %d %v", status, body)
	}
}

// An application trusts all subjects that its expression matches.
func TestFlexibleCredential(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	seed := federated(issuer.URL) + "issuers: {https://app.terraform.io: {url: " + issuer.URL + "/openid/v1/jwks}}\n"
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(seed)})
	for _, workspace := range []string{"workspace:a", "workspace:b"} {
		claims := map[string]any{"iss": "https://app.terraform.io", "sub": "organization:contoso:project:p:" + workspace + ":run_phase:plan"}
		if got := post(t, cloud, v2Token, exchange(webAppID, issuer.Token(t, "", "", claims))); got.Status != http.StatusOK {
			t.Errorf("%s: %+v", workspace, got)
		}
	}
}

// Microsoft's own resources are told which managed identity asks, others are not.
func TestManagedIdentityClaim(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	seed := federated(issuer.URL) + "\ntenants: [{id: " + emulator.DefaultTenantID + ", resources: [\"api://partner\"]}]\n"
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(seed)})
	const pod = "/subscriptions/" + emulator.DefaultSubscriptionID + "/resourcegroups/emulator/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pod"
	for _, tt := range []struct {
		client, resource string
		want             any
	}{
		{identityID, "https://vault.azure.net", pod},
		{identityID, "https://management.azure.com/", pod},
		{identityID, "https://graph.microsoft.com", pod},
		{identityID, "https://storage.azure.com/", pod},
		{identityID, contract.DefaultAudience, pod},
		{identityID, "api://web", nil},
		{identityID, webAppID, nil},
		{identityID, "api://partner", nil},
		{webAppID, "https://vault.azure.net", nil},
	} {
		form := exchange(tt.client, issuer.Token(t, "default", "web", nil))
		form.Set("scope", tt.resource+"/.default")
		got := post(t, cloud, v2Token, form)
		if got.Status != http.StatusOK {
			t.Errorf("%s for %s: %+v", tt.client, tt.resource, got)
			continue
		}
		if claim := claimsOf(t, got.AccessToken)["xms_mirid"]; claim != tt.want {
			t.Errorf("%s for %s: xms_mirid is %v, want %v", tt.client, tt.resource, claim, tt.want)
		}
	}
}

func get(t *testing.T, s *emulatortest.Server, rawURL, token string) (int, map[string]any) {
	t.Helper()
	return call(t, s, http.MethodGet, rawURL, token, "")
}

func call(t *testing.T, s *emulatortest.Server, method, rawURL, token, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, rawURL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := s.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatalf("answer %q: %v", text, err)
		}
	}
	return resp.StatusCode, answer
}

// A managed identity stands for an application by a token from its machine; no
// other token of Entra does, and none stands for a managed identity.
func TestEntraTokenAsAssertion(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	const self = "https://login.microsoftonline.com/" + emulator.DefaultTenantID + "/v2.0"
	const pod, app, target = "66666666-0000-4000-8000-000000000001", "66666666-0000-4000-8000-000000000002", "66666666-0000-4000-8000-000000000003"
	const principal, appPrincipal = "66666666-0000-4000-8000-000000000005", "66666666-0000-4000-8000-000000000004"
	cloud := emulatortest.Start(t, emulator.Config{Seed: fmt.Appendf(nil, `
managedIdentities:
  - {name: pod, clientId: %[1]s, principalId: %[6]s, imds: true, federatedCredentials: [{name: pod, issuer: %[4]q, subject: "system:serviceaccount:default:web"}]}
  - {name: target, clientId: %[3]s, federatedCredentials: [{name: pod, issuer: %[5]q, subject: %[6]q}]}
applications:
  - name: app
    appId: %[2]s
    secrets: [{value: s}]
    federatedCredentials:
      - {name: pod, issuer: %[5]q, subject: %[6]q}
      - {name: self, issuer: %[5]q, subject: %[7]q}
      - {name: cluster, issuer: %[4]q, subject: "system:serviceaccount:default:web"}
      - {name: vault, issuer: "https://sts.windows.net/%[8]s/", subject: %[6]q, audience: "https://vault.azure.net"}
servicePrincipals:
  - {name: app, appId: %[2]s, objectId: %[7]s}
`, pod, app, target, issuer.URL, self, principal, appPrincipal, emulator.DefaultTenantID)})
	forExchange := func(form url.Values) string {
		t.Helper()
		form.Set("scope", contract.DefaultAudience+"/.default")
		got := post(t, cloud, v2Token, form)
		if got.AccessToken == "" {
			t.Fatalf("no token for the exchange: %+v", got)
		}
		return got.AccessToken
	}
	machine := imdsToken(t, cloud, contract.DefaultAudience)
	vault := imdsToken(t, cloud, "https://vault.azure.net")
	federated := forExchange(exchange(pod, issuer.Token(t, "default", "web", nil)))
	federatedApp := forExchange(exchange(app, issuer.Token(t, "default", "web", nil)))
	secret := forExchange(url.Values{"grant_type": {"client_credentials"}, "client_id": {app}, "client_secret": {"s"}})
	for _, tt := range []struct {
		name, client, assertion string
		code                    int
	}{
		{"a machine's identity for an application", app, machine, 0},
		{"a machine's token for a vault", app, vault, 700214},
		{"a machine's identity for a managed identity", target, machine, 700222},
		{"a pod's identity for an application", app, federated, 700231},
		{"a pod's identity for a managed identity", target, federated, 700222},
		{"a pod's application for an application", app, federatedApp, 700231},
		{"an application with a secret", app, secret, 700226},
	} {
		got := post(t, cloud, v2Token, exchange(tt.client, tt.assertion))
		if tt.code == 0 {
			if client := claimsOf(t, got.AccessToken)["appid"]; client != tt.client {
				t.Errorf("%s: a token for %v", tt.name, client)
			}
			continue
		}
		want := tokenAnswer{Status: http.StatusUnauthorized, Error: "invalid_client", Codes: []int{tt.code}}
		if diff := cmp.Diff(want, tokenAnswer{Status: got.Status, Error: got.Error, Codes: got.Codes}); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// imdsToken is a token of this machine's only managed identity.
func imdsToken(t *testing.T, cloud *emulatortest.Server, resource string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		"http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource="+url.QueryEscape(resource), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Metadata", "true")
	client := cloud.ProxyClient(t)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]string
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer["access_token"] == "" {
		t.Fatalf("metadata service: %v %v", answer, err)
	}
	return answer["access_token"]
}

// signed is a JWT of any kind.
func signed(t *testing.T, key jose.SigningKey, options *jose.SignerOptions, payload []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(key, options)
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
