package contract

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// A Backend is a cloud to hold against the contract. The service principal must
// be Owner of the resource group, and have Application.ReadWrite.All (or OwnedBy)
// on Graph; it must have no federated credential.
type Backend struct {
	// Authority, ResourceManager and Graph are URLs without a slash at the end.
	Authority, ResourceManager, Graph string
	TenantID, SubscriptionID, Group   string
	Location                          string
	ClientID, ClientSecret            string
	Client                            *http.Client
	// Settle is how long a deleted or created object may take to be seen.
	Settle time.Duration
}

const (
	armResource   = "https://management.azure.com"
	graphResource = "https://graph.microsoft.com"
	audience      = "api://AzureADTokenExchange"
)

// PublicCloud has the URLs of Azure's public cloud.
func PublicCloud() Backend {
	return Backend{Authority: "https://login.microsoftonline.com", ResourceManager: armResource, Graph: graphResource}
}

// Run runs the whole suite. What it creates has names of its own and is deleted.
func Run(t *testing.T, b Backend) {
	t.Run("token errors", b.tokenErrors)
	t.Run("token", b.token)
	t.Run("discovery", b.discovery)
	t.Run("managed identity", b.managedIdentity)
	t.Run("application", b.application)
	t.Run("tenant of a subscription", b.tenantOfSubscription)
}

// settle waits until what was created is seen everywhere. Nothing tells when.
func (b Backend) settle(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(b.Settle):
	case <-t.Context().Done():
	}
}

// An answer is decoded JSON with its status.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func (a answer) text(path ...string) string {
	v := a.body
	for _, name := range path[:len(path)-1] {
		v, _ = v[name].(map[string]any)
	}
	s, _ := v[path[len(path)-1]].(string)
	return s
}

func (b Backend) do(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := b.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &a.body); err != nil {
			t.Fatalf("%s %s: %d %q is no JSON", req.Method, req.URL.Path, resp.StatusCode, text)
		}
	}
	return a
}

func (b Backend) post(t *testing.T, tenant string, form url.Values) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.Authority+"/"+tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(t, req)
}

func (b Backend) secretForm(resource string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {b.ClientID}, "client_secret": {b.ClientSecret}, "scope": {resource + "/.default"},
	}
}

func assertionForm(clientID, assertion string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "scope": {armResource + "/.default"},
	}
}

// assertion is a JWT whose signature is not real: the checks before it are what
// can be compared without an issuer that the cloud reaches.
func assertion(issuer, subject string) string {
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now().Unix()
	return part(map[string]string{"alg": "RS256", "typ": "JWT", "kid": "contract"}) + "." +
		part(map[string]any{"iss": issuer, "sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": now + 3600}) + "." +
		base64.RawURLEncoding.EncodeToString(make([]byte, 256))
}

func codes(a answer) []int {
	list, _ := a.body["error_codes"].([]any)
	var out []int
	for _, c := range list {
		if n, ok := c.(float64); ok {
			out = append(out, int(n))
		}
	}
	return out
}

func (b Backend) tokenErrors(t *testing.T) {
	unknown := uuid.NewString()
	with := func(name, value string) url.Values {
		form := b.secretForm(armResource)
		form.Set(name, value)
		if value == "" {
			form.Del(name)
		}
		return form
	}
	for _, tt := range []struct {
		name   string
		tenant string
		form   url.Values
		code   int
		kind   string
	}{
		{"unknown tenant", unknown, b.secretForm(armResource), 90002, "invalid_request"},
		{"no grant type", b.TenantID, with("grant_type", ""), 900144, "invalid_request"},
		{"no client", b.TenantID, with("client_id", ""), 900144, "invalid_request"},
		{"no proof", b.TenantID, with("client_secret", ""), 7000216, "invalid_client"},
		{"unknown client", b.TenantID, with("client_id", unknown), 700016, "unauthorized_client"},
		{"wrong secret", b.TenantID, with("client_secret", "wrong"), 7000215, "invalid_client"},
		{"scope without default", b.TenantID, with("scope", armResource), 1002012, "invalid_scope"},
		{"unknown resource", b.TenantID, with("scope", "https://"+unknown+".example/.default"), 500011, "invalid_resource"},
		{"no JWT", b.TenantID, assertionForm(b.ClientID, "x"), 50027, "invalid_request"},
		{"no federated credential", b.TenantID, assertionForm(b.ClientID, assertion("https://"+unknown+".example", "s")), 70025, "invalid_client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := b.post(t, tt.tenant, tt.form)
			list := codes(got)
			if len(list) == 0 || list[0] != tt.code || got.text("error") != tt.kind || (got.status != 400 && got.status != 401) {
				t.Errorf("got %d %s %v: %s", got.status, got.text("error"), list, got.text("error_description"))
			}
			for _, field := range []string{"trace_id", "correlation_id", "timestamp"} {
				if got.text(field) == "" {
					t.Errorf("no %s", field)
				}
			}
			if want := fmt.Sprintf("AADSTS%d: ", tt.code); !strings.HasPrefix(got.text("error_description"), want) {
				t.Errorf("description %q", got.text("error_description"))
			}
		})
	}
}

// login returns an access token of the service principal.
func (b Backend) login(t *testing.T, resource string) string {
	t.Helper()
	got := b.post(t, b.TenantID, b.secretForm(resource))
	if got.status != http.StatusOK {
		t.Fatalf("login: %d %s", got.status, got.text("error_description"))
	}
	return got.text("access_token")
}

func (b Backend) token(t *testing.T) {
	got := b.post(t, b.TenantID, b.secretForm(armResource))
	life, _ := got.body["expires_in"].(float64)
	if got.status != 200 || got.text("token_type") != "Bearer" || life < 3500 || life > 5400 || got.header.Get("Cache-Control") == "" {
		t.Fatalf("got %d %s, expires_in %v", got.status, got.text("token_type"), life)
	}
	parts := strings.Split(got.text("access_token"), ".")
	if len(parts) != 3 {
		t.Fatal("no JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"appid": b.ClientID, "tid": b.TenantID, "iss": "https://sts.windows.net/" + b.TenantID + "/", "ver": "1.0", "appidacr": "1", "aud": armResource} {
		if claims[name] != want {
			t.Errorf("claim %s is %v, want %v", name, claims[name], want)
		}
	}
}

func (b Backend) discovery(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.Authority+"/"+b.TenantID+"/v2.0/.well-known/openid-configuration", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := b.do(t, req)
	for field, want := range map[string]string{
		"issuer": b.Authority + "/" + b.TenantID + "/v2.0", "token_endpoint": b.Authority + "/" + b.TenantID + "/oauth2/v2.0/token",
		"jwks_uri": b.Authority + "/" + b.TenantID + "/discovery/v2.0/keys",
	} {
		if got.text(field) != want {
			t.Errorf("%s is %q, want %q", field, got.text(field), want)
		}
	}
}

// A session calls a resource server.
type session struct {
	Backend
	origin, token string
}

func (s session) call(t *testing.T, method, path, body string) answer {
	t.Helper()
	ctx := t.Context()
	if ctx.Err() != nil { // during Cleanup
		ctx = context.WithoutCancel(ctx)
	}
	target := path
	if strings.HasPrefix(path, "/") {
		target = s.origin + path
	}
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return s.do(t, req)
}

// want calls and checks status and, for errors, the code.
func (s session) want(t *testing.T, status int, code, method, path, body string) answer {
	t.Helper()
	got := s.call(t, method, path, body)
	if got.status != status || got.text("error", "code") != code {
		t.Errorf("%s %s: got %d %s, want %d %s: %s", method, path, got.status, got.text("error", "code"), status, code, got.text("error", "message"))
	}
	return got
}

func credential(subject string, audiences ...string) string {
	text, err := json.Marshal(map[string]any{"properties": map[string]any{"issuer": "https://contract.example", "subject": subject, "audiences": audiences}})
	if err != nil {
		return ""
	}
	return string(text)
}

func (b Backend) managedIdentity(t *testing.T) {
	s := session{b, b.ResourceManager, b.login(t, armResource)}
	const version = "?api-version=2024-11-30"
	name := "contract-" + uuid.NewString()[:8]
	path := "/subscriptions/" + b.SubscriptionID + "/resourceGroups/" + b.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name
	s.want(t, 404, "ResourceNotFound", "GET", path+version, "")
	identity := s.want(t, 201, "", "PUT", path+version, `{"location":"`+b.Location+`"}`)
	t.Cleanup(func() { s.call(t, "DELETE", path+version, "") })
	fics := path + "/federatedIdentityCredentials"
	s.want(t, 201, "", "PUT", fics+"/first"+version, credential("one", audience))
	s.want(t, 200, "", "PUT", fics+"/first"+version, credential("two", audience))
	for name, body := range map[string]string{
		"second": credential("two", audience), // the first has it
		"third":  credential("three"),
		"fourth": credential("four", audience, "other"),
		"-":      credential("five", audience),
		"sixth":  "{}",
	} {
		if got := s.call(t, "PUT", fics+"/"+name+version, body); got.status != 400 && got.status != 409 {
			t.Errorf("PUT %s: %d", name, got.status)
		}
	}
	for n := range 4 {
		s.want(t, 201, "", "PUT", fmt.Sprintf("%s/more-%d%s", fics, n, version), credential(fmt.Sprint(n), audience))
	}
	count := 0
	for next := fics + version; next != ""; {
		page := s.call(t, "GET", next, "")
		value, _ := page.body["value"].([]any)
		count += len(value)
		next = page.text("nextLink")
	}
	if count != 5 {
		t.Errorf("%d credentials, want 5", count)
	}
	s.want(t, 400, "MissingApiVersionParameter", "GET", path, "")
	b.roleAssignment(t, s, identity.text("properties", "principalId"))

	// An assertion that no credential covers is refused before its signature is
	// looked at, with the issuer first.
	b.settle(t)
	got := b.post(t, b.TenantID, assertionForm(identity.text("properties", "clientId"), assertion("https://other.example", "two")))
	if list := codes(got); len(list) == 0 || (list[0] != 700211 && list[0] != 70021) {
		t.Errorf("other issuer: %d %v", got.status, list)
	}
	s.want(t, 200, "", "DELETE", fics+"/first"+version, "")
	s.want(t, 204, "", "DELETE", fics+"/first"+version, "")
}

func (b Backend) roleAssignment(t *testing.T, s session, principal string) {
	t.Helper()
	const version = "?api-version=2022-04-01"
	scope := "/subscriptions/" + b.SubscriptionID + "/resourceGroups/" + b.Group
	path := func() string {
		return scope + "/providers/Microsoft.Authorization/roleAssignments/" + uuid.NewString() + version
	}
	body := fmt.Sprintf(`{"properties":{"roleDefinitionId":"/subscriptions/%s/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7","principalId":%q,"principalType":"ServicePrincipal"}}`, b.SubscriptionID, principal)
	first := path()
	s.want(t, 201, "", "PUT", first, body)
	s.want(t, 409, "RoleAssignmentExists", "PUT", path(), body)
	s.want(t, 200, "", "DELETE", first, "")
	s.want(t, 204, "", "DELETE", first, "")
	s.want(t, 400, "PrincipalNotFound", "PUT", path(), strings.NewReplacer(principal, uuid.NewString(), `,"principalType":"ServicePrincipal"`, "").Replace(body))
	permissions := s.want(t, 200, "", "GET", scope+"/providers/Microsoft.Authorization/permissions"+version, "")
	if value, _ := permissions.body["value"].([]any); len(value) == 0 {
		t.Error("no permissions")
	}
}

func (b Backend) application(t *testing.T) {
	s := session{b, b.Graph, b.login(t, graphResource)}
	app := s.want(t, 201, "", "POST", "/v1.0/applications", `{"displayName":"azwi contract"}`)
	path := "/v1.0/applications/" + app.text("id")
	t.Cleanup(func() { s.call(t, "DELETE", path, "") })
	b.settle(t)
	fics := path + "/federatedIdentityCredentials"
	body := func(name, subject string) string {
		return fmt.Sprintf(`{"name":%q,"issuer":"https://contract.example","subject":%q,"audiences":[%q]}`, name, subject, audience)
	}
	s.want(t, 201, "", "POST", fics, body("first", "one"))
	s.want(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", fics, body("first", "two"))
	s.want(t, 400, "InvalidFederatedIdentityCredentialValue", "POST", fics, body("second", "one"))
	s.want(t, 200, "", "GET", fics+"/first", "")
	s.want(t, 204, "", "PATCH", fics+"/first", `{"description":"changed"}`)
	found := s.want(t, 200, "", "GET", "/v1.0/applications?$filter="+url.QueryEscape("appId eq '"+app.text("appId")+"'"), "")
	if value, _ := found.body["value"].([]any); len(value) != 1 {
		t.Errorf("%d applications found by appId", len(value))
	}
	s.want(t, 204, "", "DELETE", fics+"/first", "")
	s.want(t, 404, "Request_ResourceNotFound", "GET", fics+"/first", "")
}

func (b Backend) tenantOfSubscription(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.ResourceManager+"/subscriptions/"+b.SubscriptionID+"?api-version=2021-01-01", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := b.do(t, req)
	if challenge := got.header.Get("WWW-Authenticate"); got.status != 401 || !strings.Contains(challenge, "/"+b.TenantID+`"`) {
		t.Errorf("got %d %q", got.status, challenge)
	}
}
