package install

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"time"

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
		err := p.rehearseObject(ctx, o)
		if kube.IsNotFound(err) && o.Name() == probeAccount && p.probe != p.namespace {
			return fmt.Errorf("nothing was changed: --probe-namespace: %w", p.cluster.NoNamespace(ctx, p.probe))
		}
		// What the object needs is not there yet: its namespace, or a binding's role.
		if err != nil && !kube.IsNotFound(err) {
			return fmt.Errorf("nothing was changed, because the API server would refuse %s: %w", o.Ref(), err)
		}
	}
	record, err := (&record{namespace: p.namespace}).object()
	if err != nil {
		return err
	}
	if err := p.rehearseObject(ctx, record); err != nil && !kube.IsNotFound(err) {
		return fmt.Errorf("nothing was changed, because azwi could not record what it does: %w", err)
	}
	if f := p.found; f != nil && f.record != nil {
		if err := p.cluster.rehearseRemoval(ctx, p.unwanted(f.record.Objects)); err != nil {
			return err
		}
	}
	if p.config.NoWait {
		return nil
	}
	if err := p.cluster.mayCreatePods(ctx, p.probe); errors.Is(err, errMayNotCreatePods) {
		return fmt.Errorf("nothing was changed, because the installation could not be verified: %w; obtain the right, or use --wait=false", err)
	}
	return nil
}

// rehearseRemoval has the API server say whether it would remove objects.
func (c *cluster) rehearseRemoval(ctx context.Context, objects []Ref) error {
	for _, ref := range objects {
		path, err := ref.Path()
		if err != nil {
			return err
		}
		_, err = c.Do(ctx, kube.Request{Method: http.MethodDelete, Path: path, Query: url.Values{"dryRun": {"All"}}}, nil)
		if err != nil && !kube.IsNotFound(err) {
			return fmt.Errorf("nothing was changed, because the API server would not remove %s: %w", ref, err)
		}
	}
	return nil
}

func (p *plan) rehearseObject(ctx context.Context, o Object) error {
	path, err := o.Ref().Path()
	if err != nil {
		return err
	}
	if p.adopting() && adoptsFields(o.Kind()) {
		have, err := p.cluster.find(ctx, path)
		if err != nil {
			return err
		}
		if have != nil {
			// By the time it is applied, azwi has the fields of the others.
			want := maps.Clone(o)
			want["metadata"] = with(o.metadata(), have.metadata()["resourceVersion"], "resourceVersion")
			_, err = p.cluster.Do(ctx, kube.Request{
				Method: http.MethodPut, Path: path, Query: url.Values{"dryRun": {"All"}, "fieldManager": {manager}}, Body: want,
			}, nil)
			return err
		}
	}
	_, err = p.cluster.Apply(ctx, path, kube.Apply{Manager: manager, Force: true, DryRun: true}, o, nil)
	return err
}

// A former state is what was there before a take-over.
type former struct {
	objects []Object
	created []Ref // what was not
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
	for _, ref := range union(refs(p.objects), foreign) {
		o, err := p.cluster.get(ctx, ref)
		if err != nil {
			return nil, err
		}
		if o == nil {
			f.created = append(f.created, ref)
		} else {
			f.objects = append(f.objects, o)
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
		if _, err := p.cluster.remove(ctx, ref); err != nil {
			failed = append(failed, fmt.Errorf("remove %s: %w", ref, err))
		}
	}
	if len(failed) == 0 && p.cluster.record != nil {
		if err := p.cluster.removeRecord(ctx); err != nil {
			failed = append(failed, fmt.Errorf("remove azwi's record: %w", err))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%w; and not everything could be put back as it was, so run the same command again: %w", cause, err)
	}
	return fmt.Errorf("%w; everything is as it was before", cause)
}

// restore brings an object back to what it was, but for what others keep in it.
func (c *cluster) restore(ctx context.Context, was Object) error {
	path, err := was.Ref().Path()
	if err != nil {
		return err
	}
	now, err := c.find(ctx, path)
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
		Method: http.MethodPut, Path: path, Query: url.Values{"fieldManager": {manager + "-take-over"}}, Body: want,
	}, nil); err != nil {
		return err
	}
	owners, ok := was.metadata()["managedFields"]
	if !ok {
		return nil
	}
	_, err = c.Do(ctx, kube.Request{
		Method: http.MethodPatch, Path: path, ContentType: "application/merge-patch+json",
		Query: url.Values{"fieldManager": {manager + "-take-over"}}, Body: map[string]any{"metadata": map[string]any{"managedFields": owners}},
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
	have, err := p.cluster.get(ctx, o.Ref())
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
			p.config.Report(fmt.Sprintf("%s keeps the rights that the former pods need: once the new ones are ready, run azwi upgrade", o.Ref()))
		default:
			if err := p.applyObject(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}
