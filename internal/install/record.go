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
type record struct {
	Version string         `json:"version"`
	Release string         `json:"release"`
	Engine  string         `json:"engine"`
	Values  map[string]any `json:"values"`
	// Objects are all that were applied, in that order.
	Objects []Ref `json:"objects"`
	// Complete is false from the start of an installation to its end.
	Complete bool `json:"complete"`
	// CreatedNamespace: the namespace was not there before.
	CreatedNamespace bool `json:"createdNamespace"`

	namespace string
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
			return fmt.Errorf("there are two records of installations, in namespaces %s and %s: remove the ConfigMap %s that is not true", found.namespace, configMap.Metadata.Namespace, recordName)
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
	return found, nil
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
