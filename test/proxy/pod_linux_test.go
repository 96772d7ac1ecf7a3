package proxy_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

type azcoreToken = azcore.AccessToken

func claimsOf(token string) map[string]any {
	var claims map[string]any
	if parts := strings.Split(token, "."); len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(payload, &claims) != nil {
			return nil
		}
	}
	return claims
}

// Applications with the metadata service's address built in get the pod's own
// tokens; the proxy reaches the real service, and only it.
func TestRedirect(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.addIMDS(t)
	if errOut, code := p.redirect(t); code != 0 {
		t.Fatalf("init: %d %s", code, errOut)
	}
	p.serve(t, proxyUID)

	out, errOut, code := p.client(t, appUID, "http", imdsURL)
	if a := decodeAnswer(t, out); code != 0 || !isOurs(t, a.AccessToken) {
		t.Errorf("application: %d %s %s", code, out, errOut)
	}
	if out, _, _ := p.client(t, 0, "http", imdsURL); !isOurs(t, decodeAnswer(t, out).AccessToken) {
		t.Errorf("application as root: %s", out)
	}
	// The proxy's user goes straight to the node's metadata service.
	if out, _, _ := p.client(t, proxyUID, "http", imdsURL); decodeAnswer(t, out).AccessToken != nodeToken {
		t.Errorf("as the proxy's user: %s", out)
	}
	// Other paths reach it through the proxy, tokens by detours do not.
	if out, _, _ := p.client(t, appUID, "http", "http://169.254.169.254/metadata/instance"); !strings.Contains(out, "node-1") {
		t.Errorf("instance metadata: %s", out)
	}
	for _, detour := range []string{"//metadata/./identity/oauth2//token", "/metadata/%2569dentity/oauth2/token", "/metadata/identity/info", "/METADATA/identity;x/oauth2/token", "/x/..%2fmetadata%5cidentity/oauth2/token"} {
		if out, _, _ := p.client(t, appUID, "http", "http://169.254.169.254"+detour+"?api-version=2018-02-01&resource=r"); strings.Contains(out, nodeToken) || out == "" {
			t.Errorf("%s: %q", detour, out)
		}
	}
	// Real clients.
	for _, name := range []string{"azidentity", "adal"} {
		for _, id := range []string{"", clientID} {
			if out, errOut, _ := p.client(t, appUID, name, id); !isOurs(t, out) {
				t.Errorf("%s with %q: %s %s", name, id, out, errOut)
			}
		}
	}
	assertNoSecrets(t, p)
}

// A second run, a changed port, and the way back.
func TestRedirectCanBeRepeatedAndUndone(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.addIMDS(t)
	p.must(t, "nft", "add", "table", "ip", "users_own")
	before := p.must(t, "nft", "list", "ruleset")
	if errOut, code := p.redirect(t, "--remove"); code != 0 {
		t.Errorf("remove where nothing is: %d %s", code, errOut)
	}
	var first string
	for i := range 3 {
		if errOut, code := p.redirect(t); code != 0 {
			t.Fatalf("init: %d %s", code, errOut)
		}
		rules := p.must(t, "nft", "--numeric", "list", "table", "ip", "azwi_proxy")
		if i == 0 {
			first = rules
			for _, part := range []string{"type nat hook output priority -110", "skuid != 1501 ip daddr 169.254.169.254 tcp dport 80", "redirect to :8000"} {
				if !strings.Contains(rules, part) {
					t.Errorf("no %q in:\n%s", part, rules)
				}
			}
		}
		if rules != first {
			t.Errorf("run %d:\n%s", i, rules)
		}
	}
	if errOut, code := p.redirect(t, "--proxy-port=9000"); code != 0 {
		t.Fatalf("init: %d %s", code, errOut)
	}
	if rules := p.must(t, "nft", "--numeric", "list", "table", "ip", "azwi_proxy"); !strings.Contains(rules, ":9000") || strings.Contains(rules, ":8000") {
		t.Errorf("another port:\n%s", rules)
	}
	if errOut, code := p.redirect(t, "--remove"); code != 0 {
		t.Errorf("remove: %d %s", code, errOut)
	}
	if after := p.must(t, "nft", "list", "ruleset"); after != before {
		t.Errorf("left behind:\n%s", after)
	}
	// Now the node's own service answers.
	if out, _, _ := p.client(t, appUID, "http", imdsURL); decodeAnswer(t, out).AccessToken != nodeToken {
		t.Errorf("after the removal: %s", out)
	}
}

// A mesh that takes all outgoing connections at -100 does not get this one, and
// keeps the others.
func TestRedirectBesideAMesh(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"mesh first", "mesh last"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.addIMDS(t)
			mesh := filepath.Join(p.dir, "mesh.nft")
			check(t, os.WriteFile(mesh, []byte(`table ip mesh {
	chain output {
		type nat hook output priority -100; policy accept;
		ip daddr 127.0.0.0/8 accept
		meta skuid 1337 accept
		meta l4proto tcp counter redirect to :15001
	}
}
`), 0o600))
			if order == "mesh first" {
				p.must(t, "nft", "-f", mesh)
			}
			if errOut, code := p.redirect(t); code != 0 {
				t.Fatalf("init: %d %s", code, errOut)
			}
			if order == "mesh last" {
				p.must(t, "nft", "-f", mesh)
			}
			p.serve(t, proxyUID)
			if out, errOut, _ := p.client(t, appUID, "http", imdsURL); !isOurs(t, decodeAnswer(t, out).AccessToken) {
				t.Errorf("application: %s %s", out, errOut)
			}
			if rules := p.must(t, "nft", "list", "table", "ip", "mesh"); !strings.Contains(rules, "packets 0 ") {
				t.Errorf("the mesh saw the application's request:\n%s", rules)
			}
			// The mesh, which nobody plays here, still has the rest.
			if _, _, code := p.client(t, appUID, "http", "http://169.254.169.254:81/"); code == 0 {
				t.Error("another port is answered")
			}
			if rules := p.must(t, "nft", "list", "table", "ip", "mesh"); strings.Contains(rules, "packets 0 ") {
				t.Errorf("the mesh lost its traffic:\n%s", rules)
			}
		})
	}
}

func TestRedirectFailsWithAReason(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	if errOut, code := p.redirect(t); code != 1 || !strings.Contains(errOut, "there is no route to 169.254.169.254") {
		t.Errorf("no route: %d %s", code, errOut)
	}
	p.addIMDS(t)
	if errOut, code := p.redirectWith(t, "-all"); code != 1 || !strings.Contains(errOut, "NET_ADMIN") {
		t.Errorf("no capability: %d %s", code, errOut)
	}
	if rules := p.must(t, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("something is left:\n%s", rules)
	}
}

// A proxy under a wrong user must not run in circles.
func TestRedirectOfTheProxyItself(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.addIMDS(t)
	if errOut, code := p.redirect(t); code != 0 {
		t.Fatalf("init: %d %s", code, errOut)
	}
	p.serve(t, appUID)
	if out, _, _ := p.client(t, appUID, "http", "http://169.254.169.254/metadata/instance"); decodeAnswer(t, out).Error != "loop_detected" {
		t.Errorf("%s", out)
	}
}

// Env mode: no redirect, no capability, any user.
func TestEnvMode(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.serve(t, 4321, "--proxy-mode=env")
	for _, name := range []string{"azidentity", "azidentity-default", "adal"} {
		for _, id := range []string{"", clientID} {
			if out, errOut, _ := p.client(t, appUID, name, id, p.env()...); !isOurs(t, out) {
				t.Errorf("%s with %q: %s %s", name, id, out, errOut)
			}
		}
	}
	// Without the secret in the path, or with another one, there is nothing.
	for _, path := range []string{"/msi/token", "/00000000-0000-4000-8000-000000000000/msi/token"} {
		out, _, _ := p.client(t, appUID, "http", "http://127.0.0.1:8000"+path+"?api-version=2019-08-01&resource="+resource)
		if a := decodeAnswer(t, out); a.AccessToken != "" || a.Error == "" {
			t.Errorf("%s: %s", path, out)
		}
	}
	assertNoSecrets(t, p)
}

// Microsoft's sample of a migration points IDENTITY_ENDPOINT at the IMDS path, where
// the SDK then sends X-IDENTITY-HEADER in place of Metadata.
func TestAppServiceProtocolOnTheIMDSPath(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.serve(t, proxyUID)
	env := []string{"IDENTITY_ENDPOINT=http://localhost:8000/metadata/identity/oauth2/token", "IDENTITY_HEADER=true"}
	for _, name := range []string{"azidentity", "azidentity-default"} {
		for _, id := range []string{"", clientID} {
			if out, errOut, code := p.client(t, appUID, name, id, env...); code != 0 || !isOurs(t, out) {
				t.Errorf("%s %q: %d %s\n%s", name, id, code, errOut, p.log)
			}
		}
	}
}

// A fault that stays is told at once and by name: with upstream's 500, clients
// repeated for a minute.
func TestClientsSeeThePermanentError(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.addIMDS(t)
	if errOut, code := p.redirect(t); code != 0 {
		t.Fatalf("init: %d %s", code, errOut)
	}
	p.serve(t, proxyUID)
	const unknown = "99999999-0000-4000-8000-000000000009"
	for _, name := range []string{"azidentity", "adal"} {
		out, errOut, code := p.client(t, appUID, name, unknown)
		if code != 1 || !strings.Contains(errOut, "AADSTS700016") {
			t.Errorf("%s: %d %s %s", name, code, out, errOut)
		}
	}
}

// assertNoSecrets greps the log, which is at its most talkative.
func assertNoSecrets(t *testing.T, p *pod) {
	t.Helper()
	p.stop(t)
	log := p.log.String()
	if !strings.Contains(log, "token served") || !strings.Contains(log, "token obtained") {
		t.Fatalf("the log shows no tokens being served:\n%s", log)
	}
	assertion, err := os.ReadFile(p.tokenFile)
	check(t, err)
	for name, secret := range map[string]string{"assertion": string(assertion), "beginning of a JWT": "eyJ", "header secret": podUID} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds the %s:\n%s", name, log)
		}
	}
}

// The clients that are no Go.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	const python = `import sys
from azure.identity import ManagedIdentityCredential
print(ManagedIdentityCredential(**({"client_id": sys.argv[1]} if len(sys.argv) > 1 else {})).get_token("https://vault.azure.net/.default").token)`
	p := newPod(t)
	p.addIMDS(t)
	if errOut, code := p.redirect(t); code != 0 {
		t.Fatalf("init: %d %s", code, errOut)
	}
	p.serve(t, proxyUID, "--proxy-mode=env") // it serves the redirected ones too
	ca := filepath.Join(p.dir, "ca.crt")
	for _, mode := range []string{"redirect", "env"} {
		env := []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
		if mode == "env" {
			if errOut, code := p.redirect(t, "--remove"); code != 0 {
				t.Fatalf("remove: %d %s", code, errOut)
			}
			env = append(env, p.env()...)
		}
		t.Run("python "+mode, func(t *testing.T) {
			if exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import azure.identity").Run() != nil {
				t.Skip("Debian's python3-azure is not installed")
			}
			for _, id := range [][]string{nil, {clientID}} {
				cmd := as(exec.CommandContext(t.Context(), "/usr/bin/python3", append([]string{"-c", python}, id...)...), appUID)
				cmd.Env = env
				if out, errOut, _ := p.run(cmd); !isOurs(t, strings.TrimSpace(out)) {
					t.Errorf("%v: %s %s", id, out, errOut)
				}
			}
		})
		t.Run("az "+mode, func(t *testing.T) {
			if _, err := exec.LookPath("az"); err != nil {
				t.Skip("az is not installed")
			}
			home := filepath.Join(p.dir, "az-"+mode)
			check(t, os.Mkdir(home, 0o777))
			check(t, os.Chown(home, appUID, appUID))
			az := func(args ...string) (string, string, int) {
				cmd := as(exec.CommandContext(t.Context(), "az", args...), appUID)
				// Resource Manager is the emulator's, behind its proxy; the metadata service is not.
				cmd.Env = append([]string{
					"HOME=" + home, "AZURE_CONFIG_DIR=" + home, "AZURE_CORE_COLLECT_TELEMETRY=0", "REQUESTS_CA_BUNDLE=" + ca,
					"HTTPS_PROXY=" + p.cloud.ProxyURL, "https_proxy=" + p.cloud.ProxyURL, "NO_PROXY=127.0.0.1,169.254.169.254",
				}, env...)
				return p.run(cmd)
			}
			for _, login := range [][]string{{}, {"--username", clientID}} {
				if out, errOut, code := az(append([]string{"login", "--identity", "--allow-no-subscriptions"}, login...)...); code != 0 {
					t.Fatalf("login %v: %d %s %s", login, code, out, errOut)
				}
				out, errOut, _ := az("account", "get-access-token", "--resource", resource, "--query", "accessToken", "--output", "tsv")
				if !isOurs(t, strings.TrimSpace(out)) {
					t.Errorf("get-access-token: %s %s", out, errOut)
				}
			}
		})
		t.Run("node "+mode, func(t *testing.T) {
			modules, err := filepath.Abs("../clients/node/node_modules")
			check(t, err)
			if _, err := os.Stat(filepath.Join(modules, "@azure/identity")); err != nil {
				t.Skip("test/clients/run has not installed Azure's SDK for JavaScript")
			}
			const program = `const {ManagedIdentityCredential} = require(process.argv[1] + "/@azure/identity");
new ManagedIdentityCredential(...process.argv.slice(2)).getToken("https://vault.azure.net/.default").then(t => console.log(t.token), e => { console.error(e); process.exit(1) })`
			for _, id := range [][]string{nil, {clientID}} {
				cmd := exec.CommandContext(t.Context(), "node", append([]string{"-e", program, modules}, id...)...)
				cmd.Env = env
				if out, errOut, _ := p.run(cmd); !isOurs(t, strings.TrimSpace(out)) {
					t.Errorf("%v: %s %s", id, out, errOut)
				}
			}
		})
	}
}
