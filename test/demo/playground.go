package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"azwi/test/cluster"
	"azwi/test/product"
)

// playground starts what the demo starts, joined, and leaves it to the person until
// Ctrl-C: folder gets a file env that a shell reads.
func (d *demo) playground(ctx context.Context, folder string) error {
	begin := time.Now()
	d.say("etcd and kube-apiserver %s, the local Entra and the webhook start on this machine.", cluster.Version)
	for _, start := range []func(context.Context) error{
		func(ctx context.Context) error { return d.startCluster(ctx, cluster.BuildConfig{}) }, // with kubectl
		d.startEntra, d.startWebhook,
	} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	env, err := d.writeEnv(folder)
	// The folder itself goes only if nothing else is in it.
	defer func() {
		for _, name := range []string{"env", "kubectl", "."} {
			_ = os.Remove(filepath.Join(folder, name)) // what is left says so itself
		}
	}()
	if err != nil {
		return err
	}
	d.say(`
Ready in %.1[1]f s. In another terminal:

  . %[2]s

  # 1. Let service account %[3]s/%[4]s use the managed identity %[5]s, and wait until tokens are issued.
  azwi serviceaccount create --service-account %[3]s/%[4]s --managed-identity %[5]s --resource-group %[6]s
  # 2. The token that its pods get.
  azwi token --service-account %[3]s/%[4]s --resource https://vault.azure.net --decode
  # 3. What the webhook adds to a pod (dry run).
  kubectl -n %[3]s run try --image=busybox --labels=azure.workload.identity/use=true --overrides='{"spec":{"serviceAccountName":"%[4]s"}}' --dry-run=server -o yaml
  # 4. A service account that has no federated credential: the error says what to do.
  kubectl -n %[3]s create serviceaccount %[7]s
  azwi token --service-account %[3]s/%[7]s --client-id %[8]s --resource https://vault.azure.net
  # 5. What an error code means, and its usual causes.
  azwi explain AADSTS700213

No pod runs here, for there is no node: make cluster-up NODE=1 has one. Ctrl-C ends everything and removes it.`,
		time.Since(begin).Seconds(), env, namespace, federated, identity, group, forgotten, clientID)
	<-ctx.Done()
	return nil
}

// writeEnv writes the file, readable by its owner only: it has the secret of the
// platform team's service principal.
func (d *demo) writeEnv(folder string) (string, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	exports, err := os.ReadFile(filepath.Join(d.dir, "entra", "env"))
	if err != nil {
		return "", err
	}
	bin, err := filepath.Abs(d.bin)
	if err != nil {
		return "", err
	}
	tools, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(filepath.Join(tools, "kubectl")); err != nil {
		return "", err
	}
	if err := os.Symlink(d.control.Binary, filepath.Join(tools, "kubectl")); err != nil {
		return "", err
	}
	text := bytes.NewBuffer(exports)
	for _, v := range []struct{ name, value string }{
		{"KUBECONFIG", d.control.Kubeconfig},
		{"AZURE_TENANT_ID", product.TenantID},
		{"AZURE_SUBSCRIPTION_ID", subscription},
		{"AZURE_CLIENT_ID", operatorID},
		{"AZURE_CLIENT_SECRET", d.operator},
	} {
		fmt.Fprintf(text, "export %s='%s'\n", v.name, strings.ReplaceAll(v.value, "'", `'\''`))
	}
	fmt.Fprintf(text, "export PATH='%s:%s':\"$PATH\"\n", tools, bin)
	file := filepath.Join(tools, "env")
	return file, os.WriteFile(file, text.Bytes(), 0o600)
}
