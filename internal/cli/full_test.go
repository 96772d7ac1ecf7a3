package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"azwi/internal/cli/command"
)

// TestFullDisk: what can't be written is a failure, whatever was to be printed.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const id = "11111111-1111-1111-1111-111111111111"
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no full disk on this system: ", err)
	}
	t.Cleanup(func() {
		if err := full.Close(); err != nil {
			t.Error(err)
		}
	})
	// An API server with an installation, in a cluster with nothing else.
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := `{}`
		switch {
		case r.URL.Path == "/version":
			answer = `{"gitVersion": "v1.37.2"}`
		case r.URL.Path == "/apis":
			answer = `{"groups": [{"versions": [{"groupVersion": "admissionregistration.k8s.io/v1"}]}]}`
		case r.URL.Path == "/api/v1/configmaps":
			answer = `{"items": [{"metadata": {"name": "azwi-installation", "namespace": "azwi"}, "data": {"record": "{\"engine\":\"policy\",\"complete\":true}"}}]}`
		case strings.HasSuffix(r.URL.Path, "/serviceaccounts/orders"):
			answer = `{"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "orders", "namespace": "shop"}}`
		case strings.HasSuffix(r.URL.Path, "/token"):
			w.WriteHeader(http.StatusCreated)
			answer = `{"status": {"token": "e30.eyJhdWQiOiJhIn0.", "expirationTimestamp": "2099-01-01T00:00:00Z"}}`
		}
		_, _ = w.Write([]byte(answer)) // the client is in this test
	}))
	t.Cleanup(api.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	kubeconfig := write("kubeconfig", `{"clusters": [{"name": "c", "cluster": {"server": "`+api.URL+`"}}],
		"contexts": [{"name": "c", "context": {"cluster": "c"}}], "current-context": "c"}`)
	pod := write("pod.yaml", labelledPod)
	for _, args := range []string{
		"--help", "--version", "version", "version --output json", "version --output yaml", "completion bash", "help policy", "__complete ver",
		"policy generate", "policy verify --kubeconfig " + kubeconfig, "lint --rules", "lint --fail-on none -f " + pod,
		"lint --output json -f " + pod, "lint --output github --fail-on info -f " + pod, "inject --client-id " + id + " -f " + pod,
		"status --kubeconfig " + kubeconfig, "status -o json --kubeconfig " + kubeconfig, "status -o yaml --kubeconfig " + kubeconfig,
		"upgrade --dry-run --tenant-id " + id + " --image-registry registry.example --kubeconfig " + kubeconfig,
		"token --assertion --client-id " + id + " --service-account shop/orders --kubeconfig " + kubeconfig,
		"token --assertion --output json --client-id " + id + " --service-account shop/orders --kubeconfig " + kubeconfig,
		"token --assertion --decode --client-id " + id + " --service-account shop/orders --kubeconfig " + kubeconfig,
	} {
		run := func(stdout *os.File) (int, string, string) {
			var out, log bytes.Buffer
			streams := command.Streams{In: strings.NewReader(""), Out: &out, Err: &log}
			if stdout != nil {
				streams.Out = stdout
			}
			environment := map[string]string{"AZURE_TENANT_ID": id, "AZURE_CLIENT_ID": id}
			code := Run(t.Context(), strings.Fields(args), streams, func(name string) string { return environment[name] })
			return code, out.String(), log.String()
		}
		if _, out, log := run(nil); out == "" {
			t.Errorf("azwi %s prints nothing: %s", args, log)
		}
		if code, _, log := run(full); code != command.ExitError || !strings.Contains(log, "no space left on device") {
			t.Errorf("azwi %s on a full disk: code %d, %s", args, code, log)
		}
	}
}
