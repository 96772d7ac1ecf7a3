package clients

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"azwi/internal/doctor/page"
	"azwi/internal/finding"
)

// TestPage opens the map of azwi doctor --html, with 500 service accounts and 300
// identities, in a real browser: it is searched and clicked, nothing is requested, no text
// runs, and axe-core has no complaint. Screenshots go to the folder .cache/page.
func TestPage(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	need(t, "node", err == nil)
	chromium, err := exec.LookPath("chromium-headless-shell")
	need(t, "chromium-headless-shell", err == nil)
	_, err = os.Stat("node/node_modules/puppeteer-core")
	need(t, "puppeteer-core", err == nil)

	const accounts, identities, hostile = 500, 300, "</script><img src=x onerror=alert(1)>"
	p := page.Page{Facts: "2026-11-28 14:00 UTC. Running pods: 2000, service accounts with a client ID: 500, identities: 300"}
	id := func(i int) string { return fmt.Sprintf("dddddddd-0000-4000-8000-%012d", i) }
	for i := range accounts {
		a := page.Account{Namespace: fmt.Sprintf("team-%d", i%20), Name: fmt.Sprintf("service-%d", i), ClientID: id(i % identities), Pods: i % 5}
		switch {
		case i == 7:
			a.Name, a.Findings = "broken", []finding.Finding{finding.CredentialMissing(finding.Wanted{
				Namespace: a.Namespace, Account: "broken", Issuer: "https://issuer.example.com/", Subject: "system:serviceaccount:team-7:broken", ClientID: a.ClientID,
			}, 3), finding.ClientIDNotGUID("team-7/broken", hostile)}
		case i%50 == 0:
			a.Findings = []finding.Finding{finding.OptInMissing(finding.Workload{Kind: "Deployment", Namespace: a.Namespace, Name: a.Name}, a.Name, true)}
		}
		p.Accounts = append(p.Accounts, a)
	}
	for i := range identities {
		p.Identities = append(p.Identities, page.Identity{Name: fmt.Sprintf("identity-%d%s", i, map[bool]string{true: hostile}[i == 3]), ClientID: id(i), Used: i % 21, Limit: 20})
	}
	html, err := p.HTML()
	if err != nil {
		t.Fatal(err)
	}
	file, shots := filepath.Join(t.TempDir(), "map.html"), "../../.cache/page"
	if err := os.MkdirAll(shots, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, html, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, "node/page.mjs", file, chromium, shots).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got struct {
		Errors, Requests, Violations                              []string
		All, Links, Found, AfterEscape, Wrong, Namespace, Pressed int
		Searched                                                  int
		Details, Identity                                         string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(got.Errors)+len(got.Requests)+len(got.Violations) > 0 {
		t.Errorf("errors %q, requests %q, violations %q", got.Errors, got.Requests, got.Violations)
	}
	const team, broken = 25, 1 + 10
	if got.All != accounts || got.Links != accounts || got.Found != 1 || got.AfterEscape != accounts || got.Wrong != broken || got.Namespace != team || got.Pressed != 1 {
		t.Errorf("%+v", got)
	}
	for _, says := range []string{"credential-missing", "azwi serviceaccount create", "team-7/broken", "onerror=alert(1)"} {
		if !strings.Contains(got.Details, says) {
			t.Errorf("the details do not say %q: %s", says, got.Details)
		}
	}
	if strings.Contains(string(out), `"overflow light":true`) || strings.Contains(string(out), `"overflow dark":true`) {
		t.Error("the narrow page is wider than its window")
	}
	t.Logf("searched in %d ms; %s", got.Searched, got.Identity)
}
