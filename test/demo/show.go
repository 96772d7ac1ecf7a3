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
	"slices"
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
	began    time.Time // when the build of this program and the product began

	dir      string
	place    place
	control  *cluster.Cluster
	entra    *product.Emulator
	webhook  *product.Webhook
	operator string // secret of the platform team's service principal, made anew each time
	pod      pod    // created last
	step     int
	rewrites bool // mount paths are rewritten, there being no mount namespace
}

type object = map[string]any

type step struct {
	title string
	do    func(context.Context) error
}

// show begins with what needs no Kubernetes, as that has to be built the first time.
func (d *demo) show(ctx context.Context) error {
	d.say("A pod gets an Entra token, without a secret. Everything runs on this machine;")
	d.say("no Azure, no cloud account, no cluster of yours.")
	times := []string{duration("build azwi", time.Since(d.began))}
	for _, part := range []struct {
		title string
		steps []step
	}{
		{"Without Kubernetes", slices.Concat([]step{
			{"Start the local Entra, with a managed identity and a Key Vault", d.startEntraAlone},
			{"Federate the managed identity with service account " + namespace + "/" + federated, d.federate},
			{"Inject a manifest whose pod has the label " + contract.UseLabel + ": \"true\": azwi inject -f -", d.create(federated)},
		}, d.run())},
		{"Build etcd and kube-apiserver", []step{
			{"Build " + cluster.Version + " from Go modules, unless that was done before", d.buildControlPlane},
		}},
		{"On a real Kubernetes API server", slices.Concat([]step{
			{"Start etcd and kube-apiserver", d.startControlPlane},
			{"Start the local Entra again, which now trusts the API server's keys", d.startEntra},
			{"Start the webhook and register it", d.startWebhook},
			{"Federate the managed identity with service account " + namespace + "/" + federated, d.federate},
			{"Create a pod with the label " + contract.UseLabel + ": \"true\"", d.create(federated)},
		}, d.run())},
	} {
		start := time.Now()
		d.say("\n## %s", part.title)
		if err := d.take(ctx, part.steps); err != nil {
			return err
		}
		times = append(times, duration(part.title, time.Since(start)))
	}
	d.say("\nThat was the whole path. The time it took:\n%s", strings.Join(times, "\n"))
	d.say("Next: make playground, to try it yourself; docs/architecture.md for how one pod travels through the code.")
	return nil
}

// run are the steps at the end of each part.
func (d *demo) run() []step {
	return []step{
		{"Run a program in the pod's place: azidentity gets a token, azsecrets uses it", func(ctx context.Context) error { return d.runPod(ctx, false) }},
		{"Failure case: the same pod, with a service account that has no federated credential", func(ctx context.Context) error {
			if err := d.create(forgotten)(ctx); err != nil {
				return err
			}
			return d.runPod(ctx, true)
		}},
	}
}

func (d *demo) take(ctx context.Context, steps []step) error {
	for _, s := range steps {
		d.step++
		d.say("\n%d. %s", d.step, s.title)
		start := time.Now()
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("step %d, %s: %w", d.step, s.title, err)
		}
		d.say("   done in %s", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

func duration(what string, d time.Duration) string {
	return fmt.Sprintf("  %-32s %6.1f s", what, d.Seconds())
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// cleanUp stops everything in the reverse order of its start.
func (d *demo) cleanUp() error {
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

const grace = 5 * time.Second

func (d *demo) makeDir() (err error) {
	if d.dir == "" {
		d.dir, err = os.MkdirTemp("", "azwi-demo-")
	}
	return err
}

func (d *demo) buildControlPlane(ctx context.Context) error {
	binary, err := cluster.Build(ctx, cluster.BuildConfig{Progress: d.out, ServersOnly: true})
	if err == nil {
		d.say("   %s", binary)
	}
	return err
}

func (d *demo) startControlPlane(ctx context.Context) error {
	return d.startCluster(ctx, cluster.BuildConfig{ServersOnly: true})
}

func (d *demo) startCluster(ctx context.Context, build cluster.BuildConfig) (err error) {
	if err := d.makeDir(); err != nil {
		return err
	}
	if d.control, err = cluster.Start(ctx, cluster.Config{Dir: filepath.Join(d.dir, "cluster"), Build: build}); err != nil {
		return err
	}
	d.place = apiServer{d.control}
	d.say("   API server  %s", d.control.URL)
	d.say("   issuer      %s (signs the service accounts' tokens)", d.control.Issuer)
	return d.control.CreateNamespace(ctx, namespace)
}

// startEntraAlone starts it for manifests, whose tokens an issuer without a cluster signs.
func (d *demo) startEntraAlone(ctx context.Context) error {
	if err := d.makeDir(); err != nil {
		return err
	}
	m, err := newManifests(filepath.Join(d.bin, "azwi"), d.dir)
	if err != nil {
		return err
	}
	d.place = m
	if err := d.startEntra(ctx); err != nil {
		return err
	}
	m.authority = d.entra.Authority
	d.say("   issuer            %s, a key in a file (no API server runs yet)", manifestIssuer)
	return nil
}

func (d *demo) startEntra(ctx context.Context) (err error) {
	if d.entra != nil { // of the part before
		if err := errors.Join(d.entra.Stop(grace), os.RemoveAll(filepath.Join(d.dir, "entra"))); err != nil {
			return err
		}
		d.entra = nil
	}
	issuer, keys := d.place.issuer()
	d.operator = secret()
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
  %s: %s
# The real directory takes minutes to learn of a new credential; here it takes none.
replication: {minDelay: 0s, maxDelay: 0s, missMemory: 0s, writeTime: 0s}
`, product.TenantID, subscription, group, operatorID, d.operator, identity, group, clientID, identity, group, issuer, keys)
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
	issuer, _ := d.place.issuer()
	subject, audience := contract.Subject(namespace, federated), contract.DefaultAudience
	if _, err := credentials.CreateOrUpdate(ctx, group, identity, "demo", armmsi.FederatedIdentityCredential{
		Properties: &armmsi.FederatedIdentityCredentialProperties{Issuer: &issuer, Subject: &subject, Audiences: []*string{&audience}},
	}, nil); err != nil {
		return err
	}
	d.say("   by the platform team's service principal, with Azure's own Go SDK:")
	d.say("   issuer    %s", issuer)
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

// create creates what an application's manifest holds: the service account with the
// identity's client ID, and the pod.
func (d *demo) create(account string) func(context.Context) error {
	return func(ctx context.Context) error {
		ca, err := os.ReadFile(d.entra.CAFile)
		if err != nil {
			return err
		}
		before := object{
			"apiVersion": "v1", "kind": "Pod",
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
		if d.pod, err = d.place.create(ctx, []object{
			{
				"apiVersion": "v1", "kind": "ServiceAccount",
				"metadata": object{"name": account, "annotations": object{contract.ClientIDAnnotation: clientID}},
			},
			{
				"apiVersion": "v1", "kind": "ConfigMap",
				"metadata": object{"name": account + "-ca"}, "data": object{"ca.crt": string(ca)},
			},
			before,
		}); err != nil {
			return err
		}
		if account != federated {
			d.say("   pod %s/%s, service account %s", namespace, account, account)
			return nil
		}
		return d.showInjected(before, d.pod)
	}
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
	d.say("   pod %s/%s got:", namespace, created.Metadata.Name)
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
func (d *demo) runPod(ctx context.Context, wantFailure bool) error {
	files, err := d.volumeFiles(ctx, d.pod)
	if err != nil {
		return err
	}
	run, err := d.container(ctx, d.pod, files)
	if err != nil {
		return err
	}
	if !wantFailure {
		if d.control != nil {
			d.say("   the token comes from TokenRequest, bound to the pod, as the kubelet asks for that volume")
		}
		if d.rewrites {
			d.say("   (no right to make a mount namespace here: the mount paths in its environment are rewritten, nothing else)")
		}
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
	case wantFailure:
		d.say("   (azwi explain AADSTS700213 lists the usual causes, and how to check each)")
	}
	return nil
}
