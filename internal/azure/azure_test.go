package azure_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/internal/azure"
)

func TestMethods(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		config     azure.Config
		want       string
		wantErrors []string
	}{
		{name: "upstream's default", want: azure.MethodCLI},
		{name: "an ID and a secret", config: azure.Config{Method: "cli", ClientID: "i", ClientSecret: "s"}, want: azure.MethodClientSecret},
		{name: "an ID alone", config: azure.Config{ClientID: "i"}, want: azure.MethodCLI},
		{name: "an ID and a certificate", config: azure.Config{ClientID: "i", CertificateFile: "c", TokenFile: "t"}, want: azure.MethodClientCertificate},
		{name: "an ID and a token file", config: azure.Config{ClientID: "i", TokenFile: "t"}, want: azure.MethodWorkloadIdentity},
		{name: "a token file alone", config: azure.Config{TokenFile: "t"}, want: azure.MethodCLI},
		{name: "secret without anything", config: azure.Config{Method: "client_secret"}, wantErrors: []string{"--client-id", "AZURE_CLIENT_SECRET"}},
		{name: "certificate without anything", config: azure.Config{Method: "client_certificate"}, wantErrors: []string{"--client-id", "--certificate-path"}},
		{name: "unknown", config: azure.Config{Method: "password"}, wantErrors: []string{`"password"`, "managed_identity"}},
	} {
		signIn, err := azure.New(test.config)
		if len(test.wantErrors) == 0 && (err != nil || signIn.Method != test.want) {
			t.Errorf("%s: method %s, %v", test.name, signIn.Method, err)
		}
		for _, want := range test.wantErrors {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v does not say %s", test.name, err, want)
			}
		}
	}
}

func TestCredentialsWork(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	s := emulatortest.Start(t, emulator.Config{Seed: []byte(`
servicePrincipals:
  - {name: operator, appId: ` + emulator.DefaultOperatorID + `, secrets: [{value: ` + emulator.DefaultOperatorSecret + `}]}
managedIdentities:
  - name: web
    clientId: 33333333-0000-4000-8000-000000000002
    federatedCredentials: [{name: web, issuer: ` + issuer.URL + `, subject: "system:serviceaccount:default:web"}]
`)})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(issuer.Token(t, "default", "web", nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	cloud, _ := azure.OneOrigin(s.AuthorityURL)
	common := azure.Config{TenantID: emulator.DefaultTenantID, Cloud: cloud, HTTP: s.Client()}
	secret, identity := common, common
	secret.Method, secret.ClientID, secret.ClientSecret = azure.MethodClientSecret, emulator.DefaultOperatorID, emulator.DefaultOperatorSecret
	identity.Method, identity.ClientID, identity.TokenFile = azure.MethodWorkloadIdentity, "33333333-0000-4000-8000-000000000002", token
	for _, config := range []azure.Config{secret, identity} {
		signIn, err := azure.New(config)
		if err != nil {
			t.Fatal(err)
		}
		credential, err := signIn.Credential()
		if err != nil {
			t.Errorf("%s: %v", config.Method, err)
			continue
		}
		got, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://management.azure.com/.default"}})
		if err != nil || got.Token == "" {
			t.Errorf("%s: no token: %v", config.Method, err)
		}
	}
	secret.ClientSecret = "wrong-and-secret"
	signIn, err := azure.New(secret)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := signIn.Credential()
	if err != nil {
		t.Fatal(err)
	}
	_, err = credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://management.azure.com/.default"}})
	if err == nil || strings.Contains(err.Error(), secret.ClientSecret) {
		t.Errorf("a wrong secret: %v", err)
	}
}
