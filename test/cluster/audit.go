package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// auditPolicy writes down the creation of pods: who, what, and the annotations of
// admission. Nothing of the pod itself.
const auditPolicy = `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],
"rules":[{"level":"Metadata","verbs":["create"],"resources":[{"resources":["pods"]}]},{"level":"None"}]}`

func (c *Cluster) auditLog() string { return c.path("log", "audit.log") }

// auditFlags writes the audit policy and returns the API server's flags for it.
func (c *Cluster) auditFlags() ([]string, error) {
	policy := c.path("audit.json")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	return []string{"--audit-policy-file=" + policy, "--audit-log-path=" + c.auditLog()}, nil
}

// Audited waits until the audit log has an annotation for the creation of a pod in
// the namespace, and returns its value. It needs Config.AuditPods. The API server
// writes the log behind its answer.
func (c *Cluster) Audited(ctx context.Context, namespace, annotation string) (string, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		value, err := c.searchAudit(namespace, annotation)
		if value != "" || err != nil {
			return value, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("the audit log of namespace %s has no %s: %w", namespace, annotation, ctx.Err())
		}
	}
}

func (c *Cluster) searchAudit(namespace, annotation string) (string, error) {
	file, err := os.Open(c.auditLog())
	if err != nil {
		return "", err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			ObjectRef   struct{ Namespace string }
			Annotations map[string]string
		}
		if json.Unmarshal(lines.Bytes(), &event) == nil && event.ObjectRef.Namespace == namespace && event.Annotations[annotation] != "" {
			return event.Annotations[annotation], nil
		}
	}
	return "", lines.Err()
}
