package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is stored comes back, whatever is added to State later.
func TestStateIsWrittenWhole(t *testing.T) {
	t.Parallel()
	s := NewState()
	v := reflect.ValueOf(s).Elem()
	for i, f := range reflect.VisibleFields(v.Type()) {
		switch {
		case !f.IsExported():
		case f.Type.Kind() == reflect.String:
			v.Field(i).SetString("x")
		case f.Type.Kind() == reflect.Map:
			v.Field(i).SetMapIndex(reflect.ValueOf("x"), reflect.New(f.Type.Elem().Elem()))
		default:
			t.Fatalf("teach this test the kind of %s", f.Name)
		}
	}
	text, err := json.Marshal(New(s, nil))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		if value == "" || value == nil || reflect.DeepEqual(value, map[string]any{}) {
			t.Errorf("%s was not written", name)
		}
	}
}

func TestIndexesAreRebuilt(t *testing.T) {
	t.Parallel()
	s := NewState()
	s.PutTenant(&Tenant{ID: "t", Domain: "d"})
	s.PutApplication(&Application{ObjectID: "o", AppID: "a", TenantID: "t"})
	s.PutPrincipal(&Principal{ObjectID: "p", AppID: "a", TenantID: "t"})
	s.RoleDefinitions["r"] = &RoleDefinition{GUID: "r", Actions: []string{"*"}}
	s.PutAssignment(&RoleAssignment{GUID: "g", Scope: "/subscriptions/s", Role: "r", PrincipalID: "p"})
	s.PutVault(&Vault{Name: "v", SubscriptionID: "s", ResourceGroup: "g"})
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var read State
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, &read, cmp.AllowUnexported(State{})); diff != "" {
		t.Error(diff)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	s := NewState()
	for _, d := range BuiltInRoles() {
		s.RoleDefinitions[d.GUID] = d
	}
	assign := func(principal, role, scope string) {
		r, ok := s.Role(role)
		if !ok {
			t.Fatalf("no role %s", role)
		}
		s.PutAssignment(&RoleAssignment{GUID: principal + role, Scope: scope, Role: r.GUID, PrincipalID: principal})
	}
	assign("owner", "Owner", "/")
	assign("contributor", "Contributor", "/subscriptions/S")
	assign("secrets", "Key Vault Secrets User", "/subscriptions/s/resourceGroups/rg")
	const rg = "/subscriptions/s/resourcegroups/RG"
	for _, tt := range []struct {
		principal, scope, action string
		data, want               bool
	}{
		{"owner", rg, "Microsoft.Authorization/roleAssignments/write", false, true},
		{"owner", rg, "Microsoft.KeyVault/vaults/secrets/getSecret/action", true, false}, // data is apart
		{"contributor", rg, "Microsoft.ManagedIdentity/userAssignedIdentities/write", false, true},
		{"contributor", rg, "microsoft.authorization/roleassignments/WRITE", false, false}, // notActions
		{"contributor", rg, "Microsoft.Authorization/roleAssignments/read", false, true},
		{"contributor", "/subscriptions/other", "Microsoft.Authorization/roleAssignments/read", false, false},
		{"contributor", "/subscriptions/s2", "Microsoft.Authorization/roleAssignments/read", false, false}, // no prefix of a name
		{"secrets", rg + "/providers/Microsoft.KeyVault/vaults/v/secrets/x", "Microsoft.KeyVault/vaults/secrets/getSecret/action", true, true},
		{"secrets", rg, "Microsoft.KeyVault/vaults/secrets/setSecret/action", true, false},
		{"secrets", "/subscriptions/s", "Microsoft.KeyVault/vaults/secrets/getSecret/action", true, false},
		{"nobody", rg, "Microsoft.KeyVault/vaults/secrets/getSecret/action", true, false},
	} {
		if got := Allowed(s.RolesAt(tt.principal, tt.scope), tt.action, tt.data); got != tt.want {
			t.Errorf("%s %s at %s: %v", tt.principal, tt.action, tt.scope, got)
		}
	}
}

// A notAction takes away from its own role only.
func TestNotActionsAreOfOneRole(t *testing.T) {
	t.Parallel()
	roles := []*RoleDefinition{{Actions: []string{"*"}, NotActions: []string{"A/b/write"}}, {Actions: []string{"A/*/write"}}}
	if !Allowed(roles, "A/b/write", false) {
		t.Error("the second role grants it")
	}
	if Allowed(roles[:1], "A/b/write", false) {
		t.Error("the first role does not grant it")
	}
}

func TestWithCredential(t *testing.T) {
	t.Parallel()
	var list []Credential
	for n := range MaxCredentials {
		var err error
		if list, _, err = WithCredential(list, Credential{Name: fmt.Sprint(n), Issuer: "i", Subject: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	before := list[3]
	if _, _, err := WithCredential(list, Credential{Name: "more", Issuer: "i", Subject: "more"}); !errors.Is(err, ErrCredentialTooMany) {
		t.Errorf("one too many: %v", err)
	}
	if _, _, err := WithCredential(list, Credential{Name: "3", Issuer: "i", Subject: "4"}); !errors.Is(err, ErrCredentialDuplicate) {
		t.Errorf("subject of another: %v", err)
	}
	with, old, err := WithCredential(list, Credential{Name: "3", Issuer: "i", Subject: "changed"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&before, old); diff != "" {
		t.Errorf("what was changed: %s", diff)
	}
	if with[3].Subject != "changed" {
		t.Errorf("after the change: %v", with[3])
	}
	if list[3] != before {
		t.Error("the stored list was changed")
	}
	without, removed := WithoutCredential(list, "3")
	if diff := cmp.Diff(&before, removed); diff != "" {
		t.Errorf("what was removed: %s", diff)
	}
	if len(without) != MaxCredentials-1 {
		t.Errorf("%d left", len(without))
	}
	if list[3] != before {
		t.Error("removal changed the stored list")
	}
}

const (
	github    = "https://token.actions.githubusercontent.com"
	terraform = "https://app.terraform.io"
)

func TestMatchExpression(t *testing.T) {
	t.Parallel()
	claims := map[string]any{"sub": "repo:it's/web:ref:refs/heads/main", "repository_id": "7", "repository_owner_id": 8.0, "job_workflow_ref": "it's/ci/.github/workflows/a.yml@refs/heads/main"}
	const id = " and claims['repository_id'] eq '7'"
	for expression, want := range map[string]bool{
		"claims['sub'] eq 'repo:it''s/web:ref:refs/heads/main'" + id:                                       true,
		"claims['sub'] eq 'repo:it''s/web:ref:refs/heads/MAIN'" + id:                                       false,
		"claims['sub'] matches 'repo:it''s/*:ref:refs/heads/*'" + id:                                       true,
		"claims['sub'] matches 'repo:it''s/we?:ref:refs/heads/main'" + id:                                  true,
		"claims['sub'] matches 'repo:it''s/?:ref:refs/heads/main'" + id:                                    false,
		"claims['repository_id'] eq '7' and claims['sub'] matches '*'":                                     true,
		"claims['sub'] matches '*' and claims['repository_id'] eq '8'":                                     false,
		"claims['sub'] matches '*' and claims['repository_owner_id'] eq '8'":                               false, // not a text
		"claims['sub'] matches '*' and claims['job_workflow_ref'] matches 'it''s/ci/*'" + id:               true,
		"claims['sub'] matches '*' and claims['job_workflow_ref'] eq 'other'" + id:                         false,
		"claims['sub'] matches 'repo:*' and claims['sub'] matches '*:refs/heads/other'" + id:               false,
		"claims['sub'] eq 'x' and claims['repository_owner_id'] eq '8' and claims['repository_id'] eq '7'": false,
	} {
		if got, err := MatchExpression(github, expression, claims); err != nil || got != want {
			t.Errorf("%s: %v, %v", expression, got, err)
		}
	}
	if got, err := MatchExpression("https://issuer.example", "claims['sub'] matches '*'", claims); err == nil || got {
		t.Errorf("another issuer: %v, %v", got, err)
	}
}

// TestExpressionRules: expressions are for three products' issuers, each with
// claims and operators of its own.
func TestExpressionRules(t *testing.T) {
	t.Parallel()
	const sub = "claims['sub'] matches 'a*'"
	for _, tt := range []struct {
		issuer, expression string
		good               bool
	}{
		{terraform, sub, true},
		{"https://app.eu.terraform.io", "claims['sub'] eq 'a'", true},
		{"https://gitlab.com", sub, true},
		{"https://gitlab.example.com", sub, true},
		{"https://gitlab.example.ca", sub, true},
		{github, sub + " and claims['repository_id'] eq '1'", true},
		{github, sub + " and claims['repository_owner_id'] eq '1'", true},

		{"https://kubernetes.default.svc.cluster.local", sub, false},
		{"https://gitlab.example.org", sub, false},
		{"https://gitlab.a.example.com", sub, false},
		{"https://gitlab..com", sub, false},
		{"https://gitlab.com/", sub, false},
		{"https://gitlab.com.evil.example", sub, false},
		{"http://gitlab.com", sub, false},
		{"https://git.example.com", sub, false},
		{"https://app.terraform.io/", sub, false},
		{"https://terraform.example.com", sub, false},
		{github + "/octo", sub + " and claims['repository_id'] eq '1'", false},

		{github, sub, false},
		{github, "claims['repository_id'] eq '1'", false},
		{github, sub + " and claims['job_workflow_ref'] matches 'b*'", false},
		{github, sub + " and claims['repository_id'] matches '1*'", false},
		{github, sub + " and claims['repository_id'] eq '1' and claims['actor'] eq 'me'", false},
		{terraform, sub + " and claims['terraform_run_phase'] eq 'plan'", false},
		{"https://gitlab.com", "claims['ref'] matches 'a*'", false},

		{terraform, "", false},
		{terraform, "sub eq 'x'", false},
		{terraform, "claims['sub'] ne 'x'", false},
		{terraform, "claims['sub'] eq x", false},
		{terraform, `claims["sub"] eq 'x'`, false},
		{terraform, `claims['sub'] eq "x"`, false},
		{terraform, sub + " or " + sub, false},
		{terraform, sub + " and", false},
		{terraform, sub + " and ", false},
		{terraform, "claims['sub", false},
		{terraform, "claims[''] eq 'x'", false},
		{terraform, "claims['sub']  eq 'x'", false},
		{terraform, "claims['sub'] eq  'x'", false},
		{terraform, "claims['sub']eq 'x'", false},
		{terraform, sub + "  and " + sub, false},
		{terraform, " " + sub, false},
		{terraform, sub + " ", false},
	} {
		if err := CheckExpression(tt.issuer, tt.expression); tt.good != (err == nil) || err != nil && !errors.Is(err, ErrExpression) {
			t.Errorf("%s: %q: %v", tt.issuer, tt.expression, err)
		}
	}
	c := Credential{Name: "flexible", Issuer: terraform, Audience: "a", Expression: sub}
	if err := c.Check(true); err != nil {
		t.Errorf("an application's: %v", err)
	}
	if err := c.Check(false); !errors.Is(err, ErrExpression) {
		t.Errorf("a managed identity's: %v", err)
	}
}

// TestCredentialNames: Resource Manager is stricter than Graph, where upstream's
// azwi makes names in padded base64url.
func TestCredentialNames(t *testing.T) {
	t.Parallel()
	const upstream = "5xKx8mPQnlu2Gd3BUgjzOaSuYXwJl1vpfjKcDJBBPHk="
	for name, want := range map[string]struct{ arm, graph bool }{
		"web":                    {true, true},
		"a-b_c":                  {true, true},
		upstream:                 {false, true},
		"-" + upstream[1:]:       {false, true},
		"_" + upstream[1:]:       {false, true},
		"=" + upstream[1:]:       {false, false},
		"ab":                     {false, false},
		"a b":                    {false, false},
		"ä-umlaut":               {false, false},
		strings.Repeat("a", 120): {true, true},
		strings.Repeat("a", 121): {false, false},
	} {
		c := Credential{Name: name, Issuer: "https://issuer", Subject: "s", Audience: "a"}
		if arm, graph := c.Check(false) == nil, c.Check(true) == nil; arm != want.arm || graph != want.graph {
			t.Errorf("%q: Resource Manager takes it: %v, Graph: %v; want %+v", name, arm, graph, want)
		}
	}
}
