package install

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
	"azwi/internal/pod/workload"
)

// probeAccount is the service account of the pods that are created without being
// kept.
const probeAccount = "azwi-probe"

func newProbeAccount(namespace string) Object {
	return Object{
		"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata": map[string]any{
			"name": probeAccount, "namespace": namespace,
			"labels":      map[string]any{contract.UseLabel: contract.UseLabelValue, "app.kubernetes.io/managed-by": "azwi"},
			"annotations": map[string]any{contract.ClientIDAnnotation: probeClientID},
		},
		"automountServiceAccountToken": false,
	}
}

const probeClientID = "00000000-0000-0000-0000-000000000000"

// probe has the API server admit a labelled pod, without keeping it, which may be a
// trial pod. It returns the tenant that was injected; empty if the pod was not changed.
func (c *cluster) probe(ctx context.Context, namespace, account string, trial bool) (tenant string, err error) {
	labels := map[string]any{contract.UseLabel: contract.UseLabelValue}
	if trial {
		labels[trialLabel] = "true"
	}
	pod := map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"generateName": "azwi-probe-", "labels": labels},
		"spec": map[string]any{
			"serviceAccountName": account, "automountServiceAccountToken": false,
			"securityContext": map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
			"containers": []any{map[string]any{
				"name": "probe", "image": "azwi/probe",
				"resources": map[string]any{
					"requests": map[string]any{"cpu": "1m", "memory": "1Mi"}, "limits": map[string]any{"cpu": "1m", "memory": "1Mi"},
				},
				"securityContext": map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []string{"ALL"}}},
			}},
		},
	}
	var created struct{ Spec workload.PodSpec }
	_, err = c.Do(ctx, kube.Request{
		Method: http.MethodPost, Ref: kube.Ref{APIVersion: "v1", Kind: "Pod", Namespace: namespace}, DryRun: true, Body: pod,
	}, &created)
	if err != nil {
		return "", err
	}
	if created.Spec.Env(contract.EnvFederatedTokenFile) == "" {
		return "", nil
	}
	return created.Spec.Env(contract.EnvTenantID), nil
}

// poll asks again and again until done, another run has taken over, or ctx ends.
func (c *cluster) poll(ctx context.Context, late finding.Finding, done func() (bool, error)) error {
	const interval = 200 * time.Millisecond
	var last error
	for {
		ok, err := done()
		if ok {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		if theirs := c.stillOurs(ctx); errors.Is(theirs, finding.CodeOtherRun) {
			return theirs
		}
		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("timed out: %w: %w", late.Err(nil), errors.Join(last, ctx.Err()))
			}
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// settle gives API servers the time to see a registration; they do within a
// fraction of a second.
func settle(ctx context.Context) error {
	const enough = 2 * time.Second
	timer := time.NewTimer(enough)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// steady is how often in a row a probe must succeed: there may be several API
// servers, and each learns of a change by itself.
const steady = 3

// waitInjected waits until pods, or trial pods, get the tenant.
func (c *cluster) waitInjected(ctx context.Context, namespace, tenant string, trial bool) error {
	seen := 0
	return c.poll(ctx, finding.InjectionTimeout(namespace), func() (bool, error) {
		got, err := c.probe(ctx, namespace, probeAccount, trial)
		if err != nil {
			seen = 0
			return false, err
		}
		if got != tenant {
			seen = 0
			return false, finding.WrongTenant(got, tenant).Err(nil)
		}
		seen++
		return seen >= steady, nil
	})
}

// waitNotInjected waits until trial pods are left alone.
func (c *cluster) waitNotInjected(ctx context.Context, namespace string) error {
	seen := 0
	return c.poll(ctx, finding.TrialTimeout(namespace), func() (bool, error) {
		got, err := c.probe(ctx, namespace, probeAccount, true)
		if err != nil || got != "" {
			seen = 0
			return false, err
		}
		seen++
		return seen >= steady, nil
	})
}

// waitReady waits until the Deployment's pods are all of its newest form, and ready.
func (c *cluster) waitReady(ctx context.Context, namespace string) error {
	return c.poll(ctx, finding.ReplicasTimeout(), func() (bool, error) {
		var d deploymentStatus
		if err := c.Read(ctx, deploymentRef(namespace), &d); err != nil {
			return false, err
		}
		if !d.ready() {
			return false, d.notReady(namespace).Err(nil)
		}
		return true, nil
	})
}

type deploymentStatus struct {
	Metadata struct{ Generation int64 }
	Spec     struct {
		Replicas int64
		Template struct {
			Spec struct{ Containers []struct{ Image string } }
		}
	}
	Status struct {
		ObservedGeneration                           int64
		Replicas, UpdatedReplicas, AvailableReplicas int64
	}
}

func (d deploymentStatus) notReady(namespace string) finding.Finding {
	return finding.ReplicasNotReady(min(d.Status.AvailableReplicas, d.Status.UpdatedReplicas), d.Spec.Replicas, namespace)
}

func (d deploymentStatus) ready() bool {
	s := d.Status
	return s.ObservedGeneration >= d.Metadata.Generation && s.UpdatedReplicas == d.Spec.Replicas && s.Replicas == d.Spec.Replicas && s.AvailableReplicas == d.Spec.Replicas
}
