package install

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"time"

	"azwi/internal/finding"
	"azwi/internal/kube"
)

// takesOver reports whether this run begins to take over what is another's.
func (p *plan) takesOver() bool { return p.found != nil && p.found.Owner != OwnerAzwi }

// adopting reports whether this run moves the fields of others to azwi.
func (p *plan) adopting() bool {
	return p.takesOver() || p.found != nil && p.found.record != nil && p.found.record.TakeOver != nil
}

// rehearse has the API server check everything before the first write: every object,
// what is to be removed, and whether a pod may be tried.
func (p *plan) rehearse(ctx context.Context) error {
	for _, o := range p.objects {
		_, err := p.rehearseObject(ctx, o)
		if kube.IsNotFound(err) && o.Name() == probeAccount && p.probe != p.namespace {
			return finding.ProbeNamespaceMissing(p.cluster.NoNamespace(ctx, p.probe)).Err(err)
		}
		// What the object needs is not there yet: its namespace, or a binding's role.
		if err != nil && !kube.IsNotFound(err) {
			return finding.WouldRefuse(o.Ref(), err).Err(err)
		}
	}
	record, err := (&record{namespace: p.namespace}).object()
	if err != nil {
		return err
	}
	if _, err := p.rehearseObject(ctx, record); err != nil && !kube.IsNotFound(err) {
		return finding.WouldNotRecord(err).Err(err)
	}
	if f := p.found; f != nil && f.record != nil {
		if err := p.cluster.rehearseRemoval(ctx, p.unwanted(f.record.Objects)); err != nil {
			return err
		}
	}
	if p.config.NoWait {
		return nil
	}
	if err := p.cluster.mayCreatePods(ctx, p.probe); errors.Is(err, finding.CodePodsNotCreatable) {
		return finding.NotVerifiable(err).Err(err)
	}
	return nil
}

// rehearseRemoval has the API server say whether it would remove objects.
func (c *cluster) rehearseRemoval(ctx context.Context, objects []kube.Ref) error {
	for _, ref := range objects {
		if _, err := c.Delete(ctx, ref, true); err != nil {
			return finding.WouldNotRemove(ref, err).Err(err)
		}
	}
	return nil
}

// rehearseObject returns the object as the API server would have it.
func (p *plan) rehearseObject(ctx context.Context, o Object) (applied Object, err error) {
	request := kube.Apply(o.Ref(), manager, o)
	if p.adopting() && adoptsFields(o.Kind()) {
		have, err := p.cluster.find(ctx, o.Ref())
		if err != nil {
			return nil, err
		}
		if have != nil {
			// By the time it is applied, azwi has the fields of the others.
			want := maps.Clone(o)
			want["metadata"] = with(o.metadata(), have.metadata()["resourceVersion"], "resourceVersion")
			request = kube.Request{Method: http.MethodPut, Ref: o.Ref(), Manager: manager, Body: want}
		}
	}
	request.DryRun = true
	_, err = p.cluster.Do(ctx, request, &applied)
	return applied, err
}

// A former state is what was there before a take-over.
type former struct {
	objects []Object
	created []kube.Ref // what was not
}

// former reads what a take-over is about to change; nil if this run begins none.
func (p *plan) former(ctx context.Context) (*former, error) {
	if !p.takesOver() {
		return nil, nil
	}
	foreign, err := p.cluster.foreign(ctx, p.found)
	if err != nil {
		return nil, err
	}
	f := &former{}
	for found := range p.cluster.Walk(ctx, wanted(union(refs(p.objects), foreign))) {
		switch {
		case found.Err != nil:
			return nil, found.Err
		case found.State == kube.Missing:
			f.created = append(f.created, found.Ref)
		default:
			f.objects = append(f.objects, found.Installed)
		}
	}
	return f, nil
}

// putBack undoes a take-over that failed for a cause, even if the user has ended it.
// The former pods are brought back before anything that they need changes: the last
// object applied is the first to go back, and what was new goes after all others.
func (p *plan) putBack(ctx context.Context, f *former, cause error) error {
	if f == nil {
		return cause
	}
	const enough = time.Minute
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), enough)
	defer cancel()
	p.config.Report("putting back what was there before")
	var failed []error
	for _, o := range slices.Backward(f.objects) {
		if err := p.cluster.restore(ctx, o); err != nil {
			failed = append(failed, fmt.Errorf("put back %s: %w", o.Ref(), err))
		}
	}
	slices.Reverse(f.created)
	for _, ref := range f.created {
		if len(failed) > 0 {
			break // what is new may be needed, and the record says how to go on
		}
		if _, err := p.cluster.Delete(ctx, ref, false); err != nil {
			failed = append(failed, fmt.Errorf("remove %s: %w", ref, err))
		}
	}
	if len(failed) == 0 && p.cluster.record != nil {
		if err := p.cluster.removeRecord(ctx); err != nil {
			failed = append(failed, fmt.Errorf("remove azwi's record: %w", err))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return finding.NotPutBack(cause, err).Err(errors.Join(cause, err))
	}
	return fmt.Errorf("%w; everything is as it was before", cause)
}

// restore brings an object back to what it was, but for what others keep in it.
func (c *cluster) restore(ctx context.Context, was Object) error {
	now, err := c.find(ctx, was.Ref())
	if err != nil {
		return err
	}
	if now == nil || now.metadata()["resourceVersion"] == was.metadata()["resourceVersion"] {
		return nil // somebody removed it, or nobody changed it
	}
	want := Object(with(was, now.metadata()["resourceVersion"], "metadata", "resourceVersion"))
	switch was.Kind() {
	case "Secret":
		delete(want, "data")
		if data, ok := now["data"]; ok {
			want["data"] = data
		}
	case "MutatingWebhookConfiguration":
		want["webhooks"] = withBundles(was["webhooks"], now["webhooks"])
	}
	if _, err := c.Do(ctx, kube.Request{
		Method: http.MethodPut, Ref: was.Ref(), Manager: manager + "-take-over", Body: want,
	}, nil); err != nil {
		return err
	}
	owners, ok := was.metadata()["managedFields"]
	if !ok {
		return nil
	}
	_, err = c.Do(ctx, kube.Request{
		Method: http.MethodPatch, Ref: was.Ref(), Manager: manager + "-take-over", ContentType: "application/merge-patch+json", Body: map[string]any{"metadata": map[string]any{"managedFields": owners}},
	}, nil)
	return err
}

// withBundles returns webhooks with the authorities that the webhook has written into
// the present ones: it may have renewed its certificate in between.
func withBundles(was, now any) any {
	var webhooks []any
	all, _ := was.([]any)
	for i, w := range all {
		w, _ := w.(map[string]any)
		if bundle := lookup(now, i, "clientConfig", "caBundle"); bundle != nil {
			w = with(w, bundle, "clientConfig", "caBundle")
		}
		webhooks = append(webhooks, w)
	}
	return webhooks
}

// widened returns a role with the rights that it has now, too: the former pods need
// them until the new ones have replaced them.
func (p *plan) widened(ctx context.Context, o Object) (Object, error) {
	if o.Kind() != "ClusterRole" && o.Kind() != "Role" {
		return o, nil
	}
	have, err := p.cluster.find(ctx, o.Ref())
	if err != nil {
		return nil, err
	}
	rules, _ := o["rules"].([]any)
	rules = slices.Clone(rules)
	present, _ := have["rules"].([]any)
	for _, rule := range present {
		if !slices.ContainsFunc(rules, func(r any) bool { return reflect.DeepEqual(r, rule) }) {
			rules = append(rules, rule)
		}
	}
	return with(o, rules, "rules"), nil
}

// narrow takes away the rights that only the former pods needed.
func (p *plan) narrow(ctx context.Context) error {
	for _, o := range p.objects {
		if o.Kind() != "ClusterRole" && o.Kind() != "Role" {
			continue
		}
		wide, err := p.widened(ctx, o)
		switch {
		case err != nil:
			return err
		case reflect.DeepEqual(wide["rules"], o["rules"]):
		case p.config.NoWait:
			p.config.Report(finding.RightsKept(o.Ref()).Text())
		default:
			if err := p.applyObject(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}
