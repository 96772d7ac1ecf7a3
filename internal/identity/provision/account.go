package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"azwi/contract"
	"azwi/internal/kube"
)

// FieldManager owns what azwi sets on service accounts.
const FieldManager = "azwi"

// An Account is a service account that uses an identity.
type Account struct {
	Namespace, Name string
	// ClientID and TenantID become annotations.
	ClientID, TenantID string
	// TokenExpiration becomes an annotation unless it is the default.
	TokenExpiration time.Duration
}

// A Change of an annotation or label. Old is empty if there was none.
type Change struct {
	Key string `json:"key"`
	Old string `json:"old,omitempty"`
	New string `json:"new"`
	// Manager owned the old value: kubectl, for example.
	Manager string `json:"manager,omitempty"`
}

func (a Account) annotations() map[string]string {
	set := map[string]string{contract.ClientIDAnnotation: a.ClientID, contract.TenantIDAnnotation: a.TenantID}
	if seconds := int64(a.TokenExpiration.Round(time.Second) / time.Second); seconds != contract.DefaultTokenExpiration {
		set[contract.TokenExpirationAnnotation] = strconv.FormatInt(seconds, 10)
	}
	return set
}

// object is the little of a service account that is read.
type object struct {
	Metadata struct {
		Labels        map[string]string
		Annotations   map[string]string
		ManagedFields []struct {
			Manager  string
			FieldsV1 struct {
				Metadata struct {
					Labels      map[string]json.RawMessage `json:"f:labels"`
					Annotations map[string]json.RawMessage `json:"f:annotations"`
				} `json:"f:metadata"`
			}
		}
	}
}

// manager names who owns a label or annotation; empty for azwi itself.
func (o object) manager(key string) string {
	for _, m := range o.Metadata.ManagedFields {
		_, annotation := m.FieldsV1.Metadata.Annotations["f:"+key]
		_, label := m.FieldsV1.Metadata.Labels["f:"+key]
		if (annotation || label) && m.Manager != FieldManager {
			return m.Manager
		}
	}
	return ""
}

// Ensure creates the service account or sets its annotations, and upstream's
// label, by server-side apply: what else it has stays as it is. What another
// manager owned is taken over and told in changes. With dryRun the API server
// does everything but keep the result.
func Ensure(ctx context.Context, cluster *kube.Client, account Account, dryRun bool) (created bool, changes []Change, err error) {
	what := account.Namespace + "/" + account.Name
	var before object
	err = cluster.Account(ctx, account.Namespace, account.Name, &before)
	created = kube.IsNotFound(err)
	if err != nil && !created {
		return false, nil, fmt.Errorf("read service account %s: %w", what, err)
	}
	annotations, labels := account.annotations(), map[string]string{contract.UseLabel: contract.UseLabelValue}
	wanted := map[string]any{
		"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata": map[string]any{"name": account.Name, "namespace": account.Namespace, "annotations": annotations, "labels": labels},
	}
	request := kube.Apply(kube.AccountRef(account.Namespace, account.Name), FieldManager, wanted)
	request.DryRun = dryRun
	var after object
	if _, err := cluster.Do(ctx, request, &after); err != nil {
		return false, nil, fmt.Errorf("write service account %s: %w", what, err)
	}
	changes = append(before.differences(before.Metadata.Annotations, after.Metadata.Annotations), before.differences(before.Metadata.Labels, after.Metadata.Labels)...)
	return created, changes, nil
}

// differences lists what changed of what azwi knows.
func (o object) differences(before, after map[string]string) []Change {
	var changes []Change
	both := maps.Clone(after)
	for key := range before {
		if _, stays := after[key]; !stays {
			if both == nil {
				both = map[string]string{}
			}
			both[key] = ""
		}
	}
	for _, key := range slices.Sorted(maps.Keys(both)) {
		if before[key] != both[key] {
			change := Change{Key: key, Old: before[key], New: both[key]}
			if change.Old != "" {
				change.Manager = o.manager(key)
			}
			changes = append(changes, change)
		}
	}
	return changes
}

// Delete deletes a service account; deleted is false if there was none. With
// dryRun the API server does everything but delete it.
func Delete(ctx context.Context, cluster *kube.Client, namespace, name string, dryRun bool) (deleted bool, err error) {
	deleted, err = cluster.Delete(ctx, kube.AccountRef(namespace, name), dryRun)
	if err != nil {
		return false, fmt.Errorf("delete service account %s/%s: %w", namespace, name, err)
	}
	return deleted, nil
}
