package federation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/cli/exchange"
	"azwi/internal/finding"
	"azwi/internal/identity/federation"
	"azwi/internal/kube"
)

// wait waits until tokens are issued for what was added or changed, cluster by
// cluster.
func (f *federationRun) wait(ctx context.Context, o exchange.WaitOptions, kubeconfig string, made []madeChange) error {
	if !o.Wait {
		return nil
	}
	var failures []error
	for _, cluster := range f.file.Clusters {
		targets, err := f.waitTargets(ctx, cluster.Issuer, made)
		if err != nil {
			return err
		}
		if len(targets) == 0 {
			continue
		}
		api, err := clusterOf(ctx, f.Env, kubeconfig, cluster)
		if err != nil {
			f.Log.Warn("not waiting until the credentials of a cluster work: it can't be asked for tokens",
				"cluster", cluster.Name, "credentials", len(targets), "error", err)
			continue
		}
		failures = append(failures, exchange.WaitUntilUsable(ctx, f.Env, o, api, f.session.Cloud, targets))
	}
	return errors.Join(failures...)
}

func (f *federationRun) waitTargets(ctx context.Context, issuer string, made []madeChange) ([]exchange.WaitTarget, error) {
	var targets []exchange.WaitTarget
	type known struct{ clientID, tenantID string }
	ids := map[string]known{}
	for _, t := range f.targets {
		if t.ClientID != "" {
			ids[t.Identity.ID()] = known{t.ClientID, f.session.Tenant}
		}
	}
	for _, c := range made {
		namespace, account, ok := federation.ParseSubject(c.Subject)
		if c.Action == federation.Remove || c.Issuer != issuer || !ok {
			continue
		}
		id, ok := ids[c.Target().ID()]
		if !ok {
			identity, err := f.session.ARM.Identity(ctx, c.Target().ManagedIdentity)
			if err != nil {
				return nil, err
			}
			id = known{identity.ClientID, identity.TenantID}
			ids[c.Target().ID()] = id
		}
		targets = append(targets, exchange.WaitTarget{
			Namespace: namespace, ServiceAccount: account, Audience: c.Audience,
			TenantID: id.tenantID, ClientID: id.clientID, Written: c.at,
		})
	}
	return targets, nil
}

// readableKubeconfig is the error if a kubeconfig was given that can't be read. What a
// cluster lacks is a warning only, once its credentials are made.
func readableKubeconfig(name string) error {
	if name == "" {
		return nil
	}
	if _, err := clientcmd.LoadFromFile(name); err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	return nil
}

// clusterTimeout is how long a cluster may take to tell its issuer.
const clusterTimeout = 15 * time.Second

// clusterOf connects to the file's cluster, and makes sure that it is that one.
func clusterOf(ctx context.Context, r *command.Env, kubeconfig string, cluster federation.Cluster) (*kube.Client, error) {
	target := connect.Cluster{Kubeconfig: kubeconfig, Context: cluster.Context}
	api, err := target.Connect(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	issuer, err := api.Issuer(ctx)
	if err != nil {
		return nil, err
	}
	if issuer != cluster.Issuer {
		return nil, finding.OtherCluster(cluster.Context, issuer).Err(nil)
	}
	return api, nil
}
