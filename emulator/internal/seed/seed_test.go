package seed

import (
	"errors"
	"strings"
	"testing"
	"time"

	"azwi/emulator/internal/directory"
	"azwi/internal/document"
)

func at2026() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func TestDefaultSeed(t *testing.T) {
	t.Parallel()
	s, err := Read("seed", []byte(Default), at2026())
	if err != nil {
		t.Fatal(err)
	}
	operator, ok := s.State.PrincipalByAppID(TenantID, OperatorID)
	if !ok {
		t.Fatal("no operator")
	}
	roles := s.State.RolesAt(operator.ObjectID, "/subscriptions/"+SubscriptionID+"/resourceGroups/"+GroupName)
	if !directory.Allowed(roles, "Microsoft.ManagedIdentity/userAssignedIdentities/write", false) {
		t.Error("the operator may not create identities")
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	const app = "applications:\n- name: a\n"
	tests := []struct{ name, text, want string }{
		{"no GUID", app + "  appId: x\n", `f:3: applications[0].appId: "x" is not a GUID`},
		{"ID twice", "servicePrincipals:\n- {name: a, objectId: 10000000-0000-4000-8000-000000000000}\n- {name: b, objectId: 10000000-0000-4000-8000-000000000000}\n",
			"f:3: servicePrincipals[1].objectId: 10000000-0000-4000-8000-000000000000 is used by servicePrincipals[0].objectId already"},
		{"unknown tenant", app + "  tenant: x\n", `f:3: applications[0].tenant: there is no tenant "x"`},
		{"tenant without ID", "tenants:\n- name: x\n", "f:2: tenants[0].id: is missing"},
		{"subject missing", app + "  federatedCredentials:\n  - {name: abc, issuer: https://i}\n", "f:4: applications[0].federatedCredentials[0]: invalid field: subject is missing"},
		{"same subject twice", app + "  federatedCredentials:\n  - {name: abc, issuer: https://i, subject: s}\n  - {name: def, issuer: https://i, subject: s}\n",
			`f:5: applications[0].federatedCredentials[1]: issuer and subject exist already: abc has issuer "https://i" and subject "s"`},
		{"expression of a managed identity", "managedIdentities:\n- name: a\n  federatedCredentials:\n  - {name: abc, issuer: https://app.terraform.io, claimsMatchingExpression: \"claims['sub'] matches 'a*'\"}\n",
			"f:4: managedIdentities[0].federatedCredentials[0]: invalid claims matching expression: a managed identity can't have one: use a subject, or an application"},
		{"expression for a cluster", app + "  federatedCredentials:\n  - {name: abc, issuer: https://i, claimsMatchingExpression: \"claims['sub'] matches 'a*'\"}\n",
			`f:4: applications[0].federatedCredentials[0]: invalid field: invalid claims matching expression: issuer "https://i" is not GitHub, GitLab or Terraform Cloud: use a subject`},
		{"unknown principal", "roleAssignments:\n- {role: Owner, principal: x}\n", `f:2: roleAssignments[0].principal: there is no service principal or managed identity "x"`},
		{"unknown role", "roleAssignments:\n- {role: King, principal: x}\n", `f:2: roleAssignments[0].role: there is no role "King"`},
		{"secret without value", app + "  secrets: [{}]\n", "f:3: applications[0].secrets[0].value: is missing"},
		{"certificate of nothing", app + "  certificates: [{pem: x}]\n", "f:3: applications[0].certificates[0]: there is no certificate in PEM"},
		{"issuer without keys", "issuers:\n  https://i: {}\n", "f:2: issuers.https://i: want either url or file"},
		{"replicas", "replication: {replicas: 0}\n", "f:1: replication: replicas is 0, not between 1 and 64"},
		{"vault name", "vaults: [{name: a_b}]\n", "f:1: vaults[0].name: want 3 to 24 letters, digits and hyphens"},
		{"secret name", "vaults:\n- name: abc\n  secrets: {a_b: x}\n", "f:3: vaults[0].secrets.a_b: want 1 to 127 letters, digits and hyphens"},
		{"group in no subscription", "managedIdentities: [{name: a, subscription: x}]\n", `f:1: managedIdentities[0].subscription: there is no subscription "x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Read("f", []byte(tt.text), at2026())
			if err == nil {
				t.Fatal("no error")
			}
			if first, _, _ := strings.Cut(err.Error(), "\n"); first != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

// Object IDs that the seed leaves out are the same at every start.
func TestIDsAreStable(t *testing.T) {
	t.Parallel()
	text := []byte("applications: [{name: a}]\nmanagedIdentities: [{name: m}]\n")
	one, err := Read("f", text, at2026())
	if err != nil {
		t.Fatal(err)
	}
	two, err := Read("f", text, at2026().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for id := range one.State.Principals {
		if _, ok := two.State.Principals[id]; !ok {
			t.Errorf("principal %s is gone", id)
		}
	}
}

// Whatever a seed holds, it is read or refused with line numbers, and what is
// read keeps the limits.
func FuzzSeed(f *testing.F) {
	f.Add(Default)
	f.Add("applications:\n- name: a\n  federatedCredentials: [{name: abc, issuer: https://i, subject: s}]\n")
	f.Add(`{"issuers":{"https://i":{"file":"x"}},"replication":{"replicas":2}}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Read("f", []byte(text), at2026())
		if err != nil {
			var e *document.Error
			if !errors.As(err, &e) || e.Line < 1 {
				t.Fatalf("error without a line: %v", err)
			}
			return
		}
		if _, ok := s.State.Tenants[s.State.DefaultTenant]; !ok {
			t.Fatal("there is no default tenant")
		}
		if err := s.Replication.Check(); err != nil {
			t.Fatal(err)
		}
		for _, a := range s.State.Applications {
			if len(a.Credentials) > directory.MaxCredentials {
				t.Fatal("too many credentials")
			}
		}
	})
}
