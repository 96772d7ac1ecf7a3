package sts

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"azwi/emulator/internal/accesstoken"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/issuer"
	"azwi/emulator/internal/random"
	"azwi/emulator/internal/replication"
	"azwi/internal/finding"
	"azwi/internal/token/entra"
)

// maxForm bounds the body of a token request, in bytes.
const maxForm = 256 << 10

// Lifetimes of access tokens. Source: "Configurable token lifetimes" and the
// managed identities FAQ, Microsoft Entra docs.
const (
	minApplicationLife = 60 * time.Minute
	maxApplicationLife = 90 * time.Minute
	identityLife       = 24 * time.Hour
)

// A Handler serves the authority. Every field is required.
type Handler struct {
	Directory *directory.Directory
	Replicas  *replication.Model
	Issuers   *issuer.Keys
	Tokens    *accesstoken.Service
	Random    *random.Source
	Now       func() time.Time
	Logger    *slog.Logger
}

// Serve answers a request to the authority. Paths may have any prefix before
// them, as the custom token endpoint of identity bindings adds one.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t hosts.Target) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	if strings.HasSuffix(path, "/common/discovery/instance") {
		h.instance(w, r, t)
		return
	}
	for _, route := range []struct {
		suffix string
		serve  func(w http.ResponseWriter, r *http.Request, t hosts.Target, tenant string)
	}{
		{"/v2.0/.well-known/openid-configuration", h.configuration(2)},
		{"/.well-known/openid-configuration", h.configuration(1)},
		{"/discovery/v2.0/keys", h.keys},
		{"/discovery/keys", h.keys},
		{"/oauth2/v2.0/token", h.token(2)},
		{"/oauth2/token", h.token(1)},
	} {
		if rest, ok := strings.CutSuffix(path, route.suffix); ok {
			tenant := rest[strings.LastIndex(rest, "/")+1:]
			route.serve(w, r, t, tenant)
			return
		}
	}
	http.Error(w, "azwi-emulator: the authority has no such endpoint", http.StatusNotFound)
}

// instance is instance discovery: which hosts are the same authority.
func (h *Handler) instance(w http.ResponseWriter, r *http.Request, t hosts.Target) {
	endpoint, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil {
		endpoint = &url.URL{}
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(endpoint.Path, "/"), "/")
	if tenant == "" {
		tenant = "common"
	}
	host := endpoint.Host
	if host == "" {
		host = strings.TrimPrefix(t.Authority, "https://")
	}
	known, ok := hosts.Lookup(host)
	if (!ok || known.Service != hosts.Authority) && !hosts.IsLoopback(host) && !strings.EqualFold(host, r.Host) {
		WriteError(w, r, t.Authority, h.Now(), fail(finding.AADSTSUnknownAuthority))
		return
	}
	var metadata []map[string]any
	for _, c := range entra.Clouds() {
		preferred := hostName(c.AuthorityHost)
		aliases := append([]string{preferred}, c.AuthorityAliases...)
		network := preferred
		metadata = append(metadata, map[string]any{"preferred_network": network, "preferred_cache": network, "aliases": aliases})
	}
	if !ok {
		metadata = append(metadata, map[string]any{"preferred_network": host, "preferred_cache": host, "aliases": []string{host}})
	}
	ids(w, r)
	write(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + host + "/" + tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata":                  metadata,
	})
}

func hostName(rawURL string) string {
	return strings.TrimSuffix(strings.TrimPrefix(rawURL, "https://"), "/")
}

// tenantOf finds the tenant of a path segment. Custom clouds of az write adfs
// there, which names no tenant.
func (h *Handler) tenantOf(segment string) (tenant *directory.Tenant, ok bool) {
	h.Directory.View(func(s *directory.State) {
		if segment == "adfs" {
			segment = s.DefaultTenant
		}
		tenant, ok = s.Tenant(segment)
	})
	return tenant, ok
}

// issuerOf is the issuer of tokens of version 1, as the cloud writes it.
func issuerOf(t hosts.Target, tenantID string) string {
	if t.Cloud.Name == "AzureChinaCloud" {
		return "https://sts.chinacloudapi.cn/" + tenantID + "/"
	}
	return "https://sts.windows.net/" + tenantID + "/"
}

func (h *Handler) configuration(version int) func(http.ResponseWriter, *http.Request, hosts.Target, string) {
	return func(w http.ResponseWriter, r *http.Request, t hosts.Target, segment string) {
		if r.Method != http.MethodGet {
			WriteError(w, r, t.Authority, h.Now(), fail(finding.AADSTSMethod, "GET", r.Method))
			return
		}
		id := "{tenantid}"
		if !slices.Contains([]string{"common", "organizations", "consumers"}, segment) {
			tenant, ok := h.tenantOf(segment)
			if !ok {
				e := fail(finding.AADSTSUnknownTenant, segment)
				e.Kind = "invalid_tenant"
				WriteError(w, r, t.Authority, h.Now(), e)
				return
			}
			id = tenant.ID
		}
		base := t.Authority + "/" + segment
		// The issuer has the authority's origin, because clients compare the two.
		issuer, oauth, keys := t.Authority+"/"+id+"/v2.0", base+"/oauth2/v2.0", base+"/discovery/v2.0/keys"
		if version == 1 {
			issuer, oauth, keys = issuerOf(t, id), base+"/oauth2", base+"/discovery/keys"
			if segment == "adfs" {
				issuer = base
			}
		}
		ids(w, r)
		write(w, http.StatusOK, map[string]any{
			"token_endpoint":                        oauth + "/token",
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
			"jwks_uri":                              keys,
			"response_modes_supported":              []string{"query", "fragment", "form_post"},
			"subject_types_supported":               []string{"pairwise"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
			"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
			"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
			"issuer":                                issuer,
			"request_uri_parameter_supported":       false,
			"userinfo_endpoint":                     t.Cloud.Graph + "/oidc/userinfo",
			"authorization_endpoint":                oauth + "/authorize",
			"device_authorization_endpoint":         oauth + "/devicecode",
			"http_logout_supported":                 true,
			"frontchannel_logout_supported":         true,
			"end_session_endpoint":                  oauth + "/logout",
			"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "nbf", "tid", "ver"},
			"tenant_region_scope":                   nil,
			"cloud_instance_name":                   hostName(t.Cloud.AuthorityHost),
			"msgraph_host":                          hostName(t.Cloud.Graph),
			"rbac_url":                              "https://pas.windows.net",
		})
	}
}

func (h *Handler) keys(w http.ResponseWriter, r *http.Request, t hosts.Target, segment string) {
	set, err := h.Tokens.JWKS(t.Authority + "/" + segment + "/v2.0")
	if err != nil {
		h.Logger.Error("no signing key", "error", err)
		WriteError(w, r, t.Authority, h.Now(), fail(finding.AADSTSBusy))
		return
	}
	ids(w, r)
	write(w, http.StatusOK, set)
}

func (h *Handler) token(version int) func(http.ResponseWriter, *http.Request, hosts.Target, string) {
	return func(w http.ResponseWriter, r *http.Request, t hosts.Target, segment string) {
		answer, e := h.exchange(w, r, t, segment, version)
		if e != nil {
			WriteError(w, r, t.Authority, h.Now(), e)
			return
		}
		ids(w, r)
		write(w, http.StatusOK, answer)
	}
}

// exchange is one token request, its checks in the order of protocol.md section
// D: tenant, fields, client, proof, scope, resource.
func (h *Handler) exchange(w http.ResponseWriter, r *http.Request, t hosts.Target, segment string, version int) (map[string]any, *Error) {
	if r.Method != http.MethodPost {
		return nil, fail(finding.AADSTSMethod, "POST", r.Method)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	formErr := r.ParseForm()
	tenant, ok := h.tenantOf(segment)
	if !ok {
		return nil, fail(finding.AADSTSUnknownTenant, segment)
	}
	if formErr != nil {
		return nil, fail(finding.AADSTSMissingParameter, "grant_type")
	}
	form := r.PostForm
	clientID, secret := form.Get("client_id"), form.Get("client_secret")
	if id, password, ok := basicAuth(r); ok && clientID == "" {
		clientID, secret = id, password
	}
	if segment == "adfs" && form.Get("scope") != "" {
		version = 2 // that endpoint takes either
	}
	grant := form.Get("grant_type")
	scopeField := "scope"
	if version == 1 {
		scopeField = "resource"
	}
	switch {
	case grant == "":
		return nil, fail(finding.AADSTSMissingParameter, "grant_type")
	case grant != "client_credentials":
		return nil, fail(finding.AADSTSGrantType, grant)
	case clientID == "":
		return nil, fail(finding.AADSTSMissingParameter, "client_id")
	case form.Get(scopeField) == "":
		return nil, fail(finding.AADSTSMissingParameter, scopeField)
	case secret == "" && form.Get("client_assertion") == "":
		return nil, fail(finding.AADSTSNoProof)
	case form.Get("client_assertion") != "" && form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		return nil, fail(finding.AADSTSMissingParameter, "client_assertion_type")
	}

	var client directory.Client
	h.Directory.View(func(s *directory.State) { client, ok = s.Client(tenant.ID, clientID) })
	if !ok {
		return nil, fail(finding.AADSTSUnknownClient, clientID, tenant.ID)
	}
	proof, e := h.prove(r, client, secret)
	if e != nil {
		return nil, e
	}
	if client.Principal == nil {
		return nil, fail(finding.AADSTSNoPrincipal, clientID, tenant.ID)
	}
	resource := form.Get("resource")
	if version == 2 {
		if resource, e = scopeResource(form.Get("scope")); e != nil {
			return nil, e
		}
	}
	grantClaims, e := h.grant(client, tenant, t, resource)
	if e != nil {
		return nil, e
	}
	grantClaims.AppIDACR = proof.acr
	if grantClaims.AZP != "" {
		grantClaims.AppIDACR, grantClaims.AZPACR = "", proof.acr
	}
	if proof.federated {
		grantClaims.XMSFICInfo = ficInfo
	}
	grantClaims.XMSCC = capabilities(form.Get("claims"))
	return h.answer(grantClaims, client, resource, version)
}

// A proof is how a client authenticated.
type proof struct {
	// acr is the value of the appidacr claim.
	acr       string
	federated bool
}

// ficInfo is the xms_ficinfo claim of tokens that a federated credential got, a
// value that was seen in public tokens. Only whether a token has it counts here.
const ficInfo = "CAAQABgAIAAoAjAA"

// prove checks the client's secret or assertion.
func (h *Handler) prove(r *http.Request, client directory.Client, secret string) (proof, *Error) {
	if secret != "" {
		return proof{acr: "1"}, checkSecret(client, secret, h.Now())
	}
	a, e := parseAssertion(r.PostForm.Get("client_assertion"))
	if e != nil {
		return proof{}, e
	}
	// Both kinds of assertion come in the same field; the issuer of one that a
	// client certificate signed is the client itself.
	if strings.EqualFold(a.claims.Issuer, client.AppID()) {
		return proof{acr: "2"}, h.checkCertificate(client, a, r)
	}
	return proof{acr: "2", federated: true}, h.checkFederated(r.Context(), client, a)
}

func checkSecret(client directory.Client, value string, now time.Time) *Error {
	for _, s := range client.Secrets() {
		if !s.Is(value) {
			continue
		}
		if !s.Expires.IsZero() && now.After(s.Expires) {
			return fail(finding.AADSTSExpiredSecret, client.AppID())
		}
		return nil
	}
	return fail(finding.AADSTSWrongSecret, client.AppID())
}

// basicAuth reads client_secret_basic, whose parts are form-encoded (RFC 6749
// section 2.3.1).
func basicAuth(r *http.Request) (id, secret string, ok bool) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return "", "", false
	}
	id, err1 := url.QueryUnescape(user)
	secret, err2 := url.QueryUnescape(password)
	return id, secret, err1 == nil && err2 == nil
}

// scopeResource is the resource of a scope parameter. The scopes of OpenID
// Connect, which MSAL adds, count for nothing here.
func scopeResource(scope string) (string, *Error) {
	var asked []string
	for s := range strings.FieldsSeq(scope) {
		if !slices.Contains([]string{"openid", "offline_access", "profile", "email"}, s) {
			asked = append(asked, s)
		}
	}
	if len(asked) != 1 {
		return "", fail(finding.AADSTSScope, scope)
	}
	resource, ok := strings.CutSuffix(asked[0], "/.default")
	if !ok || resource == "" {
		return "", fail(finding.AADSTSScopeSuffix, asked[0])
	}
	return resource, nil
}

// grant decides the claims of the access token for a resource.
func (h *Handler) grant(client directory.Client, tenant *directory.Tenant, t hosts.Target, resource string) (accesstoken.Claims, *Error) {
	c := grantOf(client, tenant, issuerOf(t, tenant.ID))
	c.Audience = resource
	service, emulated := hosts.ServiceOf(resource)
	if client.Identity != nil && (emulated || isExchange(resource) || isFirstParty(resource)) {
		// Undocumented: seen in tokens for Microsoft's own resources only.
		c.XMSMIRID = client.Identity.ID()
	}
	if emulated {
		if service == hosts.Graph {
			c.Roles = client.Principal.AppRoles
		}
		return c, nil
	}
	if isExchange(resource) {
		// A managed identity's token that stands for an application elsewhere: its
		// federated credential names the issuer of version 2.
		return version2(c, t, tenant), nil
	}
	if isFirstParty(resource) || slices.ContainsFunc(tenant.Resources, func(r string) bool { return hosts.SameResource(r, resource) }) {
		return c, nil
	}
	var app *directory.Application
	h.Directory.View(func(s *directory.State) {
		app, _ = s.ApplicationByAppID(strings.TrimPrefix(resource, "api://"))
		if app == nil {
			app = s.ApplicationByURI(resource)
		}
		if app != nil {
			if _, ok := s.PrincipalByAppID(tenant.ID, app.AppID); !ok {
				app = nil
			}
		}
	})
	if app == nil {
		return c, fail(finding.AADSTSUnknownResource, resource, tenant.ID)
	}
	if app.TokenVersion == 2 {
		c = version2(c, t, tenant)
		c.Audience = app.AppID
	}
	return c, nil
}

// version2 makes the claims those of a token of version 2.
func version2(c accesstoken.Claims, t hosts.Target, tenant *directory.Tenant) accesstoken.Claims {
	c.Version = "2.0"
	c.Issuer = strings.TrimSuffix(t.Cloud.AuthorityHost, "/") + "/" + tenant.ID + "/v2.0"
	c.IDP, c.AZP, c.AppID, c.AppDisplay = "", c.AppID, "", ""
	return c
}

// isFirstParty knows services of Azure that are not emulated but whose tokens
// applications ask for.
func isFirstParty(resource string) bool {
	name := strings.ToLower(strings.Trim(strings.TrimPrefix(resource, "https://"), "/"))
	switch name {
	case "graph.windows.net", "storage.azure.com", "database.windows.net",
		"ossrdbms-aad.database.windows.net", "servicebus.azure.net", "eventhubs.azure.net", "cosmos.azure.com",
		"cognitiveservices.azure.com", "ai.azure.com", "search.azure.com", "monitor.azure.com", "api.loganalytics.io",
		"containerregistry.azure.net", "appconfig.azure.com", "azconfig.io", "redis.azure.com", "batch.core.windows.net",
		"6dae42f8-4368-4678-94ff-3960e28e3630": // Azure Kubernetes Service
		return true
	}
	for _, suffix := range []string{".blob.core.windows.net", ".queue.core.windows.net", ".documents.azure.com", ".azconfig.io", ".servicebus.windows.net", ".openai.azure.com"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// capabilities reads what the client says it can do from the claims parameter:
// {"access_token":{"xms_cc":{"values":["CP1"]}}}. Anything else is ignored.
func capabilities(raw string) []string {
	var request struct {
		AccessToken struct {
			XMSCC struct {
				Values []string `json:"values"`
			} `json:"xms_cc"`
		} `json:"access_token"`
	}
	if json.Unmarshal([]byte(raw), &request) != nil || !slices.Contains(request.AccessToken.XMSCC.Values, "CP1") {
		return nil
	}
	return []string{"CP1"}
}

// Issue mints a token for a managed identity without a proof, for the instance
// metadata service.
func (h *Handler) Issue(client directory.Client, t hosts.Target, resource string) (map[string]any, *Error) {
	tenant, ok := h.tenantOf(client.Principal.TenantID)
	if !ok {
		return nil, fail(finding.AADSTSUnknownTenant, client.Principal.TenantID)
	}
	c, e := h.grant(client, tenant, t, resource)
	if e != nil {
		return nil, e
	}
	return h.answer(c, client, resource, 1)
}

func (h *Handler) answer(c accesstoken.Claims, client directory.Client, resource string, version int) (map[string]any, *Error) {
	life := identityLife
	if client.Identity == nil {
		life = h.Random.Duration(minApplicationLife, maxApplicationLife).Truncate(time.Second)
	}
	raw, err := h.Tokens.Mint(c, life)
	if err != nil {
		h.Logger.Error("access token can't be signed", "error", err)
		return nil, fail(finding.AADSTSBusy)
	}
	// The cloud counts from a moment before it answers.
	seconds := int(life/time.Second) - 1
	if version == 2 {
		answer := map[string]any{"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": raw}
		if life > 2*time.Hour {
			answer["refresh_in"] = seconds / 2
		}
		return answer, nil
	}
	now := h.Now()
	in := strconv.Itoa(seconds)
	answer := map[string]any{
		"token_type": "Bearer", "expires_in": in, "ext_expires_in": in,
		"expires_on": strconv.FormatInt(now.Add(life).Unix(), 10), "not_before": strconv.FormatInt(now.Unix(), 10),
		"resource": resource, "access_token": raw,
	}
	if life > 2*time.Hour {
		answer["refresh_in"] = strconv.Itoa(seconds / 2)
	}
	return answer, nil
}
