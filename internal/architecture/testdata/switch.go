package install

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"azwi/contract"
	"azwi/internal/apiserver"
)

// try brings the new engine up for the namespace of the probes alone, and keeps the
// old one out of it, so that a pod that is injected there was injected by the new
// one. Everywhere else the old engine goes on, whatever comes of it.
func (p *plan) try(ctx, waiting context.Context) (err error) {
	if err := p.applyObject(ctx, p.objects[1]); err != nil {
		return err
	}
	p.config.Report(fmt.Sprintf("trying the %s in namespace %s, where the %s keeps out", p.engine, p.probe, p.found.Engine))
	for _, s := range selectors(p.found.Engine) {
		undo, err := p.cluster.exclude(ctx, s, p.probe)
		if err != nil {
			return fmt.Errorf("keep %s out of namespace %s: %w", s.path, p.probe, err)
		}
		defer func() {
			if err != nil { // else the old engine is removed
				undo(context.WithoutCancel(ctx))
			}
		}()
	}
	if err := p.cluster.waitNotInjected(waiting, p.probe); err != nil {
		return err
	}
	for _, o := range p.objects[1:] {
		if err := p.applyObject(ctx, restricted(o, p.probe)); err != nil {
			return err
		}
	}
	return p.prove(waiting)
}

// restricted returns an object that applies to one namespace only, if it is one
// that applies to namespaces.
func restricted(o Object, namespace string) Object {
	only := map[string]any{"matchExpressions": []any{map[string]any{
		"key": "kubernetes.io/metadata.name", "operator": "In", "values": []any{namespace},
	}}}
	switch o.Kind() {
	case "MutatingWebhookConfiguration":
		var webhooks []any
		all, _ := o["webhooks"].([]any)
		for _, w := range all {
			w, _ := w.(map[string]any)
			webhooks = append(webhooks, with(w, only, "namespaceSelector"))
		}
		o = with(o, webhooks, "webhooks")
	case "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding":
		o = with(o, only, "spec", "matchResources", "namespaceSelector")
	}
	return o
}

// with returns a copy of o that has value at the place that the members' names lead to.
func with(o map[string]any, value any, names ...string) map[string]any {
	copied := maps.Clone(o)
	if copied == nil {
		copied = map[string]any{}
	}
	if len(names) > 1 {
		inner, _ := o[names[0]].(map[string]any)
		value = with(inner, value, names[1:]...)
	}
	copied[names[0]] = value
	return copied
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
	// What only warns may stay.
	for _, binding := range []string{"validatingadmissionpolicybindings/" + policyName, "mutatingadmissionpolicybindings/" + policyName} {
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
