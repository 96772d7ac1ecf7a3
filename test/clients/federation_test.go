package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A federation finds and uses what az made, and az lists what a federation made.
func TestFederationWithAz(t *testing.T) {
	t.Parallel()
	_, err := os.Stat(az)
	need(t, "azure-cli", err == nil)
	c := start(t)
	s := c.az(t, false)
	s.run(t, "login", "--service-principal", "-u", operatorID, "-p", operatorSecret, "--tenant", tenantID)
	azwi := func(args ...string) string {
		t.Helper()
		// Signed in as az is; there is no cluster to wait at.
		return string(run(t, append(slices.Clone(s.env), "KUBECONFIG=/nowhere"), built.path(t, "azwi"), append([]string{"federation"}, args...)...))
	}

	const subject = "system:serviceaccount:shop:"
	id := field(t, s.run(t, "identity", "create", "-g", group, "-n", "orders"), "id")
	s.run(t, "identity", "federated-credential", "create", "-g", group, "--identity-name", "orders", "-n", "by-az",
		"--issuer", issuerURL, "--subject", subject+"orders", "--audiences", "api://AzureADTokenExchange")
	app := field(t, s.run(t, "ad", "app", "create", "--display-name", "billing"), "appId")
	parameters, err := json.Marshal(map[string]any{"name": "by-az", "issuer": issuerURL, "subject": subject + "billing", "audiences": []string{"api://AzureADTokenExchange"}})
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, "ad", "app", "federated-credential", "create", "--id", app, "--parameters", string(parameters))

	// What az made, as a file: nothing to do.
	text := azwi("import", "--managed-identity", id, "--application", app)
	file := filepath.Join(t.TempDir(), "federation.yaml")
	write(t, file, []byte(text))
	if out := azwi("plan", "-f", file); !strings.HasPrefix(out, "nothing to change\n") {
		t.Errorf("the plan of what az made:\n%s%s", out, text)
	}

	// One service account more on each.
	text = strings.NewReplacer("- shop/orders\n", "- shop/orders\n      - shop/more\n", "- shop/billing\n", "- shop/billing\n      - shop/more\n").Replace(text)
	write(t, file, []byte(text))
	if out := azwi("apply", "-f", file); !strings.Contains(out, "2 added") {
		t.Errorf("apply: %s", out)
	}
	azLists := func(want ...string) {
		t.Helper()
		for _, listed := range []any{
			s.run(t, "identity", "federated-credential", "list", "-g", group, "--identity-name", "orders"),
			s.run(t, "ad", "app", "federated-credential", "list", "--id", app),
		} {
			list, _ := listed.([]any)
			var got []string
			for _, credential := range list {
				got = append(got, strings.TrimPrefix(field(t, credential, "subject"), subject))
			}
			slices.Sort(got)
			for i, name := range got {
				if name == "orders" || name == "billing" {
					got[i] = "first"
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("az lists %v, want %v", got, want)
			}
		}
	}
	azLists("first", "more")

	// az's own stay when they are no longer wanted; ours stay too, until they are pruned.
	text = strings.NewReplacer("      - shop/more\n", "", "- shop/orders\n", "- shop/else\n", "- shop/billing\n", "- shop/else\n").Replace(text)
	write(t, file, []byte(text))
	azwi("apply", "-f", file)
	azLists("else", "first", "more")
	azwi("apply", "-f", file, "--prune", "--yes")
	azLists("else", "first")
}
