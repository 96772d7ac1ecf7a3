package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"azwi/contract"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/policy"
	"azwi/test/product"
)

// policies compares admission by policies with the webhook and with none, in
// namespaces with few and with many service accounts.
func (b *bench) policies(ctx context.Context) error {
	settings := inject.Settings{TenantID: product.TenantID, AuthorityHost: "https://login.microsoftonline.com/", Proxy: inject.Proxy{Image: "azwi/proxy:v1", NativeSidecar: true}}
	none := &contender{name: "no admission", namespace: "bench-policy-none"}
	hook := &contender{name: "azwi-webhook", namespace: "bench-policy-webhook"}
	all := []*contender{none, hook}
	every := policy.Config{Settings: settings, Name: "bench-every"}
	labelled := policy.Config{Settings: settings, Name: "bench-labelled", LabelledAccounts: true}
	var everyNamespaces, labelledNamespaces []string
	byAccounts := map[string]*contender{}
	for _, accounts := range []int{1, 100, 1000} {
		for kind, namespaces := range map[string]*[]string{"every": &everyNamespaces, "labelled": &labelledNamespaces} {
			c := &contender{name: fmt.Sprintf("policy, %d accounts, %s", accounts, kind), namespace: fmt.Sprintf("bench-policy-%s-%d", kind, accounts)}
			*namespaces = append(*namespaces, c.namespace)
			byAccounts[fmt.Sprint(kind, accounts)] = c
		}
		all = append(all, byAccounts[fmt.Sprint("every", accounts)], byAccounts[fmt.Sprint("labelled", accounts)])
	}
	for _, c := range all {
		if err := b.control.CreateNamespace(ctx, c.namespace); err != nil {
			return err
		}
		if err := b.createAccounts(ctx, c.namespace, 0, 1); err != nil {
			return err
		}
		label := object{"metadata": object{"labels": object{contract.UseLabel: contract.UseLabelValue}}}
		if _, err := b.control.Admin.Do(ctx, http.MethodPatch, "/api/v1/namespaces/"+c.namespace+"/serviceaccounts/"+accountName(0), label, nil); err != nil {
			return err
		}
	}
	for _, kind := range []string{"every", "labelled"} {
		for _, accounts := range []int{100, 1000} { // default, the probe's and one more are there
			if err := b.createAccounts(ctx, byAccounts[fmt.Sprint(kind, accounts)].namespace, 1, accounts); err != nil {
				return err
			}
		}
	}
	webhook, err := b.startOurs(ctx, "policy-webhook")
	if err != nil {
		return err
	}
	defer webhook.Stop(5 * time.Second) //nolint:errcheck // it was measured; how it ends is for tests
	hook.addr, hook.process = webhook.Addr, webhook.Child
	if err := b.register(ctx, hook); err != nil {
		return err
	}
	install, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := product.InstallPolicy(install, b.control, every, everyNamespaces...); err != nil {
		return err
	}
	if err := product.InstallPolicy(install, b.control, labelled, labelledNamespaces...); err != nil {
		return err
	}
	if err := b.latency(ctx, all); err != nil {
		return err
	}
	b.say("")
	few := byAccounts["every1"]
	b.target("p50 added by the policy, times what the webhook adds", ratio(few.at(50)-none.at(50), hook.at(50)-none.at(50)), 1, "")
	b.target("p99 of the policy, times the webhook's", ratio(few.at(99), hook.at(99)), 2, "")
	b.target("p50 added by 999 accounts that the selector leaves out", ms(byAccounts["labelled1000"].at(50)-byAccounts["labelled1"].at(50)), 0.3, " ms")
	if err := b.creations(ctx, none, hook, few, byAccounts["every1000"], byAccounts["labelled1000"]); err != nil {
		return err
	}
	for _, c := range []policy.Config{every, labelled} {
		if err := product.RemovePolicy(ctx, b.control, c); err != nil {
			return err
		}
	}
	return nil
}

// creations is how many pods 8 clients create in a second, each waiting for its
// answer.
func (b *bench) creations(ctx context.Context, contenders ...*contender) error {
	const clients = 8
	b.say("\n## Creations a second (dry run, %d clients, %d pods each)\n", clients, b.pods)
	for _, c := range contenders {
		start := time.Now()
		g, ctx := errgroup.WithContext(ctx)
		for range clients {
			g.Go(func() error {
				for range b.pods / clients {
					if _, _, err := b.createPod(ctx, c.namespace, accountName(0)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		b.say("  %-32s %6.0f", c.name, float64(b.pods/clients*clients)/time.Since(start).Seconds())
	}
	return nil
}
