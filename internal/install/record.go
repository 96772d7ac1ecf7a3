package install

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"azwi/internal/apiserver"
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
	Objects []Ref `json:"objects"`
	// Complete is false from the start of an installation to its end.
	Complete bool `json:"complete"`
	// CreatedNamespace: the namespace was not there before.
	CreatedNamespace bool `json:"createdNamespace"`
	// TakeOver is there until the objects of another owner are azwi's.
	TakeOver *takenOver `json:"takeOver,omitempty"`

	namespace string
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
	Owner   Owner `json:"owner"`
	Objects []Ref `json:"objects"`
}

func (r *record) ref() Ref {
	return Ref{APIVersion: "v1", Kind: "ConfigMap", Namespace: r.namespace, Name: recordName}
}

// readRecord returns nil if there is none.
func (c *cluster) readRecord(ctx context.Context) (*record, error) {
	var found *record
	err := c.list(ctx, "/api/v1/configmaps", url.Values{"labelSelector": {recordLabel + "=azwi"}}, func(raw json.RawMessage) error {
		var configMap struct {
			Metadata struct{ Name, Namespace string }
			Data     map[string]string
		}
		if err := json.Unmarshal(raw, &configMap); err != nil {
			return err
		}
		where := configMap.Metadata.Namespace + "/" + configMap.Metadata.Name
		if found != nil {
			return fmt.Errorf("there are two records of installations, in namespaces %s and %s: delete the ConfigMap %s that is out of date", found.namespace, configMap.Metadata.Namespace, recordName)
		}
		found = &record{namespace: configMap.Metadata.Namespace}
		if err := json.Unmarshal([]byte(configMap.Data["record"]), found); err != nil {
			return fmt.Errorf("the record of the installation, ConfigMap %s, can't be read: %w", where, err)
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

func (c *cluster) writeRecord(ctx context.Context, r *record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path, err := r.ref().Path()
	if err != nil {
		return err
	}
	_, err = c.Apply(ctx, path, apiserver.Apply{Manager: manager, Force: true}, map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": recordName, "namespace": r.namespace, "labels": map[string]string{
			recordLabel: "azwi", "app.kubernetes.io/managed-by": "azwi",
		}},
		"data": map[string]string{"record": string(raw)},
	}, nil)
	return err
}
