package admission_test

import (
	"bufio"
	"encoding/json"
	"os"
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
	if got := audited(t, namespace, contract.WebhookName+"/client-id-missing"); got != warnings[0] {
		t.Errorf("the audit log has %q, the creator saw %q", got, warnings[0])
	}
	if metrics := get(t, "http://"+process.MetricsAddr+"/metrics"); !strings.Contains(metrics, `azwi_admission_warnings_total{reason="client-id-missing"}`) {
		t.Error("the warning was not counted")
	}
}

// audited waits for the pod's event in the audit log, which is written behind the
// answer, and returns the annotation.
func audited(t *testing.T, namespace, annotation string) string {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		file, err := os.Open(auditLog)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var event struct {
				ObjectRef   struct{ Namespace, Name string }
				Annotations map[string]string
			}
			if json.Unmarshal(lines.Bytes(), &event) == nil && event.ObjectRef.Namespace == namespace && event.Annotations[annotation] != "" {
				_ = file.Close()
				return event.Annotations[annotation]
			}
		}
		_ = file.Close()
	}
	t.Fatalf("the audit log never had %s", annotation)
	return ""
}
