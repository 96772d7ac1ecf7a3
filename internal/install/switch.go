package install

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"azwi/contract"
	"azwi/internal/apiserver"
)

// setAside keeps the old engine away from the namespace of the probes, so that a
// pod that is injected there was injected by the new one. Everywhere else the old
// engine goes on until the new one is proven. restore undoes it, if the old engine
// is still there; it may always be called.
func (p *plan) setAside(ctx, waiting context.Context) (restore func(context.Context), err error) {
	p.config.Report(fmt.Sprintf("keeping the %s out of namespace %s, to see the %s at work there", p.found.Engine, p.probe, p.engine))
	var undo []func(context.Context)
	restore = func(ctx context.Context) {
		for _, u := range undo {
			u(ctx)
		}
	}
	for _, s := range selectors(p.found.Engine) {
		u, err := p.cluster.exclude(ctx, s, p.probe)
		if err != nil {
			return restore, fmt.Errorf("keep %s out of namespace %s: %w", s.path, p.probe, err)
		}
		undo = append(undo, u)
	}
	return restore, p.cluster.waitNotInjected(waiting, p.probe)
}

// A selector is a namespace selector somewhere in an object.
type selector struct {
	path string // of the object
	at   string // JSON pointer
	keys []any  // the same, to find it
}

func selectors(engine string) []selector {
	if engine == EngineWebhook {
		return []selector{{webhookConfigurations + "/" + contract.WebhookConfiguration, "/webhooks/0/namespaceSelector", []any{"webhooks", 0, "namespaceSelector"}}}
	}
	const registration = "/apis/admissionregistration.k8s.io/v1/"
	var all []selector
	for _, binding := range []string{
		"validatingadmissionpolicybindings/" + policyName, "validatingadmissionpolicybindings/" + policyName + "-warnings", "mutatingadmissionpolicybindings/" + policyName,
	} {
		all = append(all, selector{registration + binding, "/spec/matchResources/namespaceSelector", []any{"spec", "matchResources", "namespaceSelector"}})
	}
	return all
}

// exclude adds a namespace to those that the selector leaves out.
func (c *cluster) exclude(ctx context.Context, s selector, namespace string) (undo func(context.Context), err error) {
	o, err := c.find(ctx, s.path)
	if err != nil || o == nil {
		return func(context.Context) {}, err
	}
	before, _ := lookup(map[string]any(o), s.keys...).(map[string]any)
	after := Merge(before, nil)
	expressions, _ := after["matchExpressions"].([]any)
	after["matchExpressions"] = append(append([]any{}, expressions...), map[string]any{
		"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": []string{namespace},
	})
	if err := c.set(ctx, s, after); err != nil {
		return func(context.Context) {}, err
	}
	return func(ctx context.Context) {
		// If the old engine was removed meanwhile there is nothing to do; and if
		// this fails, the next installation sets it right.
		_ = c.set(ctx, s, Merge(before, nil))
	}, nil
}

func (c *cluster) set(ctx context.Context, s selector, value map[string]any) error {
	_, err := c.Do(ctx, apiserver.Request{
		Method: http.MethodPatch, Path: s.path, ContentType: "application/json-patch+json",
		Query: url.Values{"fieldManager": {manager}},
		Body:  []map[string]any{{"op": "add", "path": s.at, "value": value}},
	}, nil)
	return err
}

// lookup follows member names and indices; nil if one is not there.
func lookup(v any, keys ...any) any {
	for _, key := range keys {
		switch key := key.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[key]
		case int:
			l, _ := v.([]any)
			if key >= len(l) {
				return nil
			}
			v = l[key]
		}
	}
	return v
}
