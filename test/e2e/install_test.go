package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"azwi/test/product"
)

const (
	system     = "azure-workload-identity-system"
	deployment = "azure-wi-webhook-controller-manager"
	caConfig   = "entra-ca" // the ConfigMap with the local Entra's CA in each namespace
)

// values are what a user of the local Entra gives the chart.
func (w *world) values() map[string]any {
	return map[string]any{
		"azureTenantID": product.TenantID,
		"authorityHost": w.entra.Authority,
		"proxy":         map[string]any{"caConfigMap": caConfig},
		"global":        map[string]any{"imageRegistry": "docker.io"}, // whose names loaded archives have; nothing is pulled
	}
}

// azwi runs the released program with the administrator's kubeconfig.
func (w *world) azwi(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(w.root, "dist", "linux-"+runtime.GOARCH, "azwi"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.Kubeconfig)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

func (w *world) mustAzwi(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, err := w.azwi(t.Context(), args...)
	if err != nil {
		w.tell(t, system)
		t.Fatalf("azwi %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// install puts the product in with the webhook, unless a test before did.
func (w *world) install(t *testing.T) {
	t.Helper()
	if w.installed {
		return
	}
	w.before = w.snapshot(t)
	values, err := json.Marshal(w.values()) // JSON is YAML too
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, "values.yaml")
	if err := os.WriteFile(file, values, 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustAzwi(t, "install", "--engine=webhook", "--values="+file)
	w.installed = true
}

func (w *world) switchToPolicy(t *testing.T) {
	t.Helper()
	w.mustAzwi(t, "upgrade", "--engine=policy")
}

// wantStatus fails unless all is well with the engine.
func (w *world) wantStatus(t *testing.T, engine string) {
	t.Helper()
	if status := w.mustAzwi(t, "status"); !strings.Contains(status, engine) || !strings.Contains(status, w.version) {
		t.Errorf("azwi status says\n%s", status)
	}
}

// waitInjecting returns when a pod that is not kept comes back with its identity.
func (w *world) waitInjecting(t *testing.T) {
	t.Helper()
	w.eventually(t, func() error { return w.tryInjection(t.Context(), "default") })
}

var errNotInjected = errors.New("a pod came back without identity")
