package install

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
)

// trialLabel is on the pods by which an engine is tried. While it is, the serving
// engine leaves those pods out and the new one takes no others, so that a pod that is
// injected was injected by the new one. No pod of a user's is concerned.
const trialLabel = "azure-workload-identity.io/trial"

// other is the engine that is not this one.
func other(engine string) string {
	if engine == EngineWebhook {
		return EnginePolicy
	}
	return EngineWebhook
}

// try proves the new engine on trial pods alone. The serving engine goes on
// everywhere, whatever comes of it.
func (p *plan) try(ctx context.Context) error {
	err := p.trial(ctx)
	if err == nil {
		return nil
	}
	// Even if the user has just ended this.
	if undo := p.cluster.mark(context.WithoutCancel(ctx), registrations(p.found.Engine), ""); undo != nil && !errors.Is(undo, finding.CodeOtherRun) {
		p.config.Report("warning: " + finding.TrialLeft(p.found.Engine, trialLabel, undo).Text())
	}
	return err
}

func (p *plan) trial(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	if err := p.applyObject(ctx, p.objects[1]); err != nil {
		return err
	}
	p.config.Report(fmt.Sprintf("testing the %s in namespace %s, where the %s ignores trial pods", p.engine, p.probe, p.found.Engine))
	if err := p.cluster.mark(ctx, registrations(p.found.Engine), "DoesNotExist"); err != nil {
		return fmt.Errorf("exclude trial pods from the %s: %w", p.found.Engine, err)
	}
	// What an interrupted switch left of the new engine would hide that the other
	// still injects.
	for _, ref := range slices.Backward(registrations(p.engine)) {
		if _, err := p.cluster.Delete(ctx, ref, false); err != nil {
			return fmt.Errorf("remove %s before the trial: %w", ref, err)
		}
	}
	if err := p.cluster.waitNotInjected(waiting, p.probe); err != nil {
		return err
	}
	for _, o := range p.objects[2:] {
		if err := p.applyObject(ctx, restricted(o)); err != nil {
			return err
		}
	}
	return p.prove(waiting, true)
}

// restricted returns an object that applies to trial pods only, if it is one that
// applies to pods.
func restricted(o Object) Object {
	switch o.Kind() {
	case "MutatingWebhookConfiguration":
		var webhooks []any
		all, _ := o["webhooks"].([]any)
		for _, w := range all {
			w, _ := w.(map[string]any)
			selector, _ := w["objectSelector"].(map[string]any)
			webhooks = append(webhooks, with(w, marked(selector, "Exists"), "objectSelector"))
		}
		o = with(o, webhooks, "webhooks")
	case "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding":
		selector, _ := lookup(map[string]any(o), "spec", "matchResources", "objectSelector").(map[string]any)
		o = with(o, marked(selector, "Exists"), "spec", "matchResources", "objectSelector")
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

// marked returns a label selector that leaves trial pods out (DoesNotExist), takes
// no others (Exists), or makes no difference between pods (empty).
func marked(selector map[string]any, operator string) map[string]any {
	m := Merge(selector, nil)
	old, _ := m["matchExpressions"].([]any)
	delete(m, "matchExpressions")
	var expressions []any
	for _, e := range old {
		if lookup(e, "key") != trialLabel {
			expressions = append(expressions, e)
		}
	}
	if operator != "" {
		expressions = append(expressions, map[string]any{"key": trialLabel, "operator": operator})
	}
	if len(expressions) > 0 {
		m["matchExpressions"] = expressions
	}
	return m
}

// registrations are the objects by which the API server asks an engine about pods.
// Removing the last of them ends the injection.
func registrations(engine string) []kube.Ref {
	if engine == EngineWebhook {
		return []kube.Ref{webhookConfigurationRef(contract.WebhookConfiguration)}
	}
	// What only warns may stay.
	return []kube.Ref{
		{APIVersion: admissionVersion, Kind: "ValidatingAdmissionPolicyBinding", Name: policyName},
		{APIVersion: admissionVersion, Kind: "MutatingAdmissionPolicyBinding", Name: policyName},
	}
}

// registered reports whether the API server asks an engine that is among objects.
func (c *cluster) registered(ctx context.Context, engine string, objects []kube.Ref) (bool, error) {
	all := registrations(engine)
	last := all[len(all)-1]
	if !slices.Contains(objects, last) {
		return false, nil
	}
	o, err := c.find(ctx, last)
	return o != nil, err
}

// mark changes the object selectors of registrations, as far as these are there.
func (c *cluster) mark(ctx context.Context, registrations []kube.Ref, operator string) error {
	return c.patchSelectors(ctx, registrations, "objectSelector", func(selector map[string]any) map[string]any { return marked(selector, operator) })
}

// include undoes how older versions kept an engine out of the namespace of probes.
func (c *cluster) include(ctx context.Context, registrations []kube.Ref, namespace string) error {
	return c.patchSelectors(ctx, registrations, "namespaceSelector", func(selector map[string]any) map[string]any {
		expressions, _ := selector["matchExpressions"].([]any)
		excluded := map[string]any{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": []any{namespace}}
		left := slices.DeleteFunc(slices.Clone(expressions), func(e any) bool { return reflect.DeepEqual(e, excluded) })
		if len(left) == len(expressions) {
			return Merge(selector, nil)
		}
		return with(selector, left, "matchExpressions")
	})
}

func (c *cluster) patchSelectors(ctx context.Context, registrations []kube.Ref, name string, change func(map[string]any) map[string]any) error {
	for _, ref := range registrations {
		o, err := c.find(ctx, ref)
		if err != nil {
			return err
		}
		var patch []map[string]any
		for at, holder := range selectorHolders(o) {
			have, _ := holder[name].(map[string]any)
			if want := change(have); !reflect.DeepEqual(want, Merge(have, nil)) {
				patch = append(patch, map[string]any{"op": "add", "path": at + "/" + name, "value": want})
			}
		}
		if len(patch) == 0 {
			continue
		}
		// Not if somebody changes it in between.
		patch = append(patch, map[string]any{"op": "test", "path": "/metadata/resourceVersion", "value": o.metadata()["resourceVersion"]})
		if _, err := c.Do(ctx, kube.Request{
			Method: http.MethodPatch, Ref: ref, Manager: manager, ContentType: "application/json-patch+json", Body: patch,
		}, nil); err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
	}
	return nil
}

// selectorHolders are what has selectors in a registration, by their JSON pointers.
func selectorHolders(o Object) map[string]map[string]any {
	holders := map[string]map[string]any{}
	if m, ok := lookup(map[string]any(o), "spec", "matchResources").(map[string]any); ok {
		holders["/spec/matchResources"] = m
	}
	webhooks, _ := o["webhooks"].([]any)
	for i, w := range webhooks {
		if m, ok := w.(map[string]any); ok {
			holders[fmt.Sprintf("/webhooks/%d", i)] = m
		}
	}
	return holders
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
