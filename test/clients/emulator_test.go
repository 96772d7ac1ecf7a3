package clients

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"azwi/emulator/emulatortest"
)

const (
	tenantID       = "11111111-1111-4111-8111-111111111111"
	subscriptionID = "11111111-1111-4111-8111-222222222222"
	group          = "demo"
	operatorID     = "33333333-0000-4000-8000-000000000001"
	operatorSecret = "operator-secret"
	podID          = "33333333-0000-4000-8000-000000000002"
	greeting       = "hello from the vault"
	// issuerURL resolves nowhere; the seed says where its keys are.
	issuerURL = "https://cluster.example"
)

// binaries builds the programs once, into a folder that TestMain removes.
type binaries struct {
	dir  string
	once sync.Once
	err  error
}

func (b *binaries) path(t *testing.T, name string) string {
	t.Helper()
	b.once.Do(func() {
		for _, program := range []struct{ module, pkg string }{
			// The product's own are built in its module: this one need not have what they import.
			{"../..", "./cmd/azwi"}, {"../..", "./cmd/azwi-emulator"}, {".", "./gosdk"},
		} {
			cmd := exec.Command("go", "build", "-trimpath", "-o", b.dir+"/", program.pkg)
			cmd.Dir, cmd.Env = program.module, append(os.Environ(), "CGO_ENABLED=0") // as make build compiles
			if out, err := cmd.CombinedOutput(); err != nil {
				b.err = fmt.Errorf("build %s: %w\n%s", program.pkg, err, out)
				return
			}
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, name)
}

var built binaries // shared by all tests, written by TestMain

func TestMain(m *testing.M) {
	code := 1
	dir, err := os.MkdirTemp("", "azwi-clients")
	if err == nil {
		built.dir = dir
		code = m.Run()
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// A process is a running azwi-emulator.
type process struct {
	Authority, Proxy, Admin, Dir string

	issuer *emulatortest.Issuer
	// tokenFile is the pod's projected token, certFile the operator's
	// certificate with its key.
	tokenFile, certFile string
}

// start runs the emulator as a process of its own, as people do.
func start(t *testing.T) *process {
	t.Helper()
	dir := t.TempDir()
	c := &process{issuer: emulatortest.NewIssuer(t), tokenFile: filepath.Join(dir, "token"), certFile: filepath.Join(dir, "client.pem")}
	c.issuer.URL = issuerURL
	jwks, err := json.Marshal(c.issuer.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "jwks.json"), jwks)
	write(t, c.tokenFile, []byte(c.issuer.Token(t, "default", "pod", nil)))
	write(t, c.certFile, clientCertificate(t))
	write(t, filepath.Join(dir, "seed.yaml"), []byte(seed))

	cmd := exec.CommandContext(t.Context(), built.path(t, "azwi-emulator"),
		"--dir", filepath.Join(dir, "emulator"), "--seed", filepath.Join(dir, "seed.yaml"),
		"--listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var log lockedBuffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("emulator: %v", err)
		}
		if t.Failed() {
			t.Logf("emulator's log:\n%s", log.String())
		}
	})
	if err := json.NewDecoder(out).Decode(c); err != nil {
		t.Fatalf("emulator is not ready: %v\n%s", err, log.String())
	}
	return c
}

// seed lets everything work at once: what replication does to clients is tested
// with the emulator itself.
const seed = `
tenants: [{id: ` + tenantID + `, domain: contoso.onmicrosoft.com, name: Contoso}]
subscriptions: [{id: ` + subscriptionID + `, name: demo, resourceGroups: [{name: ` + group + `}]}]
servicePrincipals:
  - name: operator
    appId: ` + operatorID + `
    secrets: [{value: ` + operatorSecret + `}]
    certificates: [{file: client.pem}]
    directoryRoles: [Application Administrator]
    appRoles: [Application.ReadWrite.All]
managedIdentities:
  - name: pod
    clientId: ` + podID + `
    imds: true
    federatedCredentials: [{name: pod, issuer: "` + issuerURL + `", subject: "system:serviceaccount:default:pod"}]
roleAssignments:
  - {role: Owner, principal: operator}
  - {role: Key Vault Secrets User, principal: operator}
  - {role: Key Vault Secrets User, principal: pod}
vaults:
  - {name: demo, secrets: {greeting: ` + greeting + `, one: "1", two: "2", three: "3"}}
issuers:
  ` + issuerURL + `: {file: jwks.json}
replication: {minDelay: 0s, maxDelay: 0s, missMemory: 0s}
`

const (
	proxyVault  = "https://demo.vault.azure.net"
	secretCount = 4
)

func (c *process) directVault() string { return c.Authority + "vaults/demo" }

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func clientCertificate(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "operator"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
}

// environment is a clean one for a client. Through the proxy it is what the
// shell gets from DIR/env; directly, only the CA is taken from there.
func (c *process) environment(t *testing.T, direct bool, more ...string) []string {
	t.Helper()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "PYTHONDONTWRITEBYTECODE=1", "AZURE_TENANT_ID=" + tenantID}
	text, err := os.ReadFile(filepath.Join(c.Dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if direct && strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			continue
		}
		env = append(env, name+"="+strings.Trim(value, "'"))
	}
	if direct {
		env = append(env, "AZURE_AUTHORITY_HOST="+c.Authority)
	}
	return append(env, more...)
}

// workload is what the webhook injects into a pod.
func (c *process) workload() []string {
	return []string{"AZURE_CLIENT_ID=" + podID, "AZURE_FEDERATED_TOKEN_FILE=" + c.tokenFile}
}

func operator() []string {
	return []string{"AZURE_CLIENT_ID=" + operatorID, "AZURE_CLIENT_SECRET=" + operatorSecret}
}

// run executes a client and returns its standard output.
func run(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

// result is what the client programs print.
type result struct {
	Secret      string `json:"secret"`
	Secrets     int    `json:"secrets"`
	Credentials int    `json:"credentials"`
}

func runJSON(t *testing.T, env []string, name string, args ...string) result {
	t.Helper()
	var r result
	out := run(t, env, name, args...)
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("output %q: %v", out, err)
	}
	return r
}

// need skips a test whose client is not installed, unless the script that
// installs them all says that it has.
func need(t *testing.T, name string, found bool) {
	t.Helper()
	if found {
		return
	}
	if os.Getenv("AZWI_CLIENTS_INSTALLED") != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed: test/clients/run installs it", name)
}

// lockedBuffer is written by the process and read by the test.
type lockedBuffer struct {
	mu  sync.Mutex
	buf []byte
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(slices.Clone(b.buf))
}
