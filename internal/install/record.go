package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"azwi/internal/finding"
	"azwi/internal/kube"
)

const (
	recordName  = "azwi-installation"
	recordLabel = "azure-workload-identity.io/installation"
)

// A record is what was installed, in a ConfigMap. It is written before anything is
// applied, so that what was interrupted can be finished or removed.
// docs/decisions/2026-11-27-engine-switch.md says what is written when.
type record struct {
	// Version, Engine and Values are those of the engine that serves.
	Version string `json:"version"`
	Release string `json:"release"`
	// Engine is Serving; versions before Serving read it.
	Engine string         `json:"engine"`
	Values map[string]any `json:"values"`
	// Serving is the engine that injects in all namespaces.
	Serving string `json:"serving,omitempty"`
	// Target is the engine that takes over, with TargetValues, in the phase trial.
	Target       string         `json:"target,omitempty"`
	TargetValues map[string]any `json:"targetValues,omitempty"`
	Phase        Phase          `json:"phase,omitempty"`
	// Objects are all that were applied, in that order.
	Objects []kube.Ref `json:"objects"`
	// Complete is false from the start of an installation to its end.
	Complete bool `json:"complete"`
	// CreatedNamespace: the namespace was not there before.
	CreatedNamespace bool `json:"createdNamespace"`
	// TakeOver is there until the objects of another owner are azwi's.
	TakeOver *takenOver `json:"takeOver,omitempty"`
	// Run tells the run of azwi that is under way from every other. It stays if that is
	// killed.
	Run string `json:"run,omitempty"`

	namespace string
	// uid and resourceVersion are the ConfigMap's, as last seen; empty: there is none yet.
	uid, resourceVersion string
	// older: a version before Serving wrote it, and did not get to its end.
	older bool
}

// A Phase is how far a switch of engines, or an uninstallation, is. Empty: none is
// under way.
type Phase string

const (
	// PhaseTrial means that the serving engine injects everywhere; the target may be there
	// already, in part or as a whole.
	PhaseTrial Phase = "trial"
	// PhaseRemoval means that the serving engine injects everywhere; the other is being removed.
	PhaseRemoval Phase = "removal"
	// PhaseUninstall means that everything is being removed.
	PhaseUninstall Phase = "uninstall"
)

// A takenOver is what belonged to another owner.
type takenOver struct {
	Owner   Owner      `json:"owner"`
	Objects []kube.Ref `json:"objects"`
}

func (r *record) ref() kube.Ref {
	return kube.Ref{APIVersion: "v1", Kind: "ConfigMap", Namespace: r.namespace, Name: recordName}
}

// readRecord returns nil if there is none.
func (c *cluster) readRecord(ctx context.Context) (*record, error) {
	var found *record
	err := c.List(ctx, kube.Ref{APIVersion: "v1", Kind: "ConfigMap"}, recordLabel+"=azwi", func(raw json.RawMessage) error {
		var configMap struct {
			Metadata struct{ Name, Namespace, UID, ResourceVersion string }
			Data     map[string]string
		}
		if err := json.Unmarshal(raw, &configMap); err != nil {
			return err
		}
		where := configMap.Metadata.Namespace + "/" + configMap.Metadata.Name
		if found != nil {
			return finding.TwoRecords(found.namespace, configMap.Metadata.Namespace, recordName).Err(nil)
		}
		found = &record{namespace: configMap.Metadata.Namespace, uid: configMap.Metadata.UID, resourceVersion: configMap.Metadata.ResourceVersion}
		if err := json.Unmarshal([]byte(configMap.Data["record"]), found); err != nil {
			return finding.RecordUnreadable(where, err).Err(err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for azwi's record: %w", err)
	}
	if found == nil || found.Serving != "" {
		return found, nil
	}
	return found, c.readOlder(ctx, found)
}

// readOlder finds out which engine serves where the record does not say: older
// versions wrote the new engine down before they tried it.
func (c *cluster) readOlder(ctx context.Context, r *record) error {
	r.Serving = r.Engine
	if r.Complete {
		return nil
	}
	r.older = true
	serves, err := c.registered(ctx, other(r.Engine), r.Objects)
	if err != nil || !serves {
		return err
	}
	r.Serving, r.Target, r.TargetValues, r.Phase = other(r.Engine), r.Engine, r.Values, PhaseTrial
	r.Engine, r.Values = r.Serving, Merge(r.Values, map[string]any{"engine": r.Serving})
	return nil
}

// probeNamespace is where probes were made; empty if that is not known.
func (r *record) probeNamespace() string {
	for _, ref := range r.Objects {
		if ref.Kind == "ServiceAccount" && ref.Name == probeAccount {
			return ref.Namespace
		}
	}
	return ""
}

// writeRecord creates the record, or updates the version that was last read. If another
// run was faster, the error is finding.CodeOtherRun and nothing is written.
func (c *cluster) writeRecord(ctx context.Context, r *record) error {
	if err := c.stillOurs(ctx); err != nil {
		return err
	}
	object, err := r.object()
	if err != nil {
		return err
	}
	request := kube.Apply(r.ref(), manager, object)
	if r.resourceVersion == "" {
		// To apply would not tell whether somebody else has made it meanwhile.
		all := r.ref()
		all.Name = ""
		request = kube.Request{Method: http.MethodPost, Ref: all, Manager: manager, Body: object}
	} else {
		object["metadata"] = Merge(object.metadata(), map[string]any{"uid": r.uid, "resourceVersion": r.resourceVersion})
	}
	var written Object
	_, err = c.Client.Do(ctx, request, &written)
	if kube.IsStatus(err, http.StatusConflict) {
		return finding.OtherRun().Err(nil)
	}
	if err != nil {
		return err
	}
	created := r.resourceVersion == ""
	r.uid, r.resourceVersion = written.text("metadata", "uid"), written.text("metadata", "resourceVersion")
	c.run, c.record = r.Run, r
	if !created {
		return nil
	}
	// In another namespace, somebody else may have made one at the same time.
	if _, err := c.readRecord(ctx); !errors.Is(err, finding.CodeTwoRecords) {
		return err
	}
	if err := c.removeRecord(ctx); err != nil {
		return err
	}
	return finding.OtherRunElsewhere().Err(nil)
}

func (r *record) object() (Object, error) {
	raw, err := json.Marshal(r)
	return Object{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": recordName, "namespace": r.namespace, "labels": map[string]any{
			recordLabel: "azwi", "app.kubernetes.io/managed-by": "azwi",
		}},
		"data": map[string]any{"record": string(raw)},
	}, err
}

// stillOurs is nil as long as nobody else has begun to change what this run changes:
// of two runs the later one goes on, since the other may have been killed.
func (c *cluster) stillOurs(ctx context.Context) error {
	if c.record == nil {
		return nil // nothing was written yet
	}
	now, err := c.find(ctx, c.record.ref())
	if err != nil {
		return err
	}
	var written struct{ Run string }
	if now != nil {
		if err := json.Unmarshal([]byte(now.text("data", "record")), &written); err != nil {
			return fmt.Errorf("read the record of the installation again: %w", err)
		}
	}
	if now == nil || written.Run != c.run {
		return finding.LaterRun().Err(nil)
	}
	// Labels and the like are anybody's.
	c.record.resourceVersion = now.text("metadata", "resourceVersion")
	return nil
}

// removeRecord removes the record of this run, which may be gone with its namespace.
func (c *cluster) removeRecord(ctx context.Context) error {
	if now, err := c.find(ctx, c.record.ref()); now == nil || err != nil {
		return err
	}
	_, err := c.Delete(ctx, c.record.ref(), false)
	return err
}

// Do is the client's, but that it writes nothing once the installation is another run's.
func (c *cluster) Do(ctx context.Context, r kube.Request, out any) (warnings []string, err error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost && !r.DryRun {
		if err := c.stillOurs(ctx); err != nil {
			return nil, err
		}
	}
	return c.Client.Do(ctx, r, out)
}

// Delete is the client's, with the same restriction as Do.
func (c *cluster) Delete(ctx context.Context, ref kube.Ref, dryRun bool) (bool, error) {
	if !dryRun {
		if err := c.stillOurs(ctx); err != nil {
			return false, err
		}
	}
	return c.Client.Delete(ctx, ref, dryRun)
}
