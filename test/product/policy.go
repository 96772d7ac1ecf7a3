package product

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"azwi/contract"
	"azwi/internal/kube"
	"azwi/internal/pod/policy"
	"azwi/test/cluster"
)

// InstallPolicy creates what c generates, restricted to the namespaces, and returns
// when all of it is in force in the first one, which has a service account default.
func InstallPolicy(ctx context.Context, k *cluster.Cluster, c policy.Config, namespaces ...string) error {
	c.Version = "test"
	c.Namespaces = &policy.Selector{MatchExpressions: []policy.SelectorRequirement{{
		Key: "kubernetes.io/metadata.name", Operator: "In", Values: namespaces,
	}}}
	objects, err := policy.Generate(c)
	if err != nil {
		return err
	}
	for _, o := range objects {
		body, err := o.JSON()
		if err != nil {
			return err
		}
		if _, err := k.Admin.Do(ctx, "POST", strings.TrimSuffix(PolicyPath(o), "/"+o.Metadata.Name), body, nil); err != nil {
			return fmt.Errorf("create %s %s: %w", o.Kind, o.Metadata.Name, err)
		}
	}
	return waitInForce(ctx, k, c, namespaces[0])
}

// PolicyPath is the object's on the API server.
func PolicyPath(o policy.Object) string {
	// The error is a kind that policies don't have.
	path, _ := kube.Ref{APIVersion: o.APIVersion, Kind: o.Kind, Name: o.Metadata.Name}.Path()
	return path
}

// RemovePolicy removes what InstallPolicy created, the mutating policy first.
func RemovePolicy(ctx context.Context, k *cluster.Cluster, c policy.Config) error {
	c.Version = "test"
	objects, err := policy.Generate(c)
	if err != nil {
		return err
	}
	var failed error
	for _, o := range slices.Backward(objects) {
		_, err := k.Admin.Do(ctx, "DELETE", PolicyPath(o), nil, nil)
		failed = errors.Join(failed, err)
	}
	return failed
}

// waitInForce creates pods and accounts, without keeping them, until each of the
// policies has been seen to work: refuse, inject, warn.
func waitInForce(ctx context.Context, k *cluster.Cluster, c policy.Config, namespace string) error {
	account := object{"metadata": object{"name": "policy-probe", "labels": object{contract.UseLabel: contract.UseLabelValue}}}
	if _, err := k.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+namespace+"/serviceaccounts", account, nil); err != nil {
		return err
	}
	pod := func(annotations object) object {
		return object{
			"metadata": object{"name": "probe", "labels": object{contract.UseLabel: contract.UseLabelValue}, "annotations": annotations},
			"spec":     object{"serviceAccountName": "policy-probe", "containers": []object{{"name": "app", "image": "app:1"}}},
		}
	}
	misspelt := object{"metadata": object{"name": "probe", "annotations": object{contract.Prefix + "client_id": "x"}}}
	path, accounts := "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", "/api/v1/namespaces/"+namespace+"/serviceaccounts?dryRun=All"
	for {
		var created json.RawMessage
		warnings, err := k.Admin.Do(ctx, "POST", path, pod(nil), &created)
		_, denied := k.Admin.Do(ctx, "POST", path, pod(object{contract.RefusedAnnotation: "for a test"}), nil)
		aboutAccount, _ := k.Admin.Do(ctx, "POST", accounts, misspelt, nil)
		if err == nil && denied != nil && len(warnings) > 0 && len(aboutAccount) > 0 && bytes.Contains(created, []byte(contract.EnvFederatedTokenFile)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the policy %s is not in force: %w; warnings %q, pod %s", c.Name, ctx.Err(), warnings, created), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
