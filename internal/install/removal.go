package install

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
)

// A Removal is what uninstalling will do. Nothing is removed yet.
type Removal struct {
	// Engine, Namespace and Values are those of the installation, to install it again.
	Engine, Namespace string
	Values            map[string]any
	// Objects are removed, in this order.
	Objects []kube.Ref
	// Pods have the label of workload identity. They keep what they were given; those
	// that are made in their place get nothing. It is -1 if they may not be listed.
	Pods int

	cluster *cluster
	record  *record
}

// PlanRemoval looks at the installation, and tries by dry runs whether everything may be
// removed. What azwi did not install is refused with what to do instead.
func PlanRemoval(ctx context.Context, client *kube.Client) (*Removal, error) {
	c, err := connect(ctx, client)
	if err != nil {
		return nil, err
	}
	found, err := c.discover(ctx)
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return nil, finding.NotInstalled().Err(nil)
	case found.Owner == OwnerHelm:
		return nil, finding.HelmUninstalls(found.Release, found.Namespace).Err(nil)
	case found.Owner == OwnerAKS:
		return nil, finding.AKSUninstalls().Err(nil)
	case found.Owner == OwnerOther:
		return nil, finding.OthersUninstall().Err(nil)
	}
	r := found.record
	objects := slices.DeleteFunc(slices.Clone(r.Objects), func(ref kube.Ref) bool { return ref.Kind == "Namespace" && !r.CreatedNamespace })
	slices.Reverse(objects)
	if err := c.rehearseRemoval(ctx, append(objects, r.ref())); err != nil {
		return nil, err
	}
	removal := &Removal{Engine: r.Engine, Namespace: r.namespace, Values: r.Values, Objects: objects, cluster: c, record: r}
	err = c.List(ctx, kube.Ref{APIVersion: "v1", Kind: "Pod"}, contract.UseLabel+"="+contract.UseLabelValue, func(json.RawMessage) error {
		removal.Pods++
		return nil
	})
	if err != nil {
		removal.Pods = -1 // it is for the question alone
	}
	return removal, nil
}

// Do removes everything. report is told of each object. What is interrupted can be
// planned and done again.
func (r *Removal) Do(ctx context.Context, report func(string)) error {
	c, record := r.cluster, r.record
	record.Phase, record.Complete, record.Run = PhaseUninstall, false, rand.Text()
	if err := c.writeRecord(ctx, record); err != nil {
		return fmt.Errorf("record what is being removed: %w", err)
	}
	if err := c.forgetRelease(ctx, record); err != nil {
		return err
	}
	for _, ref := range r.Objects {
		removed, err := c.Delete(ctx, ref, false)
		if err != nil {
			return fmt.Errorf("remove %s: %w", ref, err)
		}
		if removed {
			report("removed " + ref.String())
		}
	}
	// Last, so that what is interrupted can be run again. With its namespace it would
	// go too, but later.
	if err := c.removeRecord(ctx); err != nil {
		return fmt.Errorf("remove azwi's record: %w", err)
	}
	return nil
}
