package permission_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"azwi/internal/azure/graph"
	"azwi/internal/azure/permission"
	"azwi/internal/finding"
)

// A token is a credential that always has the same access token.
type token string

func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func tokenOf(t *testing.T, claims map[string]any) token {
	t.Helper()
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return token("e30." + base64.RawURLEncoding.EncodeToString(raw) + ".c2ln")
}

const (
	user          = "33333333-0000-4000-8000-000000000001"
	application   = "33333333-0000-4000-8000-000000000002"
	administrator = "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3"
	developer     = "cf1c38e5-3621-4004-a7cb-879624dced7c"
	ordinary      = "b79fbf4d-3ef9-4689-8143-76b194e85509"
	custom        = "33333333-0000-4000-8000-000000000099"
)

// The emulator has no users, so here Graph is its answers to one. Service
// principals are tested by test/cli.
func TestUsers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		wids []string
		// roles, create and owners are Graph's answers; absent is 403.
		roles, owners []string
		create        any
		need          permission.DirectoryWrite
		want          permission.Verdict
		why           string
	}{
		{name: "role in the token", wids: []string{ordinary, administrator}, need: permission.UpdateApplication, want: permission.Allowed, why: "Application Administrator"},
		{name: "role by a group", wids: []string{ordinary}, roles: []string{administrator}, need: permission.DeleteApplication, want: permission.Allowed, why: "Application Administrator"},
		{name: "users may create", roles: []string{}, create: true, need: permission.CreateApplication, want: permission.Allowed, why: "every user"},
		{name: "users may not create", wids: []string{ordinary}, roles: []string{}, create: false, need: permission.CreateApplication, want: permission.Denied},
		{name: "developers may", roles: []string{developer}, create: false, need: permission.CreateApplication, want: permission.Allowed, why: "Application Developer"},
		{name: "developers write no others", roles: []string{developer}, owners: []string{}, need: permission.UpdateApplication, want: permission.Denied},
		{name: "owner", roles: []string{}, owners: []string{strings.ToUpper(user)}, need: permission.UpdateApplication, want: permission.Allowed, why: "owns"},
		{name: "not the owner", roles: []string{}, owners: []string{custom}, need: permission.DeleteApplication, want: permission.Denied},
		{name: "a role nobody knows", roles: []string{custom}, owners: []string{}, need: permission.UpdateApplication, want: permission.Unknown, why: "does not know"},
		{name: "owners unreadable", roles: []string{}, need: permission.UpdateApplication, want: permission.Unknown, why: "403"},
		{name: "policy unreadable", roles: []string{}, need: permission.CreateApplication, want: permission.Unknown, why: "403"},
		{name: "roles unreadable", owners: []string{}, need: permission.UpdateApplication, want: permission.Unknown, why: "403"},
		{name: "roles unreadable, owner", owners: []string{user}, need: permission.UpdateApplication, want: permission.Allowed, why: "owns"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			answers := map[string]any{}
			objects := func(field string, ids []string) map[string]any {
				list := []any{}
				for _, id := range ids {
					list = append(list, map[string]string{field: id})
				}
				return map[string]any{"value": list}
			}
			if test.roles != nil {
				answers["/v1.0/me/transitiveMemberOf/microsoft.graph.directoryRole"] = objects("roleTemplateId", test.roles)
			}
			if test.owners != nil {
				answers["/v1.0/applications/"+application+"/owners"] = objects("id", test.owners)
			}
			if test.create != nil {
				answers["/v1.0/policies/authorizationPolicy"] = map[string]any{"defaultUserRolePermissions": map[string]any{"allowedToCreateApps": test.create}}
			}
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if answer, ok := answers[r.URL.Path]; ok {
					_ = json.NewEncoder(w).Encode(answer)
					return
				}
				w.WriteHeader(http.StatusForbidden)
			}))
			t.Cleanup(server.Close)
			credential := tokenOf(t, map[string]any{"oid": user, "tid": "t", "scp": "Directory.AccessAsUser.All", "wids": test.wids, "roles": []string{"Application.ReadWrite.All"}})
			checker := &permission.Checker{
				Graph: graph.New(graph.Config{Endpoint: server.URL, Credential: credential, Options: azcore.ClientOptions{Transport: server.Client()}}),
			}
			need := permission.Need{Directory: test.need, Application: application}
			report, err := checker.Check(t.Context(), []permission.Need{need, need})
			if err != nil || len(report.Results) != 1 || report.Caller.Kind != "user" || len(report.Caller.AppRoles) != 0 {
				t.Fatalf("%+v, %v", report, err)
			}
			got := report.Results[0]
			if got.Verdict != test.want || !strings.Contains(got.Why, test.why) {
				t.Errorf("%+v, want %s because of %q", got, test.want, test.why)
			}
			if want := map[permission.Verdict]finding.Severity{permission.Denied: finding.Error, permission.Unknown: finding.Warning}[got.Verdict]; (got.Code == "") != (want == 0) ||
				got.Code != "" && got.Code.Severity() != want {
				t.Errorf("%s because of %q", got.Verdict, got.Code)
			}
			if slices.ContainsFunc(got.GrantedBy, func(s string) bool { return strings.Contains(s, "application permission") }) {
				t.Errorf("a user holds no application permission: %q", got.GrantedBy)
			}
		})
	}
}

// A token that can't be read leaves everything open, and is never quoted.
func TestOpaqueTokens(t *testing.T) {
	t.Parallel()
	for _, secret := range []token{"opaque-secret", "a.!!secret!!.c", "e30.c2VjcmV0.c", tokenOf(t, map[string]any{"aud": "secret"})} {
		checker := &permission.Checker{Graph: graph.New(graph.Config{Endpoint: "https://graph.example.com", Credential: secret})}
		report, err := checker.Check(t.Context(), []permission.Need{{Directory: permission.CreateApplication}})
		if err != nil || len(report.Of(permission.Unknown)) != 1 {
			t.Fatalf("%+v, %v", report, err)
		}
		if why := report.Results[0].Why; strings.Contains(why, "secret") || strings.Contains(why, string(secret)) {
			t.Errorf("the token is in %q", why)
		}
	}
}
