package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// az is Debian's azure-cli.
const az = "/usr/bin/az"

// A shell is az with a configuration folder of its own.
type shell struct {
	env []string
}

func (c *process) az(t *testing.T, direct bool) shell {
	t.Helper()
	// In direct mode az takes its endpoints from its own configuration.
	env := c.environment(t, direct, "AZURE_CONFIG_DIR="+t.TempDir(), "AZURE_CORE_COLLECT_TELEMETRY=0", "AZURE_CORE_NO_COLOR=1")
	return shell{env: env}
}

// run returns az's output, decoded if it is JSON.
func (s shell) run(t *testing.T, args ...string) any {
	t.Helper()
	out := run(t, s.env, az, append(args, "--output", "json")...)
	var v any
	if len(strings.TrimSpace(string(out))) > 0 {
		if err := json.Unmarshal(out, &v); err != nil {
			t.Fatalf("az %s: output %q: %v", strings.Join(args, " "), out, err)
		}
	}
	return v
}

// field takes one field out of an object that az printed.
func field(t *testing.T, v any, name string) string {
	t.Helper()
	object, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("az printed %v, no object", v)
	}
	text, ok := object[name].(string)
	if !ok {
		t.Fatalf("az printed no %s: %v", name, object)
	}
	return text
}

func TestAz(t *testing.T) {
	t.Parallel()
	_, err := os.Stat(az)
	need(t, "azure-cli", err == nil)
	t.Run("by proxy", func(t *testing.T) {
		t.Parallel()
		c := start(t)
		s := c.az(t, false)
		s.run(t, "login", "--service-principal", "-u", operatorID, "-p", operatorSecret, "--tenant", tenantID)
		manage(t, s)
		showSecret(t, s)
	})
	t.Run("with a federated token", func(t *testing.T) {
		t.Parallel()
		c := start(t)
		s := c.az(t, false)
		token, err := os.ReadFile(c.tokenFile)
		if err != nil {
			t.Fatal(err)
		}
		s.run(t, "login", "--service-principal", "-u", podID, "--tenant", tenantID, "--federated-token", string(token), "--allow-no-subscriptions")
		showSecret(t, s)
	})
	// az has its own custom clouds; their authority ends in adfs, which makes MSAL
	// skip the question to login.microsoftonline.com.
	t.Run("direct", func(t *testing.T) {
		t.Parallel()
		c := start(t)
		s := c.az(t, true)
		origin := strings.TrimSuffix(c.Authority, "/")
		endpoints, err := json.Marshal(map[string]any{"endpoints": map[string]string{
			"resourceManager": origin, "management": origin, "activeDirectory": origin + "/adfs", "activeDirectoryResourceId": origin,
			"activeDirectoryGraphResourceId": c.Authority, "microsoftGraphResourceId": c.Authority,
		}})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "cloud.json")
		write(t, file, endpoints)
		s.run(t, "cloud", "register", "-n", "Emulator", "--cloud-config", "@"+file)
		s.run(t, "cloud", "set", "-n", "Emulator")
		s.run(t, "login", "--service-principal", "-u", operatorID, "-p", operatorSecret, "--tenant", tenantID)
		manage(t, s)
	})
	t.Run("with the machine's identity", func(t *testing.T) {
		t.Parallel()
		c := start(t)
		s := c.az(t, false)
		s.run(t, "login", "--identity", "-u", podID, "--allow-no-subscriptions")
	})
}

// showSecret reads a secret of the vault. az keyvault secret show is what people
// type, but Debian's az fails before it sends anything, for want of the module
// azure.keyvault.v7_0; az rest then asks the same with the same token.
func showSecret(t *testing.T, s shell) {
	t.Helper()
	args := []string{"keyvault", "secret", "show", "--vault-name", "demo", "--name", "greeting"}
	if exec.Command("/usr/bin/python3", "-c", "import azure.keyvault.v7_0").Run() != nil {
		t.Log("az keyvault secret show can't run: azure-cli lacks azure.keyvault.v7_0; az rest instead")
		args = []string{"rest", "--method", "get", "--url", proxyVault + "/secrets/greeting?api-version=7.3", "--resource", "https://vault.azure.net"}
	}
	if got := field(t, s.run(t, args...), "value"); got != greeting {
		t.Errorf("secret is %q", got)
	}
}

// repaired is az with the parts that Debian's packages broke for az role; see
// az/sitecustomize.py.
func (s shell) repaired(t *testing.T) shell {
	t.Helper()
	folder, err := filepath.Abs("az")
	if err != nil {
		t.Fatal(err)
	}
	return shell{env: append(slices.Clone(s.env), "PYTHONPATH="+folder)}
}

// manage is what people do to federate a service account, with an identity and
// with an application.
func manage(t *testing.T, s shell) {
	t.Helper()
	identity := s.run(t, "identity", "create", "-g", group, "-n", "web")
	principal := field(t, identity, "principalId")
	subject := "system:serviceaccount:default:web"
	for _, name := range []string{"one", "two", "three", "four"} {
		s.run(t, "identity", "federated-credential", "create", "-g", group, "--identity-name", "web", "-n", name,
			"--issuer", issuerURL, "--subject", subject+"-"+name, "--audiences", "api://AzureADTokenExchange")
	}
	list, _ := s.run(t, "identity", "federated-credential", "list", "-g", group, "--identity-name", "web").([]any)
	if len(list) != 4 {
		t.Errorf("az lists %d federated credentials, want 4: it must follow nextLink", len(list))
	}
	s.run(t, "identity", "federated-credential", "delete", "-g", group, "--identity-name", "web", "-n", "one", "--yes")
	roles := s.repaired(t)
	roles.run(t, "role", "assignment", "create", "--role", "Key Vault Secrets User", "--assignee-object-id", principal,
		"--assignee-principal-type", "ServicePrincipal", "--scope", "/subscriptions/"+subscriptionID)
	// The short form looks the principal up in Graph.
	roles.run(t, "role", "assignment", "create", "--role", "Reader", "--assignee", field(t, identity, "clientId"), "--scope", "/subscriptions/"+subscriptionID)
	assignments, _ := roles.run(t, "role", "assignment", "list", "--assignee", principal, "--all").([]any)
	if len(assignments) != 2 {
		t.Errorf("az lists %d role assignments, want 2", len(assignments))
	}

	app := s.run(t, "ad", "app", "create", "--display-name", "web")
	id := field(t, app, "appId")
	parameters, err := json.Marshal(map[string]any{"name": "web", "issuer": issuerURL, "subject": subject, "audiences": []string{"api://AzureADTokenExchange"}})
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, "ad", "app", "federated-credential", "create", "--id", id, "--parameters", string(parameters))
	credentials, _ := s.run(t, "ad", "app", "federated-credential", "list", "--id", id).([]any)
	if len(credentials) != 1 {
		t.Errorf("az lists %d federated credentials of the application, want 1", len(credentials))
	}
	s.run(t, "ad", "sp", "create", "--id", id)
	s.run(t, "ad", "app", "delete", "--id", id)
	s.run(t, "identity", "delete", "-g", group, "-n", "web")
}

// readerRole is the GUID of Azure's role Reader.
const readerRole = "acdd72a7-3385-48ef-bd42-f606fba81ae7"

// azwi signs in as az is signed in, finds what az made, and the other way round.
func TestAzAndAzwi(t *testing.T) {
	t.Parallel()
	_, err := os.Stat(az)
	need(t, "azure-cli", err == nil)
	c := start(t)
	s := c.az(t, false)
	s.run(t, "login", "--service-principal", "-u", operatorID, "-p", operatorSecret, "--tenant", tenantID)
	azwi := func(args ...string) string {
		t.Helper()
		// No cluster: service accounts are left alone.
		return string(run(t, append(slices.Clone(s.env), "KUBECONFIG=/nowhere"), built.path(t, "azwi"), append([]string{"serviceaccount"}, args...)...))
	}
	account := func(name string, more ...string) []string {
		return append([]string{"--service-account-namespace", "shop", "--service-account-name", name, "--service-account-issuer-url", issuerURL,
			"--skip-phases", "service-account", "--wait=false"}, more...)
	}
	subject := "system:serviceaccount:shop:"

	// What az made is found, whatever the credentials are called.
	s.run(t, "identity", "create", "-g", group, "-n", "orders")
	s.run(t, "identity", "federated-credential", "create", "-g", group, "--identity-name", "orders", "-n", "by-az",
		"--issuer", issuerURL, "--subject", subject+"orders", "--audiences", "api://AzureADTokenExchange")
	if out := azwi(append([]string{"create"}, account("orders", "--managed-identity", "orders", "--resource-group", group)...)...); strings.Count(out, ": unchanged\n") != 2 || !strings.Contains(out, "credential by-az for") {
		t.Errorf("azwi makes anew what az made:\n%s", out)
	}
	app := s.run(t, "ad", "app", "create", "--display-name", "bills")
	parameters, err := json.Marshal(map[string]any{"name": "by-az", "issuer": issuerURL, "subject": subject + "bills", "audiences": []string{"api://AzureADTokenExchange"}})
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, "ad", "app", "federated-credential", "create", "--id", field(t, app, "appId"), "--parameters", string(parameters))
	s.run(t, "ad", "sp", "create", "--id", field(t, app, "appId"))
	if out := azwi(append([]string{"create"}, account("bills", "--aad-application-name", "bills")...)...); strings.Count(out, ": unchanged\n") != 3 || !strings.Contains(out, "credential by-az for") {
		t.Errorf("azwi makes anew what az made:\n%s", out)
	}

	// What azwi made, az lists.
	scope := "/subscriptions/" + subscriptionID
	azwi(append([]string{"create"}, account("carts", "--managed-identity", "carts", "--resource-group", group, "--create-managed-identity", "--azure-role", "Reader", "--azure-scope", scope)...)...)
	identity := s.run(t, "identity", "show", "-g", group, "-n", "carts")
	if list, _ := s.run(t, "identity", "federated-credential", "list", "-g", group, "--identity-name", "carts").([]any); len(list) != 1 || field(t, list[0], "subject") != subject+"carts" {
		t.Errorf("az lists %v", list)
	}
	if list, _ := s.repaired(t).run(t, "role", "assignment", "list", "--assignee", field(t, identity, "principalId"), "--all").([]any); len(list) != 1 || !strings.HasSuffix(field(t, list[0], "roleDefinitionId"), readerRole) {
		t.Errorf("az lists %v", list)
	}
	azwi(append([]string{"create"}, account("stock")...)...)
	apps, _ := s.run(t, "ad", "app", "list", "--filter", "startswith(displayName,'shop-stock-')").([]any)
	if len(apps) != 1 {
		t.Fatalf("az lists %v", apps)
	}
	id := field(t, apps[0], "appId")
	if list, _ := s.run(t, "ad", "app", "federated-credential", "list", "--id", id).([]any); len(list) != 1 || field(t, list[0], "subject") != subject+"stock" {
		t.Errorf("az lists %v", list)
	}
	s.run(t, "ad", "sp", "show", "--id", id)

	// What az deleted is gone for azwi.
	s.run(t, "ad", "app", "delete", "--id", id)
	out := azwi("delete", "--service-account-namespace", "shop", "--service-account-name", "stock", "--service-account-issuer-url", issuerURL, "--skip-phases", "service-account")
	if strings.Count(out, ": absent\n") != 2 {
		t.Errorf("azwi finds what az deleted:\n%s", out)
	}
}
