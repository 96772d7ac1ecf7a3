package serviceaccount

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/azure/arm"
	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/identity/provision"
)

// parse returns what the flags of create or delete say, without a cluster or Azure.
func parse(t *testing.T, remove bool, args ...string) (provision.Request, error) {
	t.Helper()
	o := &accountOptions{remove: remove, whole: true}
	env := command.New(command.Streams{Out: io.Discard, Err: io.Discard}, func(string) string { return "" })
	c := accountCommand(env, o, phases())
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if err := o.splitAccount(c.Flags().Changed("namespace")); err != nil {
		return provision.Request{}, err
	}
	selected, err := o.phases(phases())
	if err != nil {
		return provision.Request{}, err
	}
	return o.request(&connect.Session{Tenant: "tenant", Subscription: "subscription"}, selected)
}

func TestFlags(t *testing.T) {
	t.Parallel()
	got, err := parse(t, false, "--service-account-namespace=shop", "--service-account-name=orders", "--managed-identity=web", "--resource-group=g",
		"--create-managed-identity", "--location=westeurope", "--azure-role=Reader", "--azure-scope=/subscriptions/00000000-0000-0000-0000-000000000001", "--skip-phases=sa")
	if err != nil {
		t.Fatal(err)
	}
	want := provision.Request{
		Phases:    []provision.Phase{provision.PhaseIdentity, provision.PhaseCredential, provision.PhaseRole},
		Reference: provision.Reference{Managed: arm.IdentityID{Subscription: "subscription", ResourceGroup: "g", Name: "web"}},
		Namespace: "shop", Account: "orders", TenantID: "tenant", TokenExpiration: time.Hour, CompareIssuer: true,
		Role: "Reader", Scope: "/subscriptions/00000000-0000-0000-0000-000000000001", CreateManaged: true, Location: "westeurope", Tags: got.Tags,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, spelling := range [][]string{
		{"--service-account=shop/orders"}, {"--service-account=orders", "-n", "shop"}, {"--service-account=orders", "--service-account-namespace=shop"},
		{"--service-account-name=orders", "--service-account-namespace=shop"}, {"--service-account=shop/orders", "--namespace=shop"},
	} {
		if got, err := parse(t, false, spelling...); err != nil || got.Namespace != "shop" || got.Account != "orders" {
			t.Errorf("%v: %s/%s, %v", spelling, got.Namespace, got.Account, err)
		}
	}
	got, err = parse(t, true, "--service-account-name=orders", "--aad-application-name=web")
	if err != nil {
		t.Fatal(err)
	}
	want = provision.Request{
		Remove: true, Phases: []provision.Phase{provision.PhaseCredential, provision.PhaseAccount, provision.PhaseIdentity},
		Reference: provision.Reference{Name: "web"}, Namespace: "default", Account: "orders", TenantID: "tenant", Tags: got.Tags,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesOfFlags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		flags []string
		want  string
	}{
		{nil, "--service-account is required"},
		{[]string{"--service-account=a/b/c"}, "write NAME or NAMESPACE/NAME"},
		{[]string{"--service-account=a/b", "-n", "c"}, "name two namespaces"},
		{[]string{"--service-account=a/b", "--service-account-name=c"}, "not both"},
		{[]string{"--service-account-name=Orders"}, "Kubernetes does not allow these names"},
		{[]string{"--service-account-name=a", "--azure-role=Reader"}, "--azure-scope is required to assign a role"},
		{[]string{"--service-account-name=a", "--azure-scope=/subscriptions/00000000-0000-0000-0000-000000000001"}, "--azure-role is required to assign a role"},
		{[]string{"--service-account-name=a", "--skip-phases=b"}, "the phases are aad-application, service-account"},
		{[]string{"--service-account-name=a", "--service-account-token-expiration=30m"}, "must be 1h to 24h"},
		{[]string{"--service-account-name=a", "--create-managed-identity"}, "needs --managed-identity"},
		{[]string{"--service-account-name=a", "--location=x"}, "--location is for --create-managed-identity"},
		{[]string{"--service-account-name=a", "--managed-identity=web"}, "--resource-group is required"},
		{[]string{"--service-account-name=a", "--managed-identity=web", "--aad-application-name=web"}, "not both"},
		{[]string{"--service-account-name=a", "--wait-timeout=0s"}, "--wait=false does not wait"},
		{[]string{"--service-account-name=a", "--output=xml"}, "use text, json or yaml"},
	} {
		if _, err := parse(t, false, test.flags...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.flags, err, test.want)
		}
	}
}

// TestScriptsAreNotAsked: without a terminal, delete goes on as upstream's does.
func TestScriptsAreNotAsked(t *testing.T) {
	t.Parallel()
	var out, said strings.Builder
	env := command.New(command.Streams{In: strings.NewReader("n\n"), Out: &out, Err: &said}, func(string) string { return "" })
	plan := provision.Request{Remove: true, Phases: []provision.Phase{provision.PhaseAccount}}.Plan(provision.Seen{Account: true})
	if len(plan.Steps) != 1 || plan.Steps[0].Outcome != provision.Deleted {
		t.Fatalf("%+v", plan.Steps)
	}
	if err := (&accountOptions{remove: true, output: "text"}).ask(t.Context(), env, plan); err != nil {
		t.Error(err)
	}
	if out.String()+said.String() != "" {
		t.Errorf("said %q, %q", out.String(), said.String())
	}
}
