package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/go-autorest/autorest/adal"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/test/product"
)

// clientEnv makes this binary one of the clients below, a process of its own.
const clientEnv = "AZWI_TEST_CLIENT"

const (
	clientID = "22222222-0000-4000-8000-000000000001"
	podUID   = "0f3c2a7e-1111-4222-8333-444455556666"
	resource = "https://vault.azure.net"
	imdsURL  = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=" + resource

	appUID, proxyUID = 1000, 1501
)

func TestMain(m *testing.M) {
	if name := os.Getenv(clientEnv); name != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) //nolint:forbidigo // a program of its own begins here
		defer cancel()
		token, err := client(ctx, name, os.Getenv(clientEnv+"_ID"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprint(os.Stdout, token)
		os.Exit(0)
	}
	var err error
	if binaries, err = os.MkdirTemp("", "azwi-proxy-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(binaries) // it is in the system's folder for such things
	os.Exit(code)
}

var binaries string

// client gets a token the way an application does, or with http the answer of the
// URL in id.
func client(ctx context.Context, name, id string) (string, error) {
	switch name {
	case "http":
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, id, http.NoBody)
		if err != nil {
			return "", err
		}
		req.Header.Set("Metadata", "true")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	case "azidentity", "azidentity-default":
		var credential interface {
			GetToken(context.Context, policy.TokenRequestOptions) (azcoreToken, error)
		}
		var err error
		if name == "azidentity" {
			o := &azidentity.ManagedIdentityCredentialOptions{}
			if id != "" {
				o.ID = azidentity.ClientID(id)
			}
			credential, err = azidentity.NewManagedIdentityCredential(o)
		} else {
			credential, err = azidentity.NewDefaultAzureCredential(nil)
		}
		if err != nil {
			return "", err
		}
		t, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}})
		return t.Token, err
	case "adal":
		t, err := adal.NewServicePrincipalTokenFromManagedIdentity(resource, &adal.ManagedIdentityOptions{ClientID: id})
		if err != nil {
			return "", err
		}
		err = t.RefreshWithContext(ctx)
		return t.OAuthToken(), err
	}
	return "", fmt.Errorf("no client %s", name)
}

// A pod is a namespace with a proxy in it.
type pod struct {
	*namespace
	dir       string // anybody may read it
	self      string // this binary
	proxy     string // its binary
	port      string
	cloud     *emulatortest.Server
	issuer    *emulatortest.Issuer
	tokenFile string
	log       *syncBuffer
	running   *exec.Cmd
	extraEnv  []string // of the proxy; the last value of a name counts
}

// newPod has an emulator, whose one identity trusts default/web, and a token of
// that service account. There is no metadata service and no proxy in it yet.
func newPod(t *testing.T) *pod {
	t.Helper()
	ns := newNamespace(t)
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		check(t, os.Chmod(d, 0o755))
	}
	issuer := emulatortest.NewIssuer(t)
	cloud := emulatortest.Start(t, emulator.Config{Seed: podSeed(issuer)})
	p := &pod{
		namespace: ns, dir: dir, cloud: cloud, issuer: issuer, port: "8000", tokenFile: filepath.Join(dir, "token"), log: &syncBuffer{},
		proxy: proxyBinary(t), self: filepath.Join(dir, "self"),
	}
	self, err := os.Executable()
	check(t, err)
	copyFile(t, self, p.self)
	check(t, os.WriteFile(p.tokenFile, []byte(issuer.Token(t, "default", "web", nil)), 0o644))
	check(t, os.WriteFile(filepath.Join(dir, "ca.crt"), cloud.CA(), 0o644))
	ns.lead(t, strings.Trim(strings.TrimPrefix(cloud.AuthorityURL, "https://"), "/"))
	ns.lead(t, strings.TrimPrefix(cloud.ProxyURL, "http://"))
	return p
}

// podSeed is the one identity, which trusts default/web.
func podSeed(issuer *emulatortest.Issuer) []byte {
	return fmt.Appendf(nil, `
managedIdentities:
  - name: pod
    clientId: %s
    federatedCredentials: [{name: pod, issuer: %s, subject: "system:serviceaccount:default:web"}]
`, clientID, issuer.URL)
}

// redirect runs the init container: root, with the one capability that the
// webhook gives it.
func (p *pod) redirect(t *testing.T, args ...string) (stderr string, code int) {
	t.Helper()
	return p.redirectWith(t, "-all,+net_admin", args...)
}

func (p *pod) redirectWith(t *testing.T, capabilities string, args ...string) (stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "setpriv", append([]string{"--bounding-set=" + capabilities, "--inh-caps=-all", "--no-new-privs", p.proxy, "init"}, args...)...)
	cmd.Env = []string{"PROXY_PORT=" + p.port}
	_, stderr, code = p.run(cmd)
	return stderr, code
}

// serve starts the sidecar as the webhook does and waits with its probe.
func (p *pod) serve(t *testing.T, uid uint32, args ...string) {
	t.Helper()
	cmd := as(exec.Command(p.proxy, append([]string{"--proxy-port=" + p.port, "--log-level=trace", "--ca-file=" + filepath.Join(p.dir, "ca.crt")}, args...)...), uid)
	cmd.Env = []string{
		"AZURE_CLIENT_ID=" + clientID, "AZURE_TENANT_ID=" + emulator.DefaultTenantID, "AZURE_FEDERATED_TOKEN_FILE=" + p.tokenFile,
		"AZURE_AUTHORITY_HOST=" + p.cloud.AuthorityURL, "AZWI_POD_UID=" + podUID,
	}
	cmd.Env = append(cmd.Env, p.extraEnv...)
	cmd.Stderr = p.log
	check(t, p.start(cmd))
	p.running = cmd
	t.Cleanup(func() { p.stop(t) })
	_, errOut, code := p.run(exec.CommandContext(t.Context(), p.proxy, "--probe", "--proxy-port="+p.port))
	if code != 0 {
		t.Fatalf("probe: %d %s\n%s", code, errOut, p.log)
	}
}

// stop ends the sidecar as the kubelet does.
func (p *pod) stop(t *testing.T) {
	t.Helper()
	if p.running == nil {
		return
	}
	cmd := p.running
	p.running = nil
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Errorf("the proxy ended with %v\n%s", err, p.log)
	}
}

// client runs a client of this binary inside.
func (p *pod) client(t *testing.T, uid uint32, name, id string, env ...string) (out, errOut string, code int) {
	t.Helper()
	cmd := as(exec.CommandContext(t.Context(), p.self), uid)
	cmd.Env = append([]string{clientEnv + "=" + name, clientEnv + "_ID=" + id, "HOME=" + p.dir}, env...)
	return p.run(cmd)
}

// isOurs says whether a token is one of the pod's identity for the resource.
func isOurs(t *testing.T, token string) bool {
	t.Helper()
	claims := claimsOf(token)
	return claims["appid"] == clientID && claims["aud"] == resource
}

// env is what env mode gives the application's containers.
func (p *pod) env() []string {
	endpoint := "http://127.0.0.1:" + p.port + "/" + podUID + "/msi/token"
	return []string{"IDENTITY_ENDPOINT=" + endpoint, "IDENTITY_HEADER=" + podUID, "MSI_ENDPOINT=" + endpoint, "MSI_SECRET=" + podUID}
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// proxyBinary builds the product's binary once for all tests of this process.
func proxyBinary(t *testing.T) string {
	t.Helper()
	binary, err := built()
	check(t, err)
	return binary
}

var built = sync.OnceValues(func() (string, error) {
	if err := os.Chmod(binaries, 0o755); err != nil {
		return "", err
	}
	return product.Build(context.Background(), binaries, "azwi-proxy", false) //nolint:forbidigo // it serves all tests
})

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	check(t, err)
	check(t, os.WriteFile(to, content, 0o755))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func decodeAnswer(t *testing.T, body string) tokenAnswer {
	t.Helper()
	var a tokenAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("no JSON: %s", body)
	}
	return a
}
