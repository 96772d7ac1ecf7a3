package provision_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/emulator"
	"azwi/internal/azure/arm"
	"azwi/internal/identity/federation"
	"azwi/internal/identity/provision"
)

const (
	subscription = "00000000-0000-0000-0000-000000000001"
	scope        = "/subscriptions/" + subscription
)

func allPhases() []provision.Phase {
	return []provision.Phase{provision.PhaseIdentity, provision.PhaseAccount, provision.PhaseCredential, provision.PhaseRole}
}

func backwards() []provision.Phase {
	return []provision.Phase{provision.PhaseRole, provision.PhaseCredential, provision.PhaseAccount, provision.PhaseIdentity}
}

// text writes a plan, a line for each step and each right.
func text(p provision.Plan) string {
	var b strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s: %s: %s", s.Phase, s.What, s.Outcome)
		if s.ID != "" {
			fmt.Fprintf(&b, " (%s)", s.ID)
		}
		b.WriteString("\n")
	}
	for _, n := range p.Needs {
		fmt.Fprintf(&b, "needs %s%s %s%s\n", n.Action, n.Directory, n.Scope, n.Application)
	}
	return b.String()
}

func rights(identity string, actions ...string) string {
	var b strings.Builder
	for _, action := range actions {
		fmt.Fprintf(&b, "needs Microsoft.ManagedIdentity/userAssignedIdentities/%s %s\n", action, identity)
	}
	return b.String()
}

// TestPlan shows that a plan follows from what was seen alone.
func TestPlan(t *testing.T) {
	t.Parallel()
	managed := arm.IdentityID{Subscription: subscription, ResourceGroup: "web", Name: "orders"}
	application := provision.Identity{Kind: provision.KindApplication, Name: "orders", ClientID: "client", ObjectID: "object"}
	credential := federation.Credential{Name: "fic", Subject: "system:serviceaccount:shop:orders"}
	tests := []struct {
		name    string
		request provision.Request
		seen    provision.Seen
		want    string
	}{
		{
			"a new application", provision.Request{Phases: allPhases(), Role: "Reader", Scope: scope},
			provision.Seen{Reference: provision.Reference{Name: "orders"}, Credential: credential, Outcome: federation.Created},
			`aad-application: application "orders": created
aad-application: its service principal: created
service-account: shop/orders: created
federated-identity: credential fic for system:serviceaccount:shop:orders: created (fic)
role-assignment: Reader at ` + scope + `: created
needs create applications 
needs Microsoft.Authorization/roleDefinitions/read ` + scope + `
needs Microsoft.Authorization/roleAssignments/write ` + scope + "\n",
		},
		{
			"all is there", provision.Request{Phases: allPhases()[:3]},
			provision.Seen{
				Reference: provision.Reference{Name: "orders"}, Identity: application, Found: true, PrincipalID: "principal",
				Account: true, Credential: credential, Outcome: federation.Unchanged,
			},
			`aad-application: application "orders", client ID client: unchanged (object)
aad-application: its service principal: unchanged (principal)
service-account: shop/orders: unchanged
federated-identity: credential fic for system:serviceaccount:shop:orders: unchanged (fic)
needs update the application object
`,
		},
		{
			"an account of another identity", provision.Request{Phases: []provision.Phase{provision.PhaseAccount}},
			provision.Seen{Account: true, Changes: []provision.Change{{Key: "k", Old: "a", New: "b"}}},
			"service-account: shop/orders: updated\n",
		},
		{
			"a managed identity stays", provision.Request{Remove: true, Phases: backwards(), Reference: provision.Reference{Managed: managed}, Role: "Reader", Scope: scope},
			provision.Seen{
				Reference: provision.Reference{Managed: managed}, Found: true, Account: true, Credential: credential, Outcome: federation.Unchanged,
			},
			`role-assignment: Reader at ` + scope + `: absent
federated-identity: credential fic for system:serviceaccount:shop:orders: deleted (fic)
service-account: shop/orders: deleted
` + rights(managed.String(), "read", "federatedIdentityCredentials/read", "federatedIdentityCredentials/delete") +
				"needs Microsoft.Authorization/roleAssignments/delete " + scope + "\n",
		},
		{
			"nothing to delete", provision.Request{Remove: true, Phases: backwards()[1:]},
			provision.Seen{Reference: provision.Reference{Name: "orders"}},
			`federated-identity: credential for system:serviceaccount:shop:orders: absent
service-account: shop/orders: absent
aad-application: application "orders": absent
`,
		},
	}
	for _, test := range tests {
		test.request.Namespace, test.request.Account = "shop", "orders"
		if diff := cmp.Diff(test.want, text(test.request.Plan(test.seen))); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// TestRun creates, completes and deletes, each after a look.
func TestRun(t *testing.T) {
	t.Parallel()
	api := &cluster{}
	azure := operator(t)
	clients := provision.Clients{
		Azure: azure, Credentials: federation.NewClient(federation.Config{Graph: azure.Graph, ARM: azure.ARM}), Cluster: api.client(t),
	}
	create := provision.Request{
		Phases: allPhases()[:3], Namespace: "shop", Account: "orders", TenantID: "t", Issuer: "https://issuer.example/", TokenExpiration: time.Hour,
	}
	remove := create
	remove.Remove, remove.Phases = true, backwards()[1:]
	outcomes := func(r provision.Request) (planned, done string) {
		t.Helper()
		seen, err := clients.Look(t.Context(), r)
		if err != nil || seen.Withheld != nil {
			t.Fatal(err, seen.Withheld)
		}
		plan := r.Plan(seen)
		for _, step := range plan.Steps {
			planned += string(step.Outcome) + " "
		}
		if _, err := clients.Apply(t.Context(), plan, func(s provision.Step) { done += string(s.Outcome) + " " }); err != nil {
			t.Error(err)
		}
		return planned, done
	}
	for _, step := range []struct {
		name    string
		request provision.Request
		want    string
	}{
		{"create", create, "created created created created "},
		{"again", create, "unchanged unchanged unchanged unchanged "},
		{"delete", remove, "deleted deleted deleted "},
		{"delete again", remove, "absent absent absent "},
	} {
		if planned, done := outcomes(step.request); planned != step.want || done != step.want {
			t.Errorf("%s: planned %s, done %s, want %s", step.name, planned, done, step.want)
		}
	}
}

// TestLookStops tells what ends a run before anything is written.
func TestLookStops(t *testing.T) {
	t.Parallel()
	api := &cluster{}
	azure := operator(t)
	clients := provision.Clients{
		Azure: azure, Credentials: federation.NewClient(federation.Config{Graph: azure.Graph, ARM: azure.ARM}), Cluster: api.client(t),
	}
	managed := arm.IdentityID{Subscription: emulator.DefaultSubscriptionID, ResourceGroup: emulator.DefaultResourceGroup, Name: "none"}
	none := errors.New("no cluster")
	for _, test := range []struct {
		name    string
		clients provision.Clients
		request provision.Request
		want    string
	}{
		{"no cluster for the account", provision.Clients{NoCluster: none}, provision.Request{Phases: allPhases()}, "no cluster"},
		{"no issuer", provision.Clients{NoCluster: none}, provision.Request{Phases: allPhases()[2:3]}, "or give --service-account-issuer-url"},
		{"no managed identity", clients, provision.Request{Phases: allPhases()[:3], Issuer: "https://i/", Reference: provision.Reference{Managed: managed}}, "create it with --create-managed-identity"},
		{"no application of that ID", clients, provision.Request{Phases: allPhases()[:3], Issuer: "https://i/", Reference: provision.Reference{ClientID: subscription}}, "check the ID and --tenant-id"},
		{"no application to federate", clients, provision.Request{Phases: allPhases()[2:3], Issuer: "https://i/"}, "create it with azwi serviceaccount create phase aad-application"},
		{"a long name", clients, provision.Request{Phases: allPhases()[:1], Account: strings.Repeat("a", 200), Issuer: "https://i/"}, "give a shorter one with --aad-application-name"},
		{
			"no service principal", clients,
			provision.Request{Phases: allPhases()[3:], Role: "Reader", Scope: "/subscriptions/" + emulator.DefaultSubscriptionID, Reference: provision.Reference{PrincipalName: "nobody"}},
			"has no service principal",
		},
	} {
		test.request.Namespace = "shop"
		if test.request.Account == "" {
			test.request.Account = "orders"
		}
		_, err := test.clients.Look(t.Context(), test.request)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if len(api.wrote) > 0 {
		t.Errorf("a look wrote %v", api.wrote)
	}
}
