package policy_test

import (
	"context"
	"os"
	"testing"
	"time"

	"azwi/internal/pod/policy"
	"azwi/test/cluster"
	"azwi/test/product"
)

var control = cluster.Shared{Config: cluster.Config{AuditPods: true}}

func TestMain(m *testing.M) { os.Exit(control.Run(m)) }

type object = map[string]any

// newNamespace makes a namespace for one test.
func newNamespace(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	name, err := c.NewNamespace(t.Context(), "policy")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// install installs the policies for one namespace, under its name, until the test
// ends.
func install(t *testing.T, c *cluster.Cluster, namespace string, config policy.Config) {
	t.Helper()
	config.Name = namespace
	t.Cleanup(func() {
		if err := product.RemovePolicy(context.WithoutCancel(t.Context()), c, config); err != nil {
			t.Errorf("remove the policies: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := product.InstallPolicy(ctx, c, config, namespace); err != nil {
		t.Fatal(err)
	}
}
