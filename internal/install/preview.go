package install

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"helm.sh/helm/v4/pkg/chart/common"

	"azwi/internal/kube"
)

// OfflineMinor is the minor version of Kubernetes that Offline renders for.
const OfflineMinor = firstWithPolicies

// Offline renders what would be applied to a cluster in which nothing is installed. It asks
// none, so Client may be nil.
func Offline(ctx context.Context, c Config) ([]Object, error) {
	have, _ := c.Values["engine"].(string)
	p := &plan{
		config: c, namespace: cmp.Or(c.Namespace, DefaultNamespace), release: DefaultRelease,
		engine: cmp.Or(c.Engine, have, EngineWebhook),
	}
	if p.engine == EngineAuto {
		p.engine = EnginePolicy
	}
	p.probe, p.values = cmp.Or(c.ProbeNamespace, p.namespace), Merge(c.Values, map[string]any{"engine": p.engine})
	objects, _, err := Render(ctx, Release{
		Name: p.release, Namespace: p.namespace, Values: p.values, Version: c.Version,
		Kubernetes: fmt.Sprintf("v1.%d.0", OfflineMinor), APIVersions: common.DefaultCapabilities.APIVersions,
	})
	return p.withOwn(objects), err
}

// A Change is what an upgrade would do to an object.
type Change struct {
	Ref kube.Ref
	// Sign is +, ~ or -: created, changed or removed.
	Sign string
	// Diff is a unified diff of its YAML, without a header. Empty for a Secret, which is
	// never shown, and for an object that is removed.
	Diff string
}

// Changes returns what an upgrade would change, as the API server says in a dry run, and
// changes nothing.
func Changes(ctx context.Context, c Config) ([]Change, error) {
	p, err := newPlan(ctx, c, true)
	if err != nil {
		return nil, err
	}
	r, err := p.before(ctx)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, o := range slices.Concat([]Object{p.ownNamespace(r)}, p.objects[1:]) {
		change, err := p.preview(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("compare %s: %w", o.Ref(), err)
		}
		if change != nil {
			changes = append(changes, *change)
		}
	}
	for _, ref := range p.unwanted(r.Objects) {
		changes = append(changes, Change{Ref: ref, Sign: "-"})
	}
	return changes, nil
}

// preview is nil if the object stays as it is.
func (p *plan) preview(ctx context.Context, o Object) (*Change, error) {
	have, err := p.cluster.find(ctx, o.Ref())
	if err != nil {
		return nil, err
	}
	want, err := p.rehearseObject(ctx, o)
	switch {
	case kube.IsNotFound(err) && have == nil:
		want = o // what it needs is not there yet, such as its namespace
	case err != nil:
		return nil, err
	}
	change := &Change{Ref: o.Ref(), Sign: "~"}
	var before []byte
	if have == nil {
		change.Sign = "+"
	} else if before, err = YAML([]Object{trimManaged(have)}); err != nil {
		return nil, err
	}
	after, err := YAML([]Object{trimManaged(want)})
	if err != nil || bytes.Equal(before, after) {
		return nil, err
	}
	if o.Kind() != "Secret" {
		change.Diff, err = diff(string(before), string(after))
	}
	return change, err
}

// diff is a unified diff without the names of files.
func diff(before, after string) (string, error) {
	return difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: slices.Collect(strings.Lines(before)), B: slices.Collect(strings.Lines(after)), Context: 3,
	})
}
