package emulator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

const (
	readerID     = "22222222-0000-4000-8000-000000000011"
	readerSecret = "reader-secret"
	// at once: a test of something else doesn't wait for replicas.
	atOnce = "replication: {minDelay: 0s, maxDelay: 0s, missMemory: 0s}\n"
)

// managed is a seed with the default operator, and a reader who may do little.
const managed = `
servicePrincipals:
  - name: operator
    appId: ` + emulator.DefaultOperatorID + `
    secrets: [{value: ` + emulator.DefaultOperatorSecret + `}]
    directoryRoles: [Application Administrator]
    appRoles: [Application.ReadWrite.All]
  - {name: reader, appId: ` + readerID + `, secrets: [{value: ` + readerSecret + `}]}
roleAssignments:
  - {role: Owner, principal: operator}
  - {role: Reader, principal: reader}
vaults: [{name: emulator, secrets: {greeting: hello}}]
`

const (
	armResource   = "https://management.azure.com"
	graphResource = "https://graph.microsoft.com"
	vaultResource = "https://vault.azure.net"
)

// A session calls the emulator with one client's token.
type session struct {
	*emulatortest.Server
	token string
}

func login(t *testing.T, s *emulatortest.Server, clientID, secret, resource string) session {
	t.Helper()
	got := post(t, s, v2Token, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret}, "scope": {resource + "/.default"},
	})
	if got.Status != http.StatusOK {
		t.Fatalf("login: %+v", got)
	}
	return session{s, got.AccessToken}
}

func operator(t *testing.T, s *emulatortest.Server, resource string) session {
	t.Helper()
	return login(t, s, emulator.DefaultOperatorID, emulator.DefaultOperatorSecret, resource)
}

func (s session) call(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	return call(t, s.Server, method, s.AuthorityURL+strings.TrimPrefix(path, "/"), s.token, body)
}

// want calls and checks status and error code.
func (s session) want(t *testing.T, status int, code, method, path, body string) map[string]any {
	t.Helper()
	got, answer := s.call(t, method, path, body)
	gotCode := ""
	if e, ok := answer["error"].(map[string]any); ok {
		gotCode, _ = e["code"].(string)
	}
	if got != status || gotCode != code {
		t.Errorf("%s %s: got %d %s, want %d %s: %v", method, path, got, gotCode, status, code, answer)
	}
	return answer
}

const (
	subscriptionPath = "/subscriptions/" + emulator.DefaultSubscriptionID
	groupPath        = subscriptionPath + "/resourceGroups/emulator"
	identitiesPath   = groupPath + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
	version          = "?api-version=2024-11-30"
	authVersion      = "?api-version=2022-04-01"
	ownerRole        = subscriptionPath + "/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
)

func ficBody(issuer, subject string, audiences ...string) string {
	b, err := json.Marshal(map[string]any{"properties": map[string]any{"issuer": issuer, "subject": subject, "audiences": audiences}})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func goodFIC(n int) string {
	return ficBody("https://issuer.example", fmt.Sprintf("subject-%d", n), "api://AzureADTokenExchange")
}

func text(t *testing.T, v map[string]any, path ...string) string {
	t.Helper()
	for _, name := range path[:len(path)-1] {
		v, _ = v[name].(map[string]any)
	}
	s, ok := v[path[len(path)-1]].(string)
	if !ok {
		t.Fatalf("no %v", path)
	}
	return s
}

func TestManagedIdentities(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(managed + atOnce)})
	s := operator(t, cloud, armResource)
	reader := login(t, cloud, readerID, readerSecret, armResource)
	web := identitiesPath + "/web"
	fics := web + "/federatedIdentityCredentials"

	s.want(t, 404, "ResourceNotFound", "GET", web+version, "")
	s.want(t, 400, "LocationRequired", "PUT", web+version, "{}")
	s.want(t, 201, "", "PUT", web+version, `{"location":"West Europe","tags":{"a":"b"}}`)
	s.want(t, 200, "", "PUT", web+version, `{"location":"westeurope"}`)
	s.want(t, 409, "InvalidResourceLocation", "PUT", web+version, `{"location":"eastus"}`)
	reader.want(t, 200, "", "GET", web+version, "")
	reader.want(t, 403, "AuthorizationFailed", "PUT", web+version, `{"location":"westeurope"}`)
	reader.want(t, 403, "AuthorizationFailed", "PUT", fics+"/abc"+version, goodFIC(1))
	s.want(t, 400, "MissingApiVersionParameter", "GET", web, "")
	s.want(t, 400, "NoRegisteredProviderFound", "GET", web+"?api-version=2000-01-01", "")
	s.want(t, 400, "NoRegisteredProviderFound", "GET", fics+"?api-version=2018-11-30", "")
	s.want(t, 404, "ResourceGroupNotFound", "GET", strings.Replace(web, "/emulator/", "/nowhere/", 1)+version, "")
	s.want(t, 404, "SubscriptionNotFound", "GET", strings.Replace(web, emulator.DefaultSubscriptionID, readerID, 1)+version, "")

	s.want(t, 404, "NotFound", "GET", fics+"/abc"+version, "")
	s.want(t, 201, "", "PUT", fics+"/abc"+version, goodFIC(0))
	s.want(t, 200, "", "PUT", fics+"/abc"+version, goodFIC(1))
	s.want(t, 200, "", "GET", strings.ToUpper(fics+"/abc")+version, "") // IDs ignore case
	for _, bad := range []struct{ name, body string }{
		{"def", `{}`},
		{"def", ficBody("https://issuer.example", "s")},
		{"def", ficBody("https://issuer.example", "s", "a", "b")},
		{"def", ficBody("", "s", "a")},
		{"def", ficBody("no URL", "s", "a")},
		{"def", ficBody("https://issuer.example", strings.Repeat("x", 601), "a")},
		{"def", goodFIC(1)}, // another has it
		{"d", goodFIC(2)},
		{"-def", goodFIC(2)},
		{"def=", goodFIC(2)},
		{strings.Repeat("x", 121), goodFIC(2)},
	} {
		s.want(t, 400, "BadRequest", "PUT", fics+"/"+bad.name+version, bad.body)
	}
	// No identity may have an expression, not even for an issuer that applications may.
	flexible := `{"properties":{"issuer":"https://app.terraform.io","audiences":["a"],"claimsMatchingExpression":{"value":"claims['sub'] matches 'a*'","languageVersion":1}}}`
	s.want(t, 400, "InvalidFederatedIdentityCredentialValue", "PUT", fics+"/def?api-version=2025-01-31-preview", flexible)
	s.want(t, 400, "InvalidFederatedIdentityCredentialValue", "PUT", fics+"/def"+version, flexible)
	for n := 2; n <= 20; n++ {
		s.want(t, 201, "", "PUT", fmt.Sprintf("%s/fic-%02d%s", fics, n, version), goodFIC(n))
	}
	s.want(t, 400, "BadRequest", "PUT", fics+"/fic-21"+version, goodFIC(21))
	s.want(t, 200, "", "PUT", fics+"/fic-20"+version, goodFIC(21)) // but a change is possible

	seen := map[string]bool{}
	pages := 0
	for next := cloud.AuthorityURL + strings.TrimPrefix(fics+version, "/"); next != ""; pages++ {
		status, answer := call(t, cloud, "GET", next, s.token, "")
		if status != 200 {
			t.Fatalf("page: %d %v", status, answer)
		}
		value, _ := answer["value"].([]any)
		for _, item := range value {
			object, _ := item.(map[string]any)
			seen[text(t, object, "name")] = true
		}
		next, _ = answer["nextLink"].(string)
	}
	if len(seen) != 20 || pages < 3 {
		t.Errorf("%d credentials on %d pages, want 20 on several", len(seen), pages)
	}
	s.want(t, 200, "", "DELETE", fics+"/abc"+version, "")
	s.want(t, 204, "", "DELETE", fics+"/abc"+version, "")
	s.want(t, 200, "", "DELETE", web+version, "")
	s.want(t, 204, "", "DELETE", web+version, "")
}

// Writes to one identity at the same time are refused but for one; to several
// identities they are not.
func TestConcurrentCredentialWrites(t *testing.T) {
	t.Parallel()
	const seed = managed + "replication: {writeTime: 3s}\nmanagedIdentities: [{name: one}, {name: two}]\n"
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(seed)})
	s := operator(t, cloud, armResource)
	var mu sync.Mutex
	got := map[string]map[int]int{"one": {}, "two": {}}
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			name := []string{"one", "two"}[n%2]
			path := fmt.Sprintf("%s/%s/federatedIdentityCredentials/fic-%d%s", identitiesPath, name, n, version)
			status, answer := s.call(t, "PUT", path, goodFIC(n))
			if status == 409 && text(t, answer, "error", "code") != "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity" {
				t.Errorf("conflict of another kind: %v", answer)
			}
			mu.Lock()
			got[name][status]++
			mu.Unlock()
		})
	}
	wg.Wait()
	for name, statuses := range got {
		if statuses[201] != 1 || statuses[409] != 2 {
			t.Errorf("identity %s: %v", name, statuses)
		}
	}
}

func TestRoleAssignments(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(managed + "replication: {minDelay: 10m, maxDelay: 20m}\n")})
	s := operator(t, cloud, armResource)
	identity := s.want(t, 201, "", "PUT", identitiesPath+"/fresh"+version, `{"location":"westeurope"}`)
	principal := text(t, identity, "properties", "principalId")
	assignment := func(n int) string {
		return fmt.Sprintf("%s/providers/Microsoft.Authorization/roleAssignments/44444444-0000-4000-8000-%012d%s", subscriptionPath, n, authVersion)
	}
	body := func(role, kind string) string {
		return fmt.Sprintf(`{"properties":{"roleDefinitionId":%q,"principalId":%q,"principalType":%q}}`, role, principal, kind)
	}
	s.want(t, 400, "PrincipalNotFound", "PUT", assignment(1), body(ownerRole, ""))
	s.want(t, 400, "UnmatchedPrincipalType", "PUT", assignment(1), body(ownerRole, "User"))
	s.want(t, 404, "RoleDefinitionDoesNotExist", "PUT", assignment(1), body(emulator.DefaultOperatorID, "ServicePrincipal"))
	s.want(t, 400, "InvalidRoleAssignmentId", "PUT", strings.Replace(assignment(1), "44444444-", "x", 1), body(ownerRole, "ServicePrincipal"))
	s.want(t, 201, "", "PUT", assignment(1), body(ownerRole, "ServicePrincipal"))
	s.want(t, 200, "", "PUT", assignment(1), body(ownerRole, "ServicePrincipal"))
	s.want(t, 409, "RoleAssignmentExists", "PUT", assignment(2), body(ownerRole, "ServicePrincipal"))

	cloud.Advance(21 * 60e9)
	s = operator(t, cloud, armResource)
	reader := strings.Replace(ownerRole, "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "acdd72a7-3385-48ef-bd42-f606fba81ae7", 1)
	s.want(t, 201, "", "PUT", assignment(3), body(reader, ""))
	list := s.want(t, 200, "", "GET", groupPath+"/providers/Microsoft.Authorization/roleAssignments"+authVersion+"&$filter="+url.QueryEscape("principalId eq '"+principal+"'"), "")
	if value, _ := list["value"].([]any); len(value) != 2 {
		t.Errorf("%d assignments, want those of the subscription above: %v", len(value), list)
	}
	definitions := s.want(t, 200, "", "GET", subscriptionPath+"/providers/Microsoft.Authorization/roleDefinitions"+authVersion+"&$filter="+url.QueryEscape("roleName eq 'Key Vault Secrets User'"), "")
	if value, _ := definitions["value"].([]any); len(value) != 1 {
		t.Errorf("definitions: %v", definitions)
	}
	s.want(t, 400, "InvalidFilter", "GET", subscriptionPath+"/providers/Microsoft.Authorization/roleDefinitions"+authVersion+"&$filter=roleName", "")
	s.want(t, 200, "", "DELETE", assignment(1), "")
	s.want(t, 204, "", "DELETE", assignment(1), "")
	small := login(t, cloud, readerID, readerSecret, armResource)
	small.want(t, 403, "AuthorizationFailed", "PUT", assignment(5), body(ownerRole, "ServicePrincipal"))
	permissions := small.want(t, 200, "", "GET", groupPath+"/providers/Microsoft.Authorization/permissions"+authVersion, "")
	if got := fmt.Sprint(permissions["value"]); got != "[map[actions:[*/read] dataActions:[] notActions:[] notDataActions:[]]]" {
		t.Errorf("permissions: %s", got)
	}
}

// A request without a token tells the tenant of the subscription; tokens that
// don't fit are refused by name.
func TestManagerAuthentication(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(managed)})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, armResource+subscriptionPath+"?api-version=2021-01-01", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := cloud.ProxyClient(t)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	want := `authorization_uri="https://login.windows.net/` + emulator.DefaultTenantID + `"`
	if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(got, want) {
		t.Errorf("got %d %q", resp.StatusCode, got)
	}
	path := subscriptionPath + "?api-version=2021-01-01"
	session{cloud, ""}.want(t, 401, "AuthenticationFailed", "GET", path, "")
	session{cloud, "x.y.z"}.want(t, 401, "InvalidAuthenticationToken", "GET", path, "")
	operator(t, cloud, vaultResource).want(t, 401, "InvalidAuthenticationTokenAudience", "GET", path, "")
	good := operator(t, cloud, armResource)
	good.want(t, 200, "", "GET", path, "")
	cloud.Advance(2 * 3600e9)
	good.want(t, 401, "ExpiredAuthenticationToken", "GET", path, "")
}
