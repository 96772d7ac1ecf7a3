package cli

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"azwi/internal/cli/command"
	"azwi/internal/cli/jwks"
)

// migrating is an API server of aad-pod-identity with one Deployment that uses it, in
// namespace shop.
func migrating(t *testing.T) (kubeconfig string) {
	t.Helper()
	const id = `{"metadata":{"name":"orders","namespace":"shop"},"spec":{"type":0,"resourceID":"/subscriptions/s","clientID":"11111111-0000-0000-0000-000000000001"}}`
	answers := map[string]string{
		"/version": `{"gitVersion":"v1.37.2","major":"1","minor":"37"}`,
		"/apis/aadpodidentity.k8s.io/v1/namespaces/shop/azureidentities":       `{"items":[` + id + `]}`,
		"/apis/aadpodidentity.k8s.io/v1/namespaces/shop/azureidentitybindings": `{"items":[{"metadata":{"name":"b","namespace":"shop"},"spec":{"azureIdentity":"orders","selector":"orders"}}]}`,
		"/apis/apps/v1/namespaces/shop/deployments": `{"items":[{"metadata":{"name":"orders","namespace":"shop"},
			"spec":{"template":{"metadata":{"labels":{"aadpodidbinding":"orders"}},"spec":{"containers":[{"name":"a","image":"i"}]}}}}]}`,
		"/api/v1/namespaces": `{"items":[{"metadata":{"name":"default"}},{"metadata":{"name":"shop"}}]}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, ok := answers[r.URL.Path]
		switch {
		case ok:
		case r.URL.Path != "/api/v1/namespaces/shops" && !strings.Contains(r.URL.Path, "/serviceaccounts/"): // other lists
			answer = `{"items":[]}`
		default:
			w.WriteHeader(http.StatusNotFound)
			answer = `{"kind":"Status","reason":"NotFound","message":"not found"}`
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"blue","contexts":[{"name":"blue","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{"token":"t"}}]}`, server.URL)
	if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// Mistakes are told before the first file is written, with the right value where
// there is a list of them.
func TestDetectChecksBeforeItWrites(t *testing.T) {
	t.Parallel()
	kubeconfig := migrating(t)
	for name, test := range map[string]struct {
		flags   []string
		prepare func(folder string) error
		want    string // empty: it is done
	}{
		"no mistake":       {nil, nil, ""},
		"output":           {[]string{"--output", "xml"}, nil, `--output "xml": use text, json or yaml`},
		"tenant":           {[]string{"--tenant-id", "contoso"}, nil, `--tenant-id "contoso": want the tenant's ID, a GUID`},
		"namespace":        {[]string{"-n", "shops"}, nil, `the cluster has no namespace "shops"; did you mean "shop"?`},
		"context":          {[]string{"--context", "bleu"}, nil, `did you mean "blue"?`},
		"file taken":       {nil, func(folder string) error { return os.MkdirAll(filepath.Join(folder, "orders.yaml"), 0o755) }, "exists and is not a regular file"},
		"folder is a file": {nil, func(folder string) error { return os.WriteFile(folder, nil, 0o600) }, "exists and is not a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "out")
			if test.prepare != nil {
				if err := test.prepare(folder); err != nil {
					t.Fatal(err)
				}
			}
			code, _, stderr := azwi(t, append([]string{"podidentity", "detect", "-n", "shop", "-o", folder, "--proxy-containers=false", "--kubeconfig", kubeconfig}, test.flags...)...)
			_, missing := os.Stat(filepath.Join(folder, "orders-serviceaccount.yaml"))
			switch {
			case test.want == "" && (code != command.ExitOK || missing != nil):
				t.Errorf("code %d, %v: %s", code, missing, stderr)
			case test.want != "" && (code != command.ExitError || !strings.Contains(stderr, test.want)):
				t.Errorf("code %d: %s", code, stderr)
			case test.want != "" && missing == nil:
				t.Error("a file was written")
			}
		})
	}
}

// A key set never replaces the keys that it is made of, and none is dropped unseen.
func TestJWKSChecksBeforeItWrites(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	folder := t.TempDir()
	name, link, long := filepath.Join(folder, "sa.pub"), filepath.Join(folder, "link"), filepath.Join(folder, "long")
	if err := os.WriteFile(name, public, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(long, append(public, make([]byte, jwks.MaxKeyFile)...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{name, link} {
		code, _, stderr := azwi(t, "jwks", "--public-keys", name, "--output-file", output)
		if code != command.ExitError || !strings.Contains(stderr, "is one of the public keys") {
			t.Errorf("code %d: %s", code, stderr)
		}
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != string(public) {
		t.Errorf("the key is %q, %v", got, err)
	}
	output := filepath.Join(folder, "jwks.json")
	code, _, stderr := azwi(t, "jwks", "--public-keys", long, "--output-file", output)
	if _, err := os.Stat(output); code != command.ExitError || err == nil || !strings.Contains(stderr, "has more than 1048576 bytes") {
		t.Errorf("code %d, %v: %s", code, err, stderr)
	}
}

// Flags of a command that writes to Azure are checked before it signs in.
func TestFlagsAreCheckedBeforeAzureIsAsked(t *testing.T) {
	t.Parallel()
	account := []string{"serviceaccount", "create", "--service-account-name", "orders"}
	for want, args := range map[string][]string{
		"--kubeconfig: open nowhere: ":                  {"federation", "apply", "-f", "nowhere", "--kubeconfig", "nowhere"},
		"--timeout 0s: want more than 0;":               append(slices.Clip(account), "--wait-timeout", "0"),
		"--timeout -1s: want more than 0":               {"federation", "apply", "-f", "nowhere", "--wait-timeout", "-1s"},
		`"a.b" is not a valid name for a managed ident`: append(slices.Clip(account), "--managed-identity", "a.b", "--create-managed-identity"),
	} {
		code, _, stderr := azwi(t, args...)
		if code != command.ExitError || !strings.Contains(stderr, want) {
			t.Errorf("%q: code %d: %s", args, code, stderr)
		}
	}
}
