package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"

	"azwi/contract"
	"azwi/test/cluster"
	"azwi/test/product"
)

// The story's people and places.
const (
	namespace = "shop"
	federated = "orders"  // the service account that is federated
	forgotten = "billing" // the one that is not

	subscription = "22222222-0000-4000-8000-000000000001"
	group        = "shop"
	identity     = "orders"
	clientID     = "33333333-0000-4000-8000-000000000002"
	operatorID   = "33333333-0000-4000-8000-000000000001"

	caPath = "/var/run/secrets/entra" // where the pod mounts the local Entra's CA
)

type demo struct {
	out      io.Writer
	bin      string
	workload string

	dir      string
	control  *cluster.Cluster
	entra    *product.Emulator
	webhook  *product.Webhook
	operator string // secret of the platform team's service principal, made anew each time
	step     int
	rewrites bool // mount paths are rewritten, there being no mount namespace
}

type object = map[string]any

func (d *demo) show(ctx context.Context) error {
	begin := time.Now()
	d.say("A pod on a real Kubernetes API server gets an Entra token, without a secret.")
	d.say("Everything runs on this machine; no Azure, no cloud account, no cluster of yours.")
	for _, s := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"Start etcd and kube-apiserver " + cluster.Version, d.startControlPlane},
		{"Start the local Entra, with a managed identity and a Key Vault", d.startEntra},
		{"Start the webhook and register it", d.startWebhook},
		{"Federate the managed identity with service account " + namespace + "/" + federated, d.federate},
		{"Create a pod with the label " + contract.UseLabel + ": \"true\"", func(ctx context.Context) error { return d.createPod(ctx, federated) }},
		{"Run a program in its place: azidentity gets a token, azsecrets uses it", func(ctx context.Context) error { return d.runPod(ctx, federated, false) }},
		{"Failure case: the same pod, with a service account that has no federated credential", func(ctx context.Context) error {
			if err := d.createPod(ctx, forgotten); err != nil {
				return err
			}
			return d.runPod(ctx, forgotten, true)
		}},
	} {
		d.step++
		d.say("\n%d. %s", d.step, s.title)
		start := time.Now()
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("step %d, %s: %w", d.step, s.title, err)
		}
		d.say("   done in %s", time.Since(start).Round(time.Millisecond))
	}
	d.say("\nThat was the whole path, in %.1f s. Next: make cluster-up for a control plane of your own,", time.Since(begin).Seconds())
	d.say("docs/architecture.md for how one pod travels through the code.")
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// cleanUp stops everything in the reverse order of its start.
func (d *demo) cleanUp() error {
	const grace = 5 * time.Second
	var errs []error
	if d.webhook != nil {
		errs = append(errs, d.webhook.Stop(grace))
	}
	if d.entra != nil {
		errs = append(errs, d.entra.Stop(grace))
	}
	if d.control != nil {
		errs = append(errs, d.control.Stop())
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

func (d *demo) startControlPlane(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "azwi-demo-"); err != nil {
		return err
	}
	if d.control, err = cluster.Start(ctx, cluster.Config{Dir: filepath.Join(d.dir, "cluster")}); err != nil {
		return err
	}
	d.say("   API server  %s", d.control.URL)
	d.say("   issuer      %s (signs the service accounts' tokens)", d.control.Issuer)
	return d.control.CreateNamespace(ctx, namespace)
}

func (d *demo) startEntra(ctx context.Context) (err error) {
	d.operator = rand()
	seed := fmt.Sprintf(`tenants: [{id: %s}]
subscriptions: [{id: %s, name: demo, resourceGroups: [{name: %s, location: westeurope}]}]
servicePrincipals:
  - {name: platform-team, appId: %s, secrets: [{value: %s}]}
managedIdentities:
  - {name: %s, resourceGroup: %s, clientId: %s}
roleAssignments:
  - {role: Owner, principal: platform-team}
  - {role: Key Vault Secrets User, principal: %s}
vaults:
  - {name: shop, resourceGroup: %s, secrets: {greeting: "hello from the vault"}}
issuers:
  %s: {url: %q, caFile: %q}
# The real directory takes minutes to learn of a new credential; here it takes none.
replication: {minDelay: 0s, maxDelay: 0s, missMemory: 0s, writeTime: 0s}
`, product.TenantID, subscription, group, operatorID, d.operator, identity, group, clientID, identity, group,
		d.control.Issuer, d.control.Issuer+"/openid/v1/jwks", d.control.CAFile)
	file := filepath.Join(d.dir, "seed.yaml")
	if err := os.WriteFile(file, []byte(seed), 0o600); err != nil {
		return err
	}
	if d.entra, err = product.StartEmulator(ctx, product.EmulatorConfig{
		Binary: filepath.Join(d.bin, "azwi-emulator"), Dir: filepath.Join(d.dir, "entra"), Seed: file,
	}); err != nil {
		return err
	}
	d.say("   authority         %s", d.entra.Authority)
	d.say("   managed identity  %s, client ID %s", identity, clientID)
	d.say("   key vault         shop, readable for that identity alone")
	return nil
}

func (d *demo) startWebhook(ctx context.Context) (err error) {
	dir := filepath.Join(d.dir, "webhook")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if d.webhook, err = product.StartWebhook(ctx, product.WebhookConfig{
		Cluster: d.control, Binary: filepath.Join(d.bin, "azwi-webhook"), Dir: dir,
		Env: []string{contract.EnvAuthorityHost + "=" + d.entra.Authority},
	}); err != nil {
		return err
	}
	d.say("   https://%s%s", d.webhook.Addr, contract.WebhookPath)
	return product.Register(ctx, d.control, product.Registration{Addr: d.webhook.Addr})
}

// federate does as the platform team would with Azure's own SDK.
func (d *demo) federate(ctx context.Context) error {
	client, err := d.entraClient()
	if err != nil {
		return err
	}
	authority := strings.TrimSuffix(d.entra.Authority, "/")
	options := azcore.ClientOptions{Transport: client, Cloud: cloud.Configuration{
		ActiveDirectoryAuthorityHost: d.entra.Authority,
		Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Audience: "https://management.azure.com", Endpoint: authority},
		},
	}}
	credential, err := azidentity.NewClientSecretCredential(product.TenantID, operatorID, d.operator,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	if err != nil {
		return err
	}
	credentials, err := armmsi.NewFederatedIdentityCredentialsClient(subscription, credential, &arm.ClientOptions{ClientOptions: options})
	if err != nil {
		return err
	}
	subject, audience := contract.Subject(namespace, federated), contract.DefaultAudience
	if _, err := credentials.CreateOrUpdate(ctx, group, identity, "demo", armmsi.FederatedIdentityCredential{
		Properties: &armmsi.FederatedIdentityCredentialProperties{Issuer: &d.control.Issuer, Subject: &subject, Audiences: []*string{&audience}},
	}, nil); err != nil {
		return err
	}
	d.say("   by the platform team's service principal, with Azure's own Go SDK:")
	d.say("   issuer    %s", d.control.Issuer)
	d.say("   subject   %s", subject)
	d.say("   audience  %s", audience)
	d.say("   (here it works at once; the real directory needs some minutes to learn of a new credential)")
	return nil
}

// entraClient trusts the local Entra and nobody else.
func (d *demo) entraClient() (*http.Client, error) {
	ca, err := os.ReadFile(d.entra.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("the local Entra's CA holds no certificate")
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}, nil
}

// createPod creates what an application's manifest holds: the service account with
// the identity's client ID, and the pod.
func (d *demo) createPod(ctx context.Context, account string) error {
	base := "/api/v1/namespaces/" + namespace
	if _, err := d.control.Admin.Do(ctx, http.MethodPost, base+"/serviceaccounts", object{
		"metadata": object{"name": account, "annotations": object{contract.ClientIDAnnotation: clientID}},
	}, nil); err != nil {
		return err
	}
	ca, err := os.ReadFile(d.entra.CAFile)
	if err != nil {
		return err
	}
	if _, err := d.control.Admin.Do(ctx, http.MethodPost, base+"/configmaps", object{
		"metadata": object{"name": account + "-ca"}, "data": object{"ca.crt": string(ca)},
	}, nil); err != nil {
		return err
	}
	before := object{
		"metadata": object{"name": account, "labels": object{contract.UseLabel: contract.UseLabelValue}},
		"spec": object{
			"serviceAccountName": account,
			"containers": []object{{
				"name": "app", "image": "workload:1",
				// A real Entra has a certificate that everybody knows; the local one's
				// CA is given to the program.
				"env": []object{
					{"name": "SSL_CERT_FILE", "value": caPath + "/ca.crt"},
					{"name": "VAULT_URL", "value": d.entra.Authority + "vaults/shop"},
				},
				"volumeMounts": []object{{"name": "entra-ca", "mountPath": caPath, "readOnly": true}},
			}},
			"volumes": []object{{"name": "entra-ca", "configMap": object{"name": account + "-ca"}}},
		},
	}
	var created pod
	if _, err := d.control.Admin.Do(ctx, http.MethodPost, base+"/pods", before, &created); err != nil {
		return err
	}
	if account != federated {
		d.say("   pod %s/%s, service account %s", namespace, account, account)
		return nil
	}
	return d.showInjected(before, created)
}

// showInjected prints what the pod has and the manifest had not.
func (d *demo) showInjected(before object, created pod) error {
	raw, err := json.Marshal(before)
	if err != nil {
		return err
	}
	var manifest pod
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return err
	}
	d.say("   pod %s/%s; the webhook added:", created.Metadata.Namespace, created.Metadata.Name)
	had, has := manifest.Spec.Containers[0], created.Spec.Containers[0]
	for _, e := range has.Env[len(had.Env):] {
		d.say("     env    %-27s %s", e.Name, e.Value)
	}
	for _, m := range has.VolumeMounts {
		if strings.HasPrefix(m.Name, contract.VolumePrefix) {
			d.say("     mount  %-27s %s", m.MountPath, m.Name)
		}
	}
	for _, v := range created.Spec.Volumes {
		if token := v.token(); token != nil && strings.HasPrefix(v.Name, contract.VolumePrefix) {
			d.say("     volume %-27s a token for %s, %d s", token.Path, token.Audience, token.ExpirationSeconds)
		}
	}
	return nil
}

// runPod runs the program as the pod's container would: with exactly its
// environment, and the files of its volumes made as the kubelet makes them.
func (d *demo) runPod(ctx context.Context, name string, wantFailure bool) error {
	var p pod
	if _, err := d.control.Admin.Do(ctx, http.MethodGet, "/api/v1/namespaces/"+namespace+"/pods/"+name, nil, &p); err != nil {
		return err
	}
	files, err := d.volumeFiles(ctx, p)
	if err != nil {
		return err
	}
	if !wantFailure {
		d.say("   the token comes from TokenRequest, bound to the pod, as the kubelet asks for that volume")
	}
	run, err := d.container(ctx, p, files)
	if err != nil {
		return err
	}
	if d.rewrites && !wantFailure {
		d.say("   (no right to make a mount namespace here: the mount paths in its environment are rewritten, nothing else)")
	}
	if !wantFailure {
		d.say("   (a real Entra needs neither SSL_CERT_FILE nor the program's option to skip instance discovery)")
	}
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	err = run.Run()
	for line := range strings.Lines(out.String()) {
		d.say("   | %s", strings.TrimRight(line, "\n"))
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case wantFailure && err == nil:
		return errors.New("the token endpoint gave a token to a service account that is not federated")
	case !wantFailure && err != nil:
		return fmt.Errorf("the program failed: %w", err)
	}
	return nil
}
