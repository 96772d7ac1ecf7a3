package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"

	"azwi/contract"
	"azwi/emulator/emulatortest"
	"azwi/test/cluster"
	"azwi/test/product"
)

// TestInstall runs the scripts that install, on a control plane of their own. It has
// a controller-manager, so that namespaces end and Deployments have pods. These stay
// pending: there is no node, so the webhook runs outside the cluster: $WEBHOOK_URL, and ca.yaml, values with its CA.
// status-rights.yaml has the rights that docs/operations.md gives azwi status; use-it.sh and
// plugin.sh have README's commands.
func TestInstall(t *testing.T) {
	dir, binary := t.TempDir(), ""
	operations, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := bytes.Cut(operations, []byte("\n```yaml\n"))
	rights, _, documented := bytes.Cut(block, []byte("\n```\n"))
	if !documented {
		t.Fatal("docs/operations.md has no rights for azwi status")
	}
	c, err := cluster.Start(t.Context(), cluster.Config{ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stop the control plane: %v", err)
		}
	})
	suite{folder: "install", cluster: c, serial: true, commands: more(), setup: func(t *testing.T, env *testscript.Env, azure *emulatortest.Server, c *cluster.Cluster) error {
		if err := keepWorld(t, env, azure, c); err != nil {
			return err
		}
		if binary == "" {
			var err error
			if binary, err = product.Build(t.Context(), dir, "azwi-webhook", false); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		webhook, err := product.StartWebhook(ctx, product.WebhookConfig{
			Cluster: c, Binary: binary, Dir: filepath.Join(env.WorkDir, ".webhook"), Env: []string{"AZURE_TENANT_ID=" + env.Getenv("AZURE_TENANT_ID")},
		})
		if err != nil {
			return err
		}
		env.Defer(func() {
			if err := webhook.Stop(20 * time.Second); err != nil {
				t.Errorf("azwi-webhook ended badly: %v", err)
			}
		})
		env.Setenv("WEBHOOK_URL", "https://"+webhook.Addr+contract.WebhookPath)
		env.Setenv("TENANT", env.Getenv("AZURE_TENANT_ID"))
		values, err := yaml.Marshal(map[string]any{"certificates": map[string]any{"mode": "provided", "caBundle": string(c.CA.PEM)}})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(env.WorkDir, "ca.yaml"), values, 0o600); err != nil {
			return err
		}
		if err := writeReadme(env.WorkDir); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(env.WorkDir, "status-rights.yaml"), rights, 0o600)
	}}.run(t)
}

// writeReadme writes README's commands: use-it.sh, whose webhook runs outside the cluster,
// and plugin.sh, which writes into bin.
func writeReadme(dir string) error {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		return err
	}
	blocks := regexp.MustCompile("(?s)\n```sh\n(.*?\n)```\n").FindAllStringSubmatch(string(readme), -1)
	replaced := strings.NewReplacer(
		"--image-registry registry.example.com", "--image-registry registry.example.com --set externalURL=$WEBHOOK_URL -f ca.yaml",
		"/usr/local/bin", "bin",
	)
	for i, name := range []string{"use-it.sh", "plugin.sh"} {
		if i >= len(blocks) {
			return fmt.Errorf("README.md has no commands for %s", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(replaced.Replace(blocks[i][1])), 0o600); err != nil {
			return err
		}
	}
	return nil
}
