// Package cli_test runs azwi as its users do, by scripts: against a real API
// server, and the local cloud in place of Azure. testdata has a folder for each
// area of commands.
package cli_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/internal/cli"
	"azwi/test/cluster"
)

var (
	control cluster.Shared
	update  = flag.Bool("update", false, "write what was printed into the scripts")
)

// tests runs the tests of a package and then stops its control plane.
type tests struct{ m *testing.M }

func (t tests) Run() int { return control.Run(t.m) }

// Scripts run azwi as a process of its own: this test binary under another name.
func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){
		"azwi": azwi, "kubectl-azwi": azwi, "kubectl_complete-azwi": azwi, "client": client, "screen": screen,
	})
}

func azwi() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // a program begins its context
	defer stop()
	os.Exit(cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Program: filepath.Base(os.Args[0])}, os.Getenv))
}

// A suite runs the scripts of one folder of testdata, each with an emulator and a
// namespace of its own.
type suite struct {
	// folder of testdata.
	folder string
	// commands are more commands for these scripts.
	commands map[string]func(ts *testscript.TestScript, neg bool, args []string)
	// cluster is another one than that which suites share. Optional.
	cluster *cluster.Cluster
	// serial runs one script after another, as what they install holds for all
	// namespaces.
	serial bool
	// setup prepares a script further. Optional.
	setup func(t *testing.T, env *testscript.Env, azure *emulatortest.Server, c *cluster.Cluster) error
}

// run runs the scripts in parallel. A script has
//
//   - $KUBECONFIG of the cluster's administrator, $NAMESPACE: one of its own, $ISSUER, $KUBE: the
//     multi-call binary (exec $KUBE kubectl ...)
//   - an emulator without propagation delay, reached by $HTTPS_PROXY and trusted by
//     $SSL_CERT_FILE; $AUTHORITY is its direct way in, $EMULATOR_ADMIN and
//     $EMULATOR_ADMIN_TOKEN its management API
//   - $AZURE_TENANT_ID, $AZURE_SUBSCRIPTION_ID, $RESOURCE_GROUP, $OPERATOR and
//     $AZURE_CLIENT_SECRET: --client-id $OPERATOR signs in as who may do everything
//   - `schema SCHEMA.json FILE` checks JSON by a schema of docs/schema
//   - a file seed.yaml in the script adds to the emulator's seed; $ISSUER and $NAMESPACE may
//     stand in it
//
// `go test ./cli -update` writes what was printed into the scripts' cmp files.
func (s suite) run(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", s.folder, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata/%s: %v", s.folder, err)
	}
	c := s.cluster
	if c == nil {
		c = control.Start(t)
	}
	commands := map[string]func(ts *testscript.TestScript, neg bool, args []string){"schema": schema}
	maps.Copy(commands, s.commands)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			if !s.serial {
				t.Parallel()
			}
			testscript.Run(t, testscript.Params{
				Files: []string{file}, Cmds: commands, UpdateScripts: *update, RequireExplicitExec: true,
				Setup: func(env *testscript.Env) error { return s.prepare(t, env, c) },
			})
		})
	}
}

func (s suite) prepare(t *testing.T, env *testscript.Env, c *cluster.Cluster) error {
	namespace, err := c.NewNamespace(t.Context(), "cli")
	if err != nil {
		return err
	}
	seed, err := seedOf(env.WorkDir, namespace, c)
	if err != nil {
		return err
	}
	azure := emulatortest.Start(t, emulator.Config{Seed: seed})
	roots := filepath.Join(env.WorkDir, ".azure-ca.crt")
	if err := os.WriteFile(roots, azure.CA(), 0o600); err != nil {
		return err
	}
	for key, value := range map[string]string{
		"KUBECONFIG": c.Kubeconfig, "KUBE": c.Binary, "NAMESPACE": namespace, "ISSUER": c.Issuer,
		"HTTPS_PROXY": azure.ProxyURL, "https_proxy": azure.ProxyURL, "HTTP_PROXY": azure.ProxyURL, "SSL_CERT_FILE": roots,
		"AUTHORITY": azure.AuthorityURL, "EMULATOR_ADMIN": azure.AdminURL, "EMULATOR_ADMIN_TOKEN": azure.AdminToken(),
		"AZURE_TENANT_ID": emulator.DefaultTenantID, "AZURE_SUBSCRIPTION_ID": emulator.DefaultSubscriptionID,
		"RESOURCE_GROUP": emulator.DefaultResourceGroup, "OPERATOR": emulator.DefaultOperatorID,
		"AZURE_CLIENT_SECRET": emulator.DefaultOperatorSecret, "AZURE_CONFIG_DIR": filepath.Join(env.WorkDir, ".azure"),
	} {
		env.Setenv(key, value)
	}
	if s.setup != nil {
		return s.setup(t, env, azure, c)
	}
	return nil
}

// seedOf is what the emulator begins with: an operator who may do everything, and
// what the script's seed.yaml adds.
func seedOf(dir, namespace string, c *cluster.Cluster) ([]byte, error) {
	seed := map[string]any{}
	base := fmt.Sprintf(`
servicePrincipals:
  - name: operator
    appId: %s
    secrets: [{value: %s}]
    directoryRoles: [Application Administrator]
    appRoles: [Application.ReadWrite.All]
roleAssignments: [{role: Owner, principal: operator}]
issuers:
  %s: {url: "%s/openid/v1/jwks", caFile: %q}
replication: {minDelay: 0s, maxDelay: 0s, missMemory: 0s}
`, emulator.DefaultOperatorID, emulator.DefaultOperatorSecret, c.Issuer, c.Issuer, c.CAFile)
	if err := yaml.Unmarshal([]byte(base), &seed); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "seed.yaml"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	more := map[string]any{}
	expanded := strings.NewReplacer("$ISSUER", c.Issuer, "$NAMESPACE", namespace).Replace(string(raw))
	if err := yaml.Unmarshal([]byte(expanded), &more); err != nil {
		return nil, fmt.Errorf("seed.yaml: %w", err)
	}
	for key, value := range more {
		switch value := value.(type) {
		case []any:
			have, _ := seed[key].([]any) // absent is none
			seed[key] = append(have, value...)
		case map[string]any:
			if have, ok := seed[key].(map[string]any); ok {
				maps.Copy(have, value)
				continue
			}
			seed[key] = value
		default:
			seed[key] = value
		}
	}
	return yaml.Marshal(seed)
}
