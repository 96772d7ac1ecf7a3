package policy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"azwi/contract"
	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/policy"
	"azwi/test/cluster"
)

// TestFreshAccounts creates each pod as soon as its new service account is
// confirmed, twenty at a time: every one has the right identity or is denied with
// the advice to try again, none starts without.
func TestFreshAccounts(t *testing.T) {
	t.Parallel()
	const pods, atATime = 300, 20
	c := control.Start(t)
	namespace := newNamespace(t, c)
	install(t, c, namespace, policy.Config{Settings: injecttest.Settings()})

	var mu sync.Mutex
	denied := 0
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(atATime)
	for i := range pods {
		g.Go(func() error {
			name := fmt.Sprintf("fresh-%d", i)
			if err := createAccount(ctx, c, namespace, name, guid(i), nil); err != nil {
				return err
			}
			got, err := createPod(ctx, c, namespace, name)
			if status, ok := errors.AsType[*cluster.StatusError](err); ok && status.Code == http.StatusForbidden && strings.Contains(status.Message, "try again") {
				mu.Lock()
				denied++
				mu.Unlock()
				return nil
			}
			if err == nil && got != guid(i) {
				err = fmt.Errorf("pod of %s has identity %q, want %q", name, got, guid(i))
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pods: %d with the right identity, %d denied", pods, pods-denied, denied)
}

// TestLag measures how long a changed annotation stays unseen. It fails only if the
// new identity is never seen; docs/policy.md has the figures.
func TestLag(t *testing.T) {
	t.Parallel()
	const changes = 50
	c := control.Start(t)
	namespace := newNamespace(t, c)
	install(t, c, namespace, policy.Config{Settings: injecttest.Settings()})
	if err := createAccount(t.Context(), c, namespace, "changed", guid(0), nil); err != nil {
		t.Fatal(err)
	}
	waitIdentity(t, c, namespace, "changed", guid(0))
	var lags []time.Duration
	stale := 0
	for i := 1; i <= changes; i++ {
		patch := object{"metadata": object{"annotations": object{contract.ClientIDAnnotation: guid(i)}}}
		if _, err := c.Admin.Do(t.Context(), "PATCH", "/api/v1/namespaces/"+namespace+"/serviceaccounts/changed", patch, nil); err != nil {
			t.Fatal(err)
		}
		tries, took := waitIdentity(t, c, namespace, "changed", guid(i))
		if tries > 1 {
			stale++
		}
		lags = append(lags, took)
	}
	slices.Sort(lags)
	t.Logf("%d changes: the first pod had the old identity %d times; seen after p50 %v, p95 %v, at most %v",
		changes, stale, lags[changes/2], lags[changes*95/100], lags[changes-1])
}

// waitIdentity creates pods, without keeping them, until one has the identity.
func waitIdentity(t *testing.T, c *cluster.Cluster, namespace, account, want string) (tries int, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	start := time.Now()
	for {
		asked := time.Since(start)
		tries++
		got, err := createPod(ctx, c, namespace, account)
		switch {
		case err == nil && got == want:
			return tries, asked
		case ctx.Err() != nil:
			t.Fatalf("identity %q after %d tries, want %q: %v", got, tries, want, err)
		}
	}
}

// TestFailClosed has pods of accounts that the policy does not see: denied.
func TestFailClosed(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	install(t, c, namespace, policy.Config{Settings: injecttest.Settings(), LabelledAccounts: true})
	if err := createAccount(t.Context(), c, namespace, "labelled", guid(1), object{contract.UseLabel: "true"}); err != nil {
		t.Fatal(err)
	}
	if err := createAccount(t.Context(), c, namespace, "plain", guid(2), nil); err != nil {
		t.Fatal(err)
	}
	waitIdentity(t, c, namespace, "labelled", guid(1))
	_, err := createPod(t.Context(), c, namespace, "plain")
	status, ok := errors.AsType[*cluster.StatusError](err)
	if !ok || status.Code != http.StatusForbidden {
		t.Fatalf("got %v, want a denial", err)
	}
	for _, want := range []string{namespace + "/plain", `label azure.workload.identity/use: "true"`, "try again"} {
		if !strings.Contains(status.Message, want) {
			t.Errorf("%q does not say %q", status.Message, want)
		}
	}
}

func createAccount(ctx context.Context, c *cluster.Cluster, namespace, name, clientID string, labels object) error {
	_, err := c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/serviceaccounts", object{
		"metadata": object{"name": name, "labels": labels, "annotations": object{contract.ClientIDAnnotation: clientID}},
	}, nil)
	return err
}

func podOf(account string) object {
	return object{
		"metadata": object{"name": account, "labels": object{contract.UseLabel: contract.UseLabelValue}},
		"spec":     object{"serviceAccountName": account, "containers": []object{{"name": "app", "image": "app:1"}}},
	}
}

// createdPod is what the tests look at in an answer.
type createdPod struct {
	Spec struct {
		InitContainers []createdContainer      `json:"initContainers"`
		Containers     []createdContainer      `json:"containers"`
		Volumes        []struct{ Name string } `json:"volumes"`
	} `json:"spec"`
}

type createdContainer struct {
	Name         string                             `json:"name"`
	Env          []struct{ Name, Value string }     `json:"env"`
	VolumeMounts []struct{ Name, MountPath string } `json:"volumeMounts"`
}

// createPod creates a pod, without keeping it, and returns its identity.
func createPod(ctx context.Context, c *cluster.Cluster, namespace, account string) (string, error) {
	var pod createdPod
	if _, err := c.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", podOf(account), &pod); err != nil {
		return "", err
	}
	for _, e := range pod.Spec.Containers[0].Env {
		if e.Name == contract.EnvClientID {
			return e.Value, nil
		}
	}
	return "", nil
}

func guid(i int) string { return fmt.Sprintf("22222222-2222-2222-2222-%012d", i) }
