package admission_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"azwi/contract"
	"azwi/test/handlers"
	"azwi/test/product"
)

// TestFreshAccounts creates each pod as soon as its new service account is
// confirmed, twenty at a time: every one has the right identity.
func TestFreshAccounts(t *testing.T) {
	t.Parallel()
	const pods, atATime = 200, 20
	c := control.Start(t)
	namespace := newNamespace(t, c)
	process := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace})
	handlers.Register(t, c, product.Registration{Addr: process.Addr, Namespaces: []string{namespace}})

	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(atATime)
	for i := range pods {
		g.Go(func() error {
			name, clientID := fmt.Sprintf("fresh-%d", i), guid(i)
			if err := createAccount(ctx, c, namespace, name, clientID); err != nil {
				return err
			}
			pod, err := createPod(ctx, c, namespace, podOf(name, name))
			if err != nil {
				return err
			}
			if got := pod.Spec.Containers[0].env(contract.EnvClientID); got != clientID {
				return fmt.Errorf("pod of %s has identity %q, want %q", name, got, clientID)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d pods had the right identity", pods, pods)
}

// TestChangedAnnotation changes a service account's identity and, as soon as that
// is confirmed, creates a pod: never the old identity.
func TestChangedAnnotation(t *testing.T) {
	t.Parallel()
	const accounts, changes = 4, 50
	c := control.Start(t)
	namespace := newNamespace(t, c)
	process := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace})
	handlers.Register(t, c, product.Registration{Addr: process.Addr, Namespaces: []string{namespace}})

	g, ctx := errgroup.WithContext(t.Context())
	for a := range accounts {
		g.Go(func() error {
			name := fmt.Sprintf("changed-%d", a)
			if err := createAccount(ctx, c, namespace, name, guid(0)); err != nil {
				return err
			}
			for i := 1; i <= changes; i++ {
				clientID := guid(1000*a + i)
				patch := object{"metadata": object{"annotations": object{contract.ClientIDAnnotation: clientID}}}
				if _, err := c.Admin.Do(ctx, "PATCH", "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+name, patch, nil); err != nil {
					return err
				}
				pod, err := createPod(ctx, c, namespace, podOf(name, name))
				if err != nil {
					return err
				}
				if got := pod.Spec.Containers[0].env(contract.EnvClientID); got != clientID {
					return fmt.Errorf("change %d of %s: identity %q, want %q", i, name, got, clientID)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func guid(i int) string { return fmt.Sprintf("22222222-2222-2222-2222-%012d", i) }
