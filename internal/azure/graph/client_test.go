package graph_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/internal/azure"
	"azwi/internal/azure/graph"
)

// operator signs in as the emulator's operator, who may do everything.
func operator(s *emulatortest.Server) azure.Config {
	cloud, _ := azure.OneOrigin(s.AuthorityURL)
	return azure.Config{
		TenantID: emulator.DefaultTenantID, ClientID: emulator.DefaultOperatorID, ClientSecret: emulator.DefaultOperatorSecret,
		Cloud: cloud, HTTP: s.Client(),
	}
}

func client(t *testing.T, c azure.Config) *graph.Client {
	t.Helper()
	signIn, err := azure.New(c)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := signIn.Credential()
	if err != nil {
		t.Fatal(err)
	}
	return graph.New(graph.Config{Endpoint: c.Cloud.Graph, Credential: credential, Options: c.ClientOptions(), Audience: "https://graph.microsoft.com"})
}

func TestApplicationAndCredentials(t *testing.T) {
	t.Parallel()
	c := client(t, operator(emulatortest.Start(t, emulator.Config{})))
	ctx := t.Context()
	app, err := c.CreateApplication(ctx, "it's & others")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateApplication(ctx, "another"); err != nil {
		t.Fatal(err)
	}
	// The quote in the name must be escaped, and the ampersand.
	found, err := c.ApplicationsByName(ctx, "it's & others")
	if err != nil || len(found) != 1 || found[0] != app {
		t.Errorf("found %v, %v; want %v", found, err, app)
	}
	if got, err := c.ApplicationByClientID(ctx, app.ClientID); err != nil || got != app {
		t.Errorf("by client ID: %v, %v", got, err)
	}
	if got, err := c.ApplicationByObjectID(ctx, app.ObjectID); err != nil || got != app {
		t.Errorf("by object ID: %v, %v", got, err)
	}
	if _, err := c.ServicePrincipalByClientID(ctx, app.ClientID); !azure.NotFound(err) {
		t.Errorf("service principal that is not there: %v", err)
	}
	principal, err := c.CreateServicePrincipal(ctx, app.ClientID)
	if err != nil || principal.ClientID != app.ClientID {
		t.Fatalf("%v, %v", principal, err)
	}
	if got, err := c.ServicePrincipalByClientID(ctx, app.ClientID); err != nil || got != principal {
		t.Errorf("service principal: %v, %v", got, err)
	}
	if got, err := c.ServicePrincipalsByName(ctx, app.Name); err != nil || len(got) != 1 || got[0] != principal {
		t.Errorf("service principals by name: %v, %v", got, err)
	}

	// More than the emulator's page of three; names as upstream writes them.
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("credential_%d=", i)
		want = append(want, name)
		if err := c.CreateCredential(ctx, app.ObjectID, graph.Credential{
			Name: name, Issuer: "https://issuer.example.com", Subject: fmt.Sprintf("s%d", i), Audiences: []string{"api://AzureADTokenExchange"},
		}); err != nil {
			t.Fatal(err)
		}
	}
	credentials, err := c.Credentials(ctx, app.ObjectID)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, credential := range credentials {
		names = append(names, credential.Name)
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	err = c.CreateCredential(ctx, app.ObjectID, graph.Credential{Name: want[0], Issuer: "https://x.example.com", Subject: "s", Audiences: []string{"a"}})
	if status, code := azure.StatusOf(err); status != http.StatusConflict || code != "Request_MultipleObjectsWithSameKeyValue" {
		t.Errorf("second credential of a name: %d %s, %v", status, code, err)
	}
	changed := credentials[0]
	changed.Subject = "changed"
	if err := c.UpdateCredential(ctx, app.ObjectID, changed.ID, changed); err != nil {
		t.Error(err)
	}
	if err := c.DeleteCredential(ctx, app.ObjectID, credentials[1].ID); err != nil {
		t.Error(err)
	}
	credentials, err = c.Credentials(ctx, app.ObjectID)
	if err != nil || len(credentials) != 6 || credentials[0].Subject != "changed" {
		t.Errorf("after update and delete: %v, %v", credentials, err)
	}
	if err := c.DeleteApplication(ctx, app.ObjectID); err != nil {
		t.Error(err)
	}
	if _, err := c.ApplicationByObjectID(ctx, app.ObjectID); !azure.NotFound(err) {
		t.Errorf("deleted application: %v", err)
	}
}

func TestForbiddenIsNoSuccess(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(`
servicePrincipals:
  - {name: nobody, appId: 33333333-0000-4000-8000-000000000009, secrets: [{value: nobody-secret}]}
`)})
	config := operator(cloud)
	config.ClientID, config.ClientSecret = "33333333-0000-4000-8000-000000000009", "nobody-secret"
	_, err := client(t, config).CreateApplication(t.Context(), "x")
	if status, code := azure.StatusOf(err); status != http.StatusForbidden || code != "Authorization_RequestDenied" || !azure.Forbidden(err) {
		t.Errorf("status %d, code %s, error %v", status, code, err)
	}
	if err != nil && strings.Contains(err.Error(), "nobody-secret") {
		t.Error("the error quotes the secret")
	}
}
