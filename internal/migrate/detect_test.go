package migrate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
	"azwi/internal/migrate"
	"azwi/internal/pod/inject"
)

const (
	clientA = "11111111-1111-1111-1111-11111111111a"
	clientB = "11111111-1111-1111-1111-11111111111b"
	tenant  = "22222222-2222-2222-2222-222222222222"
)

// bound are AzureIdentities with their bindings, as YAML documents: a and b, which the
// selectors of the same names bind.
const bound = `
kind: AzureIdentity
metadata: {namespace: shop, name: a}
spec: {type: 0, clientID: ` + clientA + `, resourceID: /subscriptions/s/a}
---
kind: AzureIdentity
metadata: {namespace: shop, name: b}
spec: {type: 1, clientID: ` + clientB + `, tenantID: ` + tenant + `}
---
kind: AzureIdentityBinding
metadata: {namespace: shop, name: a}
spec: {azureIdentity: a, selector: a}
---
kind: AzureIdentityBinding
metadata: {namespace: shop, name: b}
spec: {azureIdentity: b, selector: b}
---`

// deployment is one whose pods have a selector and a service account.
func deployment(name, selector, account string) string {
	return fmt.Sprintf(`
kind: Deployment
metadata: {namespace: shop, name: %s}
spec: {template: {metadata: {labels: {aadpodidbinding: %s}}, spec: {serviceAccountName: %s, containers: [{name: app}]}}}
---`, name, selector, account)
}

// apiServer answers with the objects of a YAML text.
func apiServer(t *testing.T, text string) answers {
	t.Helper()
	paths := map[string]string{
		"AzureIdentity":         "/apis/aadpodidentity.k8s.io/v1/%sazureidentities",
		"AzureIdentityBinding":  "/apis/aadpodidentity.k8s.io/v1/%sazureidentitybindings",
		"ServiceAccount":        "/api/v1/%sserviceaccounts",
		"Pod":                   "/api/v1/%spods",
		"ReplicationController": "/api/v1/%sreplicationcontrollers",
		"Deployment":            "/apis/apps/v1/%sdeployments",
		"ReplicaSet":            "/apis/apps/v1/%sreplicasets",
		"CronJob":               "/apis/batch/v1/%scronjobs",
		"Job":                   "/apis/batch/v1/%sjobs",
	}
	lists, a := map[string][]string{}, answers{}
	for document := range strings.SplitSeq(text, "\n---") {
		if strings.TrimSpace(document) == "" {
			continue
		}
		raw, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		var o struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		path := paths[o.Kind]
		if path == "" {
			t.Fatalf("no path for %s", o.Kind)
		}
		lists[fmt.Sprintf(path, "")] = append(lists[fmt.Sprintf(path, "")], string(raw))
		a[fmt.Sprintf(path, "namespaces/"+o.Metadata.Namespace+"/")+"/"+o.Metadata.Name] = string(raw)
	}
	for path, items := range lists {
		a[path] = `{"items":[` + strings.Join(items, ",") + `]}`
	}
	return a
}

func config(api http.RoundTripper) migrate.Config {
	return migrate.Config{
		API:      &kube.Client{HTTP: &http.Client{Transport: api}},
		Settings: inject.Settings{TenantID: "t", AuthorityHost: "https://login.example.com/", Proxy: inject.Proxy{Image: "r/proxy:1", InitImage: "r/proxy:1"}},
	}
}

// What becomes of workloads, by the names of those that are written, and the codes of what
// is said of the others.
func TestDetect(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, cluster string
		// written are KIND NAME ACCOUNT CLIENT_ID, left KIND NAME CODE.
		written, left []string
		notes         []finding.Code
	}{
		{name: "nothing", cluster: bound},
		{
			name: "each its own", cluster: bound + deployment("x", "a", "x") + deployment("z", "b", "z"),
			written: []string{"Deployment x x " + clientA, "Deployment z z " + clientB},
		},
		{
			name: "two with one account and identity", cluster: bound + deployment("x", "a", "same") + deployment("z", "a", "same"),
			written: []string{"Deployment x same " + clientA, "Deployment z same " + clientA},
		},
		{
			name: "two with one account", cluster: bound + deployment("x", "a", "same") + deployment("z", "b", "same"),
			written: []string{"Deployment x same " + clientA}, left: []string{"Deployment z service-account-taken"},
		},
		{
			name: "an account of another identity",
			cluster: bound + deployment("x", "a", "x") + `
kind: ServiceAccount
metadata: {namespace: shop, name: x, annotations: {` + contract.ClientIDAnnotation + `: ` + clientB + `}}`,
			left: []string{"Deployment x service-account-taken"},
		},
		{
			name: "the account default", cluster: bound + deployment("x", "a", "default"),
			written: []string{"Deployment x x " + clientA},
		},
		{
			name: "the account default, and the first name is taken",
			cluster: bound + deployment("x", "a", "default") + `
kind: ServiceAccount
metadata: {namespace: shop, name: x}`,
			written: []string{"Deployment x x-deployment " + clientA},
		},
		{
			name: "the account default, and both names are taken",
			cluster: bound + deployment("x", "a", "default") + `
kind: ServiceAccount
metadata: {namespace: shop, name: x}
---
kind: ServiceAccount
metadata: {namespace: shop, name: x-deployment}`,
			left: []string{"Deployment x service-account-taken"},
		},
		{name: "no binding", cluster: bound + deployment("x", "other", "x"), left: []string{"Deployment x nothing-bound"}},
		{
			name: "a binding without its identity",
			cluster: `
kind: AzureIdentityBinding
metadata: {namespace: shop, name: c}
spec: {azureIdentity: gone, selector: c}
---` + deployment("x", "c", "x"),
			left: []string{"Deployment x nothing-bound"},
		},
		{
			name: "two identities: the first by the binding's name",
			cluster: bound + `
kind: AzureIdentityBinding
metadata: {namespace: shop, name: "0"}
spec: {azureIdentity: b, selector: a}
---` + deployment("x", "a", "x"),
			written: []string{"Deployment x x " + clientB}, notes: []finding.Code{finding.CodeSeveralIdentities},
		},
		{
			name:    "an identity of another namespace",
			cluster: strings.ReplaceAll(bound, "namespace: shop", "namespace: platform") + deployment("x", "a", "x"),
			written: []string{"Deployment x x " + clientA},
		},
		{
			name: "an identity for another namespace alone",
			cluster: strings.ReplaceAll(bound, "namespace: shop, name: a}\nspec: {type", "namespace: platform, name: a, annotations: {aadpodidentity.k8s.io/Behavior: namespaced}}\nspec: {type") + `
kind: AzureIdentityBinding
metadata: {namespace: platform, name: a}
spec: {azureIdentity: a, selector: a}
---` + deployment("x", "a", "x"),
			left: []string{"Deployment x nothing-bound"},
		},
		{
			name: "pods lead to what makes them",
			cluster: bound + `
kind: Pod
metadata: {namespace: shop, name: x-1-1, labels: {aadpodidbinding: a}, ownerReferences: [{controller: true, apiVersion: apps/v1, kind: ReplicaSet, name: x-1}]}
spec: {serviceAccountName: x, containers: [{name: app}]}
---
kind: ReplicaSet
metadata: {namespace: shop, name: x-1, ownerReferences: [{controller: true, apiVersion: apps/v1, kind: Deployment, name: x}]}
spec: {template: {spec: {serviceAccountName: x, containers: [{name: app}]}}}
---
kind: Deployment
metadata: {namespace: shop, name: x}
spec: {template: {spec: {serviceAccountName: x, containers: [{name: app}]}}}`,
			written: []string{"Deployment x x " + clientA},
		},
		{
			name: "a controller that azwi does not know",
			cluster: bound + `
kind: Pod
metadata: {namespace: shop, name: x-1, labels: {aadpodidbinding: a}, ownerReferences: [{controller: true, apiVersion: argoproj.example/v1, kind: Rollout, name: x}]}
spec: {containers: [{name: app}]}`,
			left: []string{"Rollout x controller-unknown"},
		},
		{
			name: "a controller that makes no pods",
			cluster: bound + `
kind: Pod
metadata: {namespace: shop, name: x-1, labels: {aadpodidbinding: a}, ownerReferences: [{controller: true, apiVersion: v1, kind: ServiceAccount, name: x}]}
spec: {containers: [{name: app}]}`,
			left: []string{"ServiceAccount x controller-unknown"},
		},
		{
			name: "pods and Jobs are replaced, a CronJob is not",
			cluster: bound + `
kind: Pod
metadata: {namespace: shop, name: p, labels: {aadpodidbinding: a}}
spec: {serviceAccountName: x, containers: [{name: app}]}
---
kind: Job
metadata: {namespace: shop, name: j}
spec: {template: {metadata: {labels: {aadpodidbinding: a}}, spec: {serviceAccountName: x, containers: [{name: app}]}}}
---
kind: CronJob
metadata: {namespace: shop, name: c}
spec: {jobTemplate: {spec: {template: {metadata: {labels: {aadpodidbinding: a}}, spec: {serviceAccountName: x, containers: [{name: app}]}}}}}`,
			written: []string{"CronJob c x " + clientA, "Job j x " + clientA + " replaced", "Pod p x " + clientA + " replaced"},
		},
		{
			name: "the host's network",
			cluster: bound + `
kind: Pod
metadata: {namespace: shop, name: p, labels: {aadpodidbinding: a}}
spec: {hostNetwork: true, serviceAccountName: x, containers: [{name: app}]}`,
			left: []string{"Pod p proxy-host-network"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := apiServer(t, test.cluster)
			for _, path := range []string{"azureidentities", "azureidentitybindings"} {
				if a["/apis/aadpodidentity.k8s.io/v1/"+path] == "" {
					a["/apis/aadpodidentity.k8s.io/v1/"+path] = `{"items":[]}`
				}
			}
			plan, err := migrate.Detect(t.Context(), config(a))
			if err != nil {
				t.Fatal(err)
			}
			var written, left []string
			for _, w := range plan.Workloads {
				line := strings.Join([]string{w.Kind, w.Name, w.Account, w.Identity.ClientID}, " ")
				if w.Replace {
					line += " replaced"
				}
				written = append(written, line)
			}
			for _, l := range plan.LeftOut {
				left = append(left, l.Kind+" "+l.Name+" "+string(l.Reason.Code()))
			}
			var notes []finding.Code
			for _, n := range plan.Notes {
				notes = append(notes, n.Code())
			}
			if diff := cmp.Diff([]any{test.written, test.left, test.notes}, []any{written, left, notes}); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			// No account is written that no workload uses.
			for _, account := range plan.Accounts {
				if !slices.ContainsFunc(plan.Workloads, func(w migrate.Workload) bool { return w.Account == account.Name }) {
					t.Errorf("account %s is nobody's", account.Name)
				}
			}
		})
	}
}

// TestFiles: what is written of a workload and of its account.
func TestFiles(t *testing.T) {
	t.Parallel()
	cluster := bound + `
kind: Deployment
metadata: {namespace: shop, name: x, uid: u, labels: {mine: x}}
spec: {replicas: 2, template: {metadata: {labels: {aadpodidbinding: a}}, spec: {containers: [{name: app}]}}}
status: {replicas: 2}
---
kind: ServiceAccount
metadata: {namespace: shop, name: default, uid: u}
imagePullSecrets: [{name: pull}]
---
kind: Pod
metadata: {namespace: shop, name: x, labels: {aadpodidbinding: b}}
spec: {serviceAccountName: z, containers: [{name: app}]}`
	c := config(apiServer(t, cluster))
	c.ProxyPort, c.TokenExpiration = 9000, 7200
	plan, err := migrate.Detect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	files, err := plan.Files(true)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range files {
		fmt.Fprintf(&got, "-- %s --\n%s", f.Path, f.Text)
	}
	const want = `-- shop/x-serviceaccount.yaml --
# Written by azwi podidentity detect from AzureIdentity shop/a.
# Its identity needs a federated credential for the subject system:serviceaccount:shop:x.
apiVersion: v1
imagePullSecrets:
- name: pull
kind: ServiceAccount
metadata:
  annotations:
    azure.workload.identity/client-id: ` + clientA + `
    azure.workload.identity/service-account-token-expiration: "7200"
  name: x
  namespace: shop
-- shop/z-serviceaccount.yaml --
# Written by azwi podidentity detect from AzureIdentity shop/b.
# Its identity needs a federated credential for the subject system:serviceaccount:shop:z.
apiVersion: v1
kind: ServiceAccount
metadata:
  annotations:
    azure.workload.identity/client-id: ` + clientB + `
    azure.workload.identity/service-account-token-expiration: "7200"
    azure.workload.identity/tenant-id: ` + tenant + `
  name: z
  namespace: shop
-- shop/x.yaml --
# Written by azwi podidentity detect; uses AzureIdentity shop/a.
apiVersion: apps/v1
kind: Deployment
metadata:
  labels:
    mine: x
  name: x
  namespace: shop
spec:
  replicas: 2
  template:
    metadata:
      annotations:
        azure.workload.identity/inject-proxy-sidecar: "true"
        azure.workload.identity/proxy-identities: /subscriptions/s/a=` + clientA + `
        azure.workload.identity/proxy-sidecar-port: "9000"
      labels:
        aadpodidbinding: a
        azure.workload.identity/use: "true"
    spec:
      containers:
      - name: app
      serviceAccountName: x
-- shop/replace/x.yaml --
# Written by azwi podidentity detect; uses AzureIdentity shop/b.
# The pods of a Pod can't be changed in place: kubectl replace --force -f deletes and creates it.
apiVersion: v1
kind: Pod
metadata:
  annotations:
    azure.workload.identity/inject-proxy-sidecar: "true"
    azure.workload.identity/proxy-sidecar-port: "9000"
  labels:
    aadpodidbinding: b
    azure.workload.identity/use: "true"
  name: x
  namespace: shop
spec:
  containers:
  - name: app
  serviceAccountName: z
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// refusing answers one path with a status, as an API server does.
type refusing struct {
	answers
	path   string
	status int
}

func (r refusing) RoundTrip(q *http.Request) (*http.Response, error) {
	resp, err := r.answers.RoundTrip(q)
	if strings.HasSuffix(q.URL.Path, r.path) {
		resp.StatusCode = r.status
	}
	return resp, err
}

func TestDetectRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, path string
		status     int
		err        error
		note       finding.Code
	}{
		{name: "no such kind", path: "/azureidentities", status: 404, err: finding.CodePodIdentityMissing},
		{name: "workloads may not be listed", path: "/cronjobs", status: 403, note: finding.CodeNotListable},
	} {
		plan, err := migrate.Detect(t.Context(), config(refusing{apiServer(t, bound), test.path, test.status}))
		if !errors.Is(err, test.err) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.err)
			continue
		}
		if test.note != "" && (len(plan.Notes) != 1 || plan.Notes[0].Code() != test.note) {
			t.Errorf("%s: notes %v, want %s", test.name, plan.Notes, test.note)
		}
	}
	// Pods are what it is about: without them there is no plan.
	if _, err := migrate.Detect(t.Context(), config(refusing{apiServer(t, bound), "/pods", 403})); !kube.IsForbidden(err) {
		t.Errorf("pods may not be listed: %v", err)
	}
}
