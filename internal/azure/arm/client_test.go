package arm_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/internal/azure"
	"azwi/internal/azure/arm"
)

// operator signs in as the emulator's operator, who may do everything.
func operator(s *emulatortest.Server) azure.Config {
	cloud, _ := azure.OneOrigin(s.AuthorityURL)
	return azure.Config{
		TenantID: emulator.DefaultTenantID, ClientID: emulator.DefaultOperatorID, ClientSecret: emulator.DefaultOperatorSecret,
		Cloud: cloud, HTTP: s.Client(),
	}
}

func client(t *testing.T, c azure.Config) *arm.Client {
	t.Helper()
	signIn, err := azure.New(c)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := signIn.Credential()
	if err != nil {
		t.Fatal(err)
	}
	options := c.ClientOptions()
	options.Retry.RetryDelay = 20 * time.Millisecond
	return arm.New(arm.Config{Credential: credential, Options: options})
}

func identityID(name string) arm.IdentityID {
	return arm.IdentityID{Subscription: emulator.DefaultSubscriptionID, ResourceGroup: emulator.DefaultResourceGroup, Name: name}
}

func TestIdentityAndCredentials(t *testing.T) {
	t.Parallel()
	c, ctx, id := client(t, operator(emulatortest.Start(t, emulator.Config{}))), t.Context(), identityID("orders")
	if _, err := c.Identity(ctx, id); !azure.NotFound(err) {
		t.Errorf("identity that is not there: %v", err)
	}
	made, err := c.CreateIdentity(ctx, id, "westeurope")
	if err != nil || made.ClientID == "" || made.PrincipalID == "" || made.TenantID != emulator.DefaultTenantID {
		t.Fatalf("%+v, %v", made, err)
	}
	if again, err := c.CreateIdentity(ctx, id, "westeurope"); err != nil || again != made {
		t.Errorf("second run: %+v, %v", again, err)
	}
	var want []arm.Credential
	for i := range 5 { // more than a page of the emulator
		credential := arm.Credential{Name: fmt.Sprintf("c-%d", i), Issuer: "https://issuer.example.com", Subject: fmt.Sprintf("s%d", i), Audience: "api://AzureADTokenExchange"}
		want = append(want, credential)
		if err := c.PutCredential(ctx, id, credential); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Credentials(ctx, id)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for range 2 { // one that is gone is no error
		if err := c.DeleteCredential(ctx, id, "c-0"); err != nil {
			t.Error(err)
		}
	}
	if err := c.DeleteIdentity(ctx, id); err != nil {
		t.Error(err)
	}
	if _, err := c.Identity(ctx, id); !azure.NotFound(err) {
		t.Errorf("deleted identity: %v", err)
	}
}

// Somebody else's write to the same identity is waited for.
func TestConcurrentWritesAreRetried(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{})
	c, id := client(t, operator(cloud)), identityID("busy")
	if _, err := c.CreateIdentity(t.Context(), id, "westeurope"); err != nil {
		t.Fatal(err)
	}
	cloud.Admin(t, http.MethodPut, "/faults", map[string]any{"faults": []any{map[string]any{
		"service": "resource-manager", "method": "PUT", "path": "*/federatedIdentityCredentials/*",
		"status": 409, "code": azure.ConcurrentWrites, "message": "busy", "times": 2,
	}}}, nil)
	group, ctx := errgroup.WithContext(t.Context())
	for i := range 2 {
		group.Go(func() error {
			return c.PutCredential(ctx, id, arm.Credential{Name: fmt.Sprintf("c-%d", i), Issuer: "https://issuer.example.com", Subject: fmt.Sprint(i), Audience: "a"})
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestRoleAssignment(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{})
	c, ctx := client(t, operator(cloud)), t.Context()
	made, err := c.CreateIdentity(ctx, identityID("reader"), "westeurope")
	if err != nil {
		t.Fatal(err)
	}
	scope := "/subscriptions/" + emulator.DefaultSubscriptionID
	role, err := c.RoleDefinition(ctx, scope, "Reader")
	if err != nil {
		t.Fatal(err)
	}
	// The principal is seconds old and has not spread; the second run finds the
	// assignment of the first.
	a := arm.RoleAssignment{Scope: scope, RoleDefinitionID: role, PrincipalID: made.PrincipalID}
	id := ""
	for i := range 2 {
		var created bool
		if id, created, err = c.AssignRole(ctx, a); err != nil || created != (i == 0) {
			t.Errorf("run %d: created %v, %v", i, created, err)
		}
	}
	if want := scope + "/providers/Microsoft.Authorization/roleAssignments/" + a.Name(); id != want {
		t.Errorf("ID %s, want %s", id, want)
	}
	// Of another name it is found as well.
	if found, err := c.FindRoleAssignment(ctx, a); err != nil || found != id {
		t.Errorf("found %q, %v", found, err)
	}
	if found, err := c.FindRoleAssignment(ctx, arm.RoleAssignment{Scope: scope, RoleDefinitionID: "/x", PrincipalID: a.PrincipalID}); err != nil || found != "" {
		t.Errorf("found %q, %v", found, err)
	}
	if location, err := c.GroupLocation(ctx, emulator.DefaultSubscriptionID, emulator.DefaultResourceGroup); err != nil || location != "westeurope" {
		t.Errorf("location %q, %v", location, err)
	}
	for i := range 2 {
		if deleted, err := c.DeleteRoleAssignment(ctx, id); err != nil || deleted != (i == 0) {
			t.Errorf("run %d: deleted %v, %v", i, deleted, err)
		}
	}
	if _, err := c.RoleDefinition(ctx, scope, "No' or roleName eq 'Reader"); err == nil || azureStatus(err) != 0 {
		t.Errorf("a quote in a role's name: %v", err)
	}
}

// Upstream reports a role assignment that got 403 as created.
func TestForbiddenRoleAssignmentIsNoSuccess(t *testing.T) {
	t.Parallel()
	config := operator(emulatortest.Start(t, emulator.Config{Seed: []byte(`
servicePrincipals:
  - {name: reader, appId: 33333333-0000-4000-8000-000000000009, secrets: [{value: reader-secret}]}
roleAssignments: [{role: Reader, principal: reader}]
`)}))
	config.ClientID, config.ClientSecret = "33333333-0000-4000-8000-000000000009", "reader-secret"
	c := client(t, config)
	scope := "/subscriptions/" + emulator.DefaultSubscriptionID
	role, err := c.RoleDefinition(t.Context(), scope, "Reader")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, _, err = c.AssignRole(ctx, arm.RoleAssignment{Scope: scope, RoleDefinitionID: role, PrincipalID: "33333333-0000-4000-8000-000000000077"})
	if !azure.Forbidden(err) {
		t.Errorf("403 came out as %v", err)
	}
	permissions, err := c.Permissions(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	for action, want := range map[string]bool{
		"Microsoft.ManagedIdentity/userAssignedIdentities/read":                               true,
		"Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write": false,
		"Microsoft.Authorization/roleAssignments/write":                                       false,
	} {
		if got := permissions.Allow(action); got != want {
			t.Errorf("%s: %v, want %v", action, got, want)
		}
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	const action = "Microsoft.ManagedIdentity/userAssignedIdentities/write"
	for _, test := range []struct {
		name        string
		permissions arm.Permissions
		want        bool
	}{
		{"none", nil, false},
		{"wildcard, other case", arm.Permissions{{Actions: []string{"microsoft.managedidentity/*/Write"}}}, true},
		{"a dot is a dot", arm.Permissions{{Actions: []string{"MicrosoftxManagedIdentity/*"}}}, false},
		{"excluded by the same entry", arm.Permissions{{Actions: []string{"*"}, NotActions: []string{"*/write"}}}, false},
		{"excluded by another entry", arm.Permissions{{Actions: []string{"*"}}, {NotActions: []string{"*"}}}, true},
	} {
		if got := test.permissions.Allow(action); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestIdentityID(t *testing.T) {
	t.Parallel()
	want := arm.IdentityID{Subscription: "s", ResourceGroup: "g", Name: "n"}
	for _, text := range []string{want.String(), strings.ToLower(want.String()), want.String() + "/"} {
		if got, err := arm.ParseIdentityID(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "n", want.String() + "/federatedIdentityCredentials/x", strings.Replace(want.String(), "/s/", "//", 1)} {
		if _, err := arm.ParseIdentityID(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func azureStatus(err error) int {
	status, _ := azure.StatusOf(err)
	return status
}
