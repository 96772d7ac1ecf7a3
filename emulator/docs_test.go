package emulator_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/emulator/internal/fault"
	"azwi/emulator/internal/seed"
	"azwi/internal/document/documenttest"
)

var update = flag.Bool("update", false, "write the generated files again")

// example takes the block that begins with "# name" out of docs/emulator.md.
func example(t *testing.T, name string) []byte {
	t.Helper()
	doc, err := os.ReadFile("../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "```yaml\n# "+name+"\n")
	block, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatalf("docs/emulator.md has no example %s", name)
	}
	return []byte(block)
}

// The examples of the documentation work, and do what their comments say.
func TestDocumentedExamples(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	issuer.URL = "https://kubernetes.default.svc.cluster.local"
	dir := t.TempDir()
	jwks, err := json.Marshal(issuer.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"jwks.json", "github-jwks.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), jwks, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	cloud := emulatortest.Start(t, emulator.Config{
		Seed: example(t, "seed.yaml"), SeedName: filepath.Join(dir, "seed.yaml"), Faults: example(t, "faults.yaml"), RandomSeed: 3,
		Now: func() time.Time { return now },
	})
	const path = "contoso.onmicrosoft.com/oauth2/v2.0/token"
	const worker = "33333333-0000-4000-8000-000000000003"
	statuses := map[int]int{}
	var access string
	for range 40 {
		got := post(t, cloud, path, exchange(worker, issuer.Token(t, "default", "worker", nil)))
		statuses[got.Status]++
		if got.AccessToken != "" {
			access = got.AccessToken
		}
	}
	if statuses[200]+statuses[429] != 40 || statuses[429] == 0 || statuses[429] > 20 {
		t.Errorf("statuses %v, want some 429", statuses)
	}
	secret := cloud.VaultURL("web") + "/secrets/greeting?api-version=7.5"
	if status, answer := get(t, cloud, secret, access); status != 200 || answer["value"] != "hello" {
		t.Errorf("secret: %d %v", status, answer)
	}
	cloud.Advance(10 * time.Minute)
	if status, _ := get(t, cloud, secret, access); status != http.StatusServiceUnavailable {
		t.Errorf("during the outage: %d", status)
	}
	if err := cloud.SetFaults(nil); err != nil {
		t.Fatal(err)
	}
	// iat is of the real clock, and the emulated one is ten minutes ahead.
	const web = "33333333-0000-4000-8000-000000000001"
	for subject, want := range map[string]int{"repo:contoso/web:ref:refs/heads/any": 200, "repo:contoso/web:pull_request": 401} {
		claims := map[string]any{"iss": "https://token.actions.githubusercontent.com", "sub": subject, "repository_id": "821093847"}
		if got := post(t, cloud, path, exchange(web, issuer.Token(t, "", "", claims))); got.Status != want {
			t.Errorf("flexible credential for %s: %+v", subject, got)
		}
	}
	form := exchange(web, issuer.Token(t, "default", "web", nil))
	form.Set("scope", "api://web/.default")
	got := post(t, cloud, path, form)
	if got.Status != 200 {
		t.Fatalf("application's own resource: %+v", got)
	}
	if claims := claimsOf(t, got.AccessToken); claims["ver"] != "2.0" || claims["aud"] != web || claims["azpacr"] != "2" {
		t.Errorf("claims %v", claims)
	}
	form.Set("scope", "api://partner/.default")
	if got := post(t, cloud, path, form); got.Status != 200 {
		t.Errorf("tenant's resource: %+v", got)
	}
}

// The schemas say what the types do; go test ./emulator -update writes them.
func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, s := range []documenttest.Schema{
		{File: "../docs/schema/emulator-seed.json", Source: "internal/seed/file.go", Title: "Seed file of azwi-emulator", Type: reflect.TypeFor[seed.File]()},
		{File: "../docs/schema/emulator-faults.json", Source: "internal/fault/fault.go", Title: "Faults file of azwi-emulator", Type: reflect.TypeFor[fault.File]()},
	} {
		s.Check(t, *update)
	}
}
