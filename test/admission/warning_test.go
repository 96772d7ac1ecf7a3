package admission_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"azwi/contract"
	"azwi/test/handlers"
	"azwi/test/product"
)

// TestWarningsAreAudited: only the pod's creator sees a warning, so the API server's
// audit log holds it as well.
func TestWarningsAreAudited(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	process := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace})
	handlers.Register(t, c, product.Registration{Addr: process.Addr, Namespaces: []string{namespace}})
	var created createdPod
	warnings, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods", podOf("audited", "default"), &created)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], contract.ClientIDAnnotation) {
		t.Fatalf("the creator saw %q", warnings)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if got, err := c.Audited(ctx, namespace, contract.WebhookName+"/client-id-missing"); err != nil || got != warnings[0] {
		t.Errorf("the audit log has %q (%v), the creator saw %q", got, err, warnings[0])
	}
	if metrics := get(t, "http://"+process.MetricsAddr+"/metrics"); !strings.Contains(metrics, `azwi_admission_warnings_total{reason="client-id-missing"}`) {
		t.Error("the warning was not counted")
	}
}
